"""The search over machines, ways of buying and packagings in one place: what is worth keeping, and what to choose.

Every combination is drafted and priced. Kept are the cheapest that work, the best of each kind, and those that a person
would ask about: cheaper ones that break a limit, each fleet that is one server short, one small machine all the time.
Chosen is the cheapest that keeps its limit in at least nine of ten draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError, UnknownNameError
from loopwright.planning.draft import drafts
from loopwright.planning.fitting import fit
from loopwright.planning.option import Option, Reason
from loopwright.planning.purchase import PURCHASES
from loopwright.planning.serving import option_of, too_few
from loopwright.planning.sureness import SURE as SURE  # noqa: PLC0414 - named here for those who compare plans
from loopwright.planning.sureness import Sureness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from loopwright.planning.demand import Demand
    from loopwright.planning.draft import Draft
    from loopwright.planning.prices.instance import Instance
    from loopwright.planning.prices.table import PriceTable
    from loopwright.planning.service import ServiceModel
    from loopwright.planning.sizing import Sizing
    from loopwright.planning.uncertainty import Uncertainty
    from loopwright.planning.workload import Workload

_CHEAPEST = 10
_REFUSED = 10


@dataclass(frozen=True)
class Served:
    """A way to serve with what its draws need.

    Attributes:
        draft: As it was compared.
        option: As it is shown.
        costs: Dollars a month in each draw.
        keeps: In which draws it keeps the limit.
    """

    draft: Draft
    option: Option
    costs: NDArray[np.float64]
    keeps: NDArray[np.bool_]

    @property
    def sureness(self) -> float:
        """The share of draws in which it keeps the limit."""
        return float(self.keeps.mean())


@dataclass(frozen=True)
class Serving:
    """What the search in one place found.

    Attributes:
        drafted: Everything, the cheapest first.
        kept: What works and is worth comparing.
        refused: What breaks a limit and is worth explaining.
        chosen: The one for the plan.
    """

    drafted: tuple[Draft, ...]
    kept: tuple[Served, ...]
    refused: tuple[Option, ...]
    chosen: Served


def search_serving(
    asked: Workload,
    demand: Demand,
    services: Sequence[ServiceModel],
    instances: Sequence[Instance],
    sizing: Sizing,
    prices: PriceTable,
    unsure: Uncertainty,
    commitment_years: float,
) -> Serving:
    """Return what serving in one place can be.

    Raises:
        DeclarationError: If nothing there keeps the limit, with the reason of the cheapest that was tried.
        UnknownNameError: If a fixed choice does not exist there.
    """
    chosen = _fixed(asked, services, instances)
    sure = Sureness(demand.sized_rps, "peak", sizing, unsure)
    found: list[Draft] = []
    for instance in chosen[1]:
        for service in chosen[0]:
            placed = fit(service, instance, asked.ratios)
            if placed is not None:
                found.extend(drafts(placed, demand, sizing, sure, prices, asked.fixed))
    found = [_within_budget(one, asked) for one in found]
    found.sort(key=lambda one: (one.usd, one.found.instance.type, one.packaging, one.purchase))
    works = [one for one in found if is_feasible(one)]
    if not works:
        if not found and (asked.fixed.packaging or asked.fixed.purchase):
            wanted = " ".join(word for word in (asked.fixed.packaging, asked.fixed.purchase) if word)
            where = f"{instances[0].provider} {instances[0].region}" if instances else "the place"
            raise DeclarationError(f"'{wanted}' has no price in {where}.", hint="Leave it free, or name another place.")
        raise DeclarationError(_nothing_works(found), hint="Raise the limit, measure a faster model, or add hardware.")
    eligible = [one for one in works if may_choose(one, asked, commitment_years)]
    kept = [_served(one, demand, sizing, sure, unsure) for one in _worth_keeping(works, eligible or works)]
    best = _choose([one for one in kept if may_choose(one.draft, asked, commitment_years)] or kept)
    return Serving(
        tuple(found), tuple(kept), tuple(_worth_explaining(found, works, best, demand, sizing, prices)), best
    )


def is_feasible(draft: Draft) -> bool:
    """Whether it breaks no limit but, at most, a budget line."""
    return all(reason.limit.startswith("budget.") for reason in draft.reasons)


def may_choose(draft: Draft, asked: Workload, commitment_years: float) -> bool:
    """Whether the plan may take it without asking.

    A commitment for years is the person's own decision, and a machine on which a worker has fewer cores than it was
    measured with is one to measure first.
    """
    if draft.found.is_cut and asked.fixed.instance_type != draft.found.instance.type:
        return False
    years = {"commit_1y": 1.0, "commit_3y": 3.0}.get(draft.purchase, 0.0)
    return years <= commitment_years or asked.fixed.purchase == draft.purchase


def _served(draft: Draft, demand: Demand, sizing: Sizing, sure: Sureness, unsure: Uncertainty) -> Served:
    workers = 1 if draft.packaging == "serverless" else draft.found.workers
    return Served(
        draft,
        option_of(draft, demand, sizing),
        unsure.cost(draft.lines, service=draft.found.base.name),
        sure.keeps(draft.found, draft.most * workers),
    )


def _choose(kept: Sequence[Served]) -> Served:
    """Return the cheapest that is sure enough, those within the budget first; else the surest."""
    for pool in ([one for one in kept if not one.option.reasons], list(kept)):
        sure = [one for one in pool if one.sureness >= SURE]
        if sure:
            return min(sure, key=lambda one: (one.option.usd_per_month, one.option.name))
    return max(kept, key=lambda one: (one.sureness, -one.option.usd_per_month))


def _worth_keeping(works: Sequence[Draft], eligible: Sequence[Draft]) -> list[Draft]:
    """Return the cheapest of each machine and model, and the best of each model, packaging and way of buying."""
    kept: dict[int, Draft] = {}

    def first_of(pool: Iterable[Draft], key: Callable[[Draft], object], most: int = 1000) -> None:
        seen: set[object] = set()
        for one in pool:
            name = key(one)
            if name not in seen and len(seen) < most:
                seen.add(name)
                kept.setdefault(id(one), one)

    first_of(eligible, lambda one: (one.found.instance.type, one.found.base.name), _CHEAPEST)
    first_of(eligible, lambda one: (one.found.base.name, one.packaging))
    first_of(works, lambda one: (one.found.base.name, one.purchase, one.found.is_cut))
    first_of([one for one in eligible if one.most > one.working + 1], lambda one: one.found.base.name)
    sturdy = [one for one in eligible if not one.found.service.is_extrapolated]
    first_of(sturdy, lambda one: (one.found.instance.type, one.found.base.name), _CHEAPEST)
    return sorted(kept.values(), key=lambda one: one.usd)


def _worth_explaining(
    found: Sequence[Draft],
    works: Sequence[Draft],
    best: Served,
    demand: Demand,
    sizing: Sizing,
    prices: PriceTable,
) -> list[Option]:
    refused = [one for one in found if not is_feasible(one) and one.purchase == "on_demand"]
    shown: list[Option] = []
    seen: set[object] = set()
    for one in refused:
        name = (one.found.instance.type, one.found.base.name)
        if one.usd <= best.option.usd_per_month and name not in seen and len(seen) < _REFUSED:
            seen.add(name)
            shown.append(option_of(one, demand, sizing))
    tried: set[tuple[str, bool]] = set()
    for one in (best.draft, *works):
        short_key = (one.found.base.name, one.found.service.is_extrapolated)
        if short_key in tried or one.packaging != best.draft.packaging:
            continue
        tried.add(short_key)
        short = too_few(one, demand, sizing, prices)
        if short is not None:
            shown.append(short)
    limits = {reason.limit for option in shown for reason in option.reasons}
    for one in refused:  # one of each kind of reason, whatever it costs
        if {reason.limit for reason in one.reasons} - limits:
            limits |= {reason.limit for reason in one.reasons}
            shown.append(option_of(one, demand, sizing))
    return shown


def _within_budget(draft: Draft, asked: Workload) -> Draft:
    budget = asked.budget.get("serving")
    if budget is None or draft.usd <= budget:
        return draft
    reason = Reason("budget.serving", f"${draft.usd:,.2f} a month, and the budget has ${budget:,.2f} for serving")
    return replace(draft, reasons=(*draft.reasons, reason))


def _fixed(
    asked: Workload, services: Sequence[ServiceModel], instances: Sequence[Instance]
) -> tuple[list[ServiceModel], list[Instance]]:
    fixed = asked.fixed
    for kind, word, known in (
        ("packaging", fixed.packaging, ("vm", "vm_group", "kubernetes", "serverless")),
        ("way of buying", fixed.purchase, PURCHASES),
    ):
        if word and word not in known:
            raise UnknownNameError(kind, word, known)
    models = [one for one in services if fixed.service in {"", one.name}]
    if not models:
        raise UnknownNameError("service model", fixed.service, [one.name for one in services])
    machines = [one for one in instances if fixed.instance_type in {"", one.type}]
    if not machines:
        raise UnknownNameError("machine type", fixed.instance_type, [one.type for one in instances])
    return models, machines


def _nothing_works(found: Sequence[Draft]) -> str:
    if not found:
        return "No machine of the place runs any of the service models: their accelerator or architecture has no price."
    technical = [one for one in found if one.reasons]
    fastest = min(technical, key=lambda one: one.found.service.mean_s)
    reason = next(reason for reason in fastest.reasons if not reason.limit.startswith("budget."))
    return f"Nothing keeps the limit. Nearest is {fastest.found.instance.type}: {reason.text}."

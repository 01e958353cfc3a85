"""Makes the plan: every place stage by stage, all compared under the same draws, and the best one written out."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import DeclarationError, UnknownNameError
from loopwright.core.version import __version__
from loopwright.planning.assumption import Assumption, Ledger
from loopwright.planning.autoscaling import SCALE_DOWN_S
from loopwright.planning.budget import budget_lines
from loopwright.planning.cost import HOURS_PER_MONTH
from loopwright.planning.crossover import crossovers
from loopwright.planning.demand import VOLUME_SPREAD, demand_of
from loopwright.planning.draft import reaction_of
from loopwright.planning.pictures import day_points, latency_points
from loopwright.planning.pitfalls import pitfalls
from loopwright.planning.place import Asked, Place, cadence_runs, plan_place, streams_of
from loopwright.planning.plan import Plan, Rank, StagePlan
from loopwright.planning.purchase import NODE_DISK_GB, ZONES
from loopwright.planning.savings import savings
from loopwright.planning.search import may_choose
from loopwright.planning.service import spread_of_mean
from loopwright.planning.sizing import Sizing
from loopwright.planning.sureness import SURE
from loopwright.planning.training_needs import HOURS_SPREAD, work_of
from loopwright.planning.uncertainty import Draws, Uncertainty, band, winners

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from loopwright.planning.cost import Price, Stage
    from loopwright.planning.option import Option
    from loopwright.planning.plan import Checked
    from loopwright.planning.prices.table import PriceTable
    from loopwright.planning.service import ServiceModel
    from loopwright.planning.training_needs import TrainingNeeds
    from loopwright.planning.workload import Workload

LEAST_DRAWS = 2_000
_KEPT_SAMPLES = 1_000


def make_plan(
    asked: Workload,
    services: Sequence[ServiceModel],
    training: TrainingNeeds,
    prices: PriceTable,
    *,
    seed: int = 0,
    draws: int = LEAST_DRAWS,
    today: date,
    verify: Callable[[Plan], tuple[Checked, ...]] | None = None,
) -> Plan:
    """Return the plan for a workload.

    Args:
        asked: The workload.
        services: How the model takes, on each kind of hardware that it was measured on or that is assumed.
        training: What a training takes.
        prices: The table.
        seed: Of every simulation and draw.
        draws: How many draws of the uncertain inputs.
        today: The day of the plan.
        verify: Called with the plan; what it returns, predictions against measurements, goes into the plan.

    Raises:
        DeclarationError: If the workload contradicts itself, or nothing can carry it; the first reason only.
        UnknownNameError: If a cloud, a region or a fixed choice has no prices.
    """
    if not services:
        raise DeclarationError("A plan needs a service model.", hint="Name one with its mean service time.")
    ledger = Ledger()
    demand = demand_of(asked, ledger)
    unsure = Uncertainty(Draws(seed, draws), _spreads(asked, services, seed))
    _note_services(services, unsure, ledger)
    made = Asked(
        workload=asked,
        demand=demand,
        services=tuple(services),
        work=work_of(training, cadence_runs(asked), ledger),
        sizing=Sizing(demand.limit_s, demand.network_s, demand.percentile, seed),
        streams=streams_of(asked, seed),
        ledger=ledger,
        unsure=unsure,
        commitment_years=ledger.number(
            "longest_commitment_years", asked.longest_commitment_years, 0.0, "years", "to commit is your own decision"
        ),
        seed=seed,
        today=today,
    )
    ledger.note(Assumption("sure_enough", SURE, "", "assumed", "the share of draws in which the limit must be kept"))
    places = _places(made, prices)
    costs = np.array([place.costs(unsure) for place in places])
    works = np.array([place.keeps(unsure) for place in places])
    best = _best(places, costs, works)
    place = places[best]
    _note_machines(place, ledger)
    plan = Plan(
        name=asked.name,
        created_at=today.isoformat(),
        seed=seed,
        draws=draws,
        inputs=_inputs(asked, services, training),
        assumptions=(),
        stages={stage: StagePlan(option, _others(stage, places, best)) for stage, option in place.chosen.items()},
        total=band(costs[best]),
        ranking=(*_rank_places(places, costs, works), *_rank_serving(places, made)),
        tornado=unsure.tornado(place.parts()),
        crossovers=crossovers(place, made, prices),
        savings=savings(place, made, prices),
        traps=pitfalls(place, made, prices),
        budget=budget_lines(asked, place),
        day=() if place.serving is None else day_points(place.serving.chosen.draft, demand, made.sizing),
        latency_s=() if place.serving is None else latency_points(place.serving.chosen.draft, demand, made.sizing),
        prices=_prices(place),
        versions={"loopwright": __version__, "prices": max((one.as_of for one in _prices(place)), default="")},
    )
    checked = () if verify is None else verify(plan)
    return replace(plan, assumptions=ledger.all(), verification=checked)


def _places(made: Asked, prices: PriceTable) -> list[Place]:
    """Plan each place; one where a stage cannot be is left out, unless none remains."""
    asked, wanted = made.workload, []
    fixed = asked.fixed
    for provider in [fixed.provider] if fixed.provider else asked.clouds:
        known = prices.regions(provider)
        regions = [fixed.region] if fixed.region else [one for one in asked.regions if one in known]
        wanted += [(provider, one) for one in (regions or ([] if asked.regions else known[:1]))]
    every = {one for provider in prices.providers() for one in prices.regions(provider)}
    for region in (*asked.regions, *([fixed.region] if fixed.region else ())):
        if region not in every:
            raise UnknownNameError("region with prices", region, every)
    found, problems = [], []
    for provider, region in wanted:
        try:
            found.append(plan_place(made, provider, region, prices))
        except (DeclarationError, UnknownNameError) as error:
            problems.append(error)
            made.ledger.note(Assumption(f"left_out.{provider}.{region}", str(error), "", "given", "the price table"))
    if not found:
        if problems:
            raise problems[0]
        raise DeclarationError(
            f"None of the regions {', '.join(asked.regions)} belongs to {', '.join(asked.clouds)}.",
            hint="Name a region of one of the clouds.",
        )
    return found


def _best(places: Sequence[Place], costs: np.ndarray, works: np.ndarray) -> int:
    """Return the place whose middle cost is lowest, among those that keep the limits surely enough."""
    sure = [row for row in range(len(places)) if works[row].mean() >= SURE] or list(range(len(places)))
    return min(sure, key=lambda row: float(np.median(costs[row])))


def _rank_places(places: Sequence[Place], costs: np.ndarray, works: np.ndarray) -> list[Rank]:
    cheapest = winners(costs, works)
    ranks = [
        Rank(
            "total",
            place.name,
            place.provider,
            place.region,
            band(costs[row]),
            float(works[row].mean()),
            float(cheapest[row]),
        )
        for row, place in enumerate(places)
    ]
    return sorted(ranks, key=lambda one: (-one.cheapest, one.usd.p50_usd))


def _rank_serving(places: Sequence[Place], made: Asked) -> list[Rank]:
    """Rank what the plan may choose; longer commitments are looked at as savings."""
    served = [
        one
        for place in places
        if place.serving is not None
        for one in place.serving.kept
        if may_choose(one.draft, made.workload, made.commitment_years)
    ]
    served = list({(one.option.provider, one.option.region, one.option.name): one for one in served}.values())
    if not served:
        return []
    cheapest = winners(np.array([one.costs for one in served]), np.array([one.keeps for one in served]))
    ranks = [
        Rank(
            "serving",
            one.option.name,
            one.option.provider,
            one.option.region,
            band(one.costs),
            one.sureness,
            float(cheapest[row]),
        )
        for row, one in enumerate(served)
    ]
    return sorted(ranks, key=lambda one: (-one.cheapest, one.usd.p50_usd))


def _others(stage: Stage, places: Sequence[Place], best: int) -> tuple[Option, ...]:
    own = places[best].others.get(stage, ())
    abroad = [place.chosen[stage] for row, place in enumerate(places) if row != best and stage in place.chosen]
    if stage == "serving":  # the small machine that people try first, wherever it is cheapest
        small = [
            option
            for row, place in enumerate(places)
            if row != best and place.serving is not None
            for option in place.serving.refused
            if option.packaging == "vm" and any(reason.limit == "cpu_credits" for reason in option.reasons)
        ]
        abroad += small
    return (*own, *abroad)


def _spreads(asked: Workload, services: Sequence[ServiceModel], seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    found = {f"service_time.{one.name}": spread_of_mean(one, rng=rng) for one in services}
    payload = 0.35 if asked.payload_spread is None else asked.payload_spread
    return found | {
        "requests": VOLUME_SPREAD,
        "volume": VOLUME_SPREAD,
        "events": VOLUME_SPREAD,
        "batch_rows": VOLUME_SPREAD,
        "peak": 0.2,
        "object_bytes": payload,
        "training_hours": HOURS_SPREAD,
    }


def _note_services(services: Sequence[ServiceModel], unsure: Uncertainty, ledger: Ledger) -> None:
    for one in services:
        spread = unsure.spreads[f"service_time.{one.name}"]
        source = f"{one.tag} on {one.hardware}" + (", carried over by a ratio" if one.is_extrapolated else "")
        name = f"service_time.{one.name}"
        if one.batch is None:
            ledger.note(Assumption(name, one.mean_s, "s", one.tag, source, spread))
            ledger.note(Assumption(f"service_cv2.{one.name}", round(one.cv2, 6), "", one.tag, source))
        else:
            said = f"{1000 * one.batch.fixed_s:g} + {1000 * one.batch.per_row_s:g} b ms, up to {one.largest_batch} rows"
            ledger.note(Assumption(name, said, "", one.tag, source, spread))


def _thinned(samples_s: tuple[float, ...]) -> list[float]:
    """Return measured times for the file: all, or a thousand that are spread evenly over their order."""
    if len(samples_s) <= _KEPT_SAMPLES:
        return list(samples_s)
    return [float(value) for value in np.quantile(np.asarray(samples_s), np.linspace(0, 1, _KEPT_SAMPLES))]


def _note_machines(place: Place, ledger: Ledger) -> None:
    """Note what is taken of machines, whatever the workload."""
    note = ledger.note
    note(Assumption("hours_per_month", HOURS_PER_MONTH, "h", "assumed", "the convention of cloud bills: 8,760 / 12"))
    note(Assumption("node_disk_gb", NODE_DISK_GB, "GB", "assumed", "system, image and room for logs"))
    if place.serving is not None:
        draft = place.serving.chosen.draft
        reaction = reaction_of(draft.packaging, draft.found)
        parts = ", ".join(f"{name.removesuffix('_s')} {value:g}" for name, value in vars(reaction).items() if value)
        note(Assumption("reaction_s", reaction.seconds, "s", "assumed", f"in seconds: {parts}"))
        note(Assumption("scale_down_s", SCALE_DOWN_S, "s", "assumed", "the default of HPA v2"))
        note(Assumption("zones", float(ZONES), "", "assumed", "spot machines are spread over them; one may be lost"))


def _inputs(asked: Workload, services: Sequence[ServiceModel], training: TrainingNeeds) -> dict[str, object]:
    plain = asdict(asked)
    plain["latency_p99"] = asked.latency_p99.total_seconds()
    plain["retention"] = None if asked.retention is None else asked.retention.total_seconds()
    plain["given"] = sorted(asked.given)
    plain["budget"], plain["ratios"] = dict(asked.budget), {name: list(pair) for name, pair in asked.ratios.items()}
    for name in ("data", "batches", "streams", "hourly_rps", "clouds", "regions"):
        plain[name] = list(plain[name])
    models = [{**asdict(one), "samples_s": _thinned(one.samples_s)} for one in services]
    return {"workload": plain, "services": models, "training": {**asdict(training), "hours": dict(training.hours)}}


def _prices(place: Place) -> tuple[Price, ...]:
    found: dict[object, Price] = {}
    for option in place.chosen.values():
        for line in option.lines:
            found.setdefault((line.price.usd, line.price.unit, line.price.source), line.price)
    return tuple(found.values())

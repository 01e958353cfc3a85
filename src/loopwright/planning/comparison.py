"""Sets each option of a stage beside the chosen one, with the reason why it lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.planning.search import SURE
from loopwright.planning.wording import seconds, share, usd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.planning.cost import Stage
    from loopwright.planning.option import Option, Reason
    from loopwright.planning.plan import Plan, Rank

PARTS: tuple[tuple[str, tuple[Stage, ...]], ...] = (
    ("Data storage", ("storage", "processing")),
    ("Training infrastructure", ("training", "evaluation")),
    ("Serving infrastructure", ("serving", "batch", "streaming", "network", "metadata")),
    ("Monitoring", ("monitoring",)),
)
"""The parts of a report and the stages that each is about; the fifth is what all of it comes to."""

TOTAL_PART = "Total estimated cost"
_TRIFLE_USD = 1.0
_SLOWER = 1.2
_YEARS = {"commit_1y": "a year", "commit_3y": "three years"}


@dataclass(frozen=True)
class Compared:
    """One option beside the others of its stage.

    Attributes:
        option: The option.
        group: What it is an alternative for: the stage, or one kind of data in it.
        is_chosen: Whether the plan takes it.
        is_refused: Whether it breaks a limit that the chosen one keeps.
        feasible: The share of the draws in which it keeps the limit; None where no draws were made of it.
        cheapest: The share of the draws in which it is the cheapest that keeps the limit; None as above.
        result: ``chosen``, or why it lost.
    """

    option: Option
    group: str
    is_chosen: bool
    is_refused: bool
    feasible: float | None
    cheapest: float | None
    result: str

    @property
    def where(self) -> str:
        """The cloud and the region."""
        return f"{self.option.provider} {self.option.region}".strip()


def compared(plan: Plan, stage: Stage) -> tuple[Compared, ...]:
    """Return the options of a stage: the chosen one, then what works by its cost, then what does not."""
    found = plan.stages[stage]
    ranks = {(one.provider, one.region, one.name): one for one in plan.ranking if one.stage == stage}
    best = _best_by_kind(found.alternatives)

    def row(option: Option) -> Compared:
        rank = ranks.get((option.provider, option.region, option.name))
        is_chosen = option is found.chosen
        kind = str(option.settings.get("kind", "")) if stage == "storage" else ""
        result = "chosen" if is_chosen else why_lost(plan, option, best.get(kind, found.chosen), rank)
        return Compared(
            option,
            kind or stage,
            is_chosen,
            bool(_own_reasons(option, found.chosen)),
            None if rank is None else rank.feasible,
            None if rank is None else rank.cheapest,
            result,
        )

    trifles = _trifles(found.alternatives)
    rows = [row(one) for one in _once(found.alternatives) if one.settings.get("kind") not in trifles]
    return (row(found.chosen), *sorted(rows, key=_place_in_list))


def _place_in_list(row: Compared) -> tuple[bool, str, bool, float, str]:
    own = row.group == row.option.stage
    return not own, "" if own else row.group, row.is_refused, row.option.usd_per_month, row.option.name


def _once(options: tuple[Option, ...]) -> Iterator[Option]:
    seen = set()
    for one in options:
        key = (one.provider, one.region, one.name, tuple(reason.text for reason in one.reasons))
        if key not in seen:
            seen.add(key)
            yield one


def _trifles(options: tuple[Option, ...]) -> set[str]:
    """Return the kinds of data that cost next to nothing whichever way they are kept."""
    dearest: dict[str, float] = {}
    for one in options:
        kind = str(one.settings.get("kind", ""))
        if kind and one.stage == "storage":
            dearest[kind] = max(dearest.get(kind, 0.0), one.usd_per_month)
    return {kind for kind, usd_per_month in dearest.items() if usd_per_month < _TRIFLE_USD}


def _best_by_kind(options: tuple[Option, ...]) -> dict[str, Option]:
    """Return the way that was taken for each kind of data: the cheapest that keeps everything."""
    best: dict[str, Option] = {}
    for one in options:
        kind = str(one.settings.get("kind", ""))
        if kind and one.stage == "storage" and one.settings.get("keeps_everything"):
            held = best.get(kind)
            if held is None or one.usd_per_month < held.usd_per_month:
                best[kind] = one
    return best


def why_lost(plan: Plan, option: Option, winner: Option, rank: Rank | None = None) -> str:
    """Return in words why an option is not the one that was chosen.

    Args:
        plan: For what the places cost as a whole.
        option: The one that lost.
        winner: The one it lost against.
        rank: How it did over the draws, where that is known.
    """
    own = _own_reasons(option, winner)
    if own:
        return "; ".join(f"{reason.text} ({reason.limit})" for reason in own)
    if option is winner:
        return "taken for this kind of data"
    more = option.usd_per_month - winner.usd_per_month
    part = _part(option.usd_per_month, winner.usd_per_month)
    if rank is not None and rank.feasible < SURE:
        text = f"keeps the limit in {share(rank.feasible)} of the draws only; {share(SURE)} are wanted"
        return f"{text}; {usd(abs(more))} {'more' if more >= 0 else 'less'} a month{part}"
    if more >= 0:
        return f"{usd(more)} more a month{part}" if more >= 0.005 else "costs the same"
    less = f"{usd(-more)} less a month{part}"
    times = _scale(option) / _scale(winner)
    slower = f"if a request takes {times:.2g} times as long there, as the cores say: nobody measured that"
    if option.purchase in _YEARS:
        also = f", and {slower}" if times > _SLOWER else ""
        return f"{less}, for a commitment of {_YEARS[option.purchase]}: your own decision{also}"
    if option.settings.get("keeps_everything") is False:
        return f"{less}, and changes what is kept: your own decision"
    if (option.provider, option.region) != (winner.provider, winner.region):
        return f"{less} for this stage; {_whole(plan, option)}"
    if "; " in winner.name:
        return "for one of the jobs"
    if times > _SLOWER:
        return f"{less}, {slower}"
    if option.is_extrapolated and not winner.is_extrapolated:
        return f"{less}, if its times hold: nobody measured them on such a machine"
    return f"{less}; {option.notes[0]}" if option.notes else f"{less}, with less room for what is not certain"


def _own_reasons(option: Option, winner: Option) -> list[Reason]:
    """Return the limits that an option breaks and the winner does not."""
    broken = {reason.limit for reason in winner.reasons}
    return [reason for reason in option.reasons if reason.limit not in broken]


def late(option: Option) -> tuple[str, str, str]:
    """Return the three percentiles of the answer time as text; a queue that only grows has none."""
    if option.latency is None:
        return ("-", "-", "-")
    if option.utilisation is not None and option.utilisation >= 1:
        return ("grows", "grows", "grows")
    return seconds(option.latency.p50_s), seconds(option.latency.p95_s), seconds(option.latency.p99_s)


def _scale(option: Option) -> float:
    """Return how many times longer a request takes on the machine than where its time is from."""
    value = option.settings.get("service_scale", 1.0)
    return value if isinstance(value, float) and value > 0 else 1.0


def _part(other: float, winner: float) -> str:
    """Return by how much of the winner's cost it differs; nothing where that says nothing."""
    if winner < 0.005:
        return ""
    change = other / winner - 1
    if abs(change) < 0.005:
        return ""
    return f" ({100 * change:+.0f} %)" if change < 10 else f" ({change + 1:,.0f} times as much)"


def _whole(plan: Plan, option: Option) -> str:
    totals = {(one.provider, one.region): one for one in plan.ranking if one.stage == "total"}
    there, here = totals.get((option.provider, option.region)), totals.get(plan.place)
    if there is None or here is None:
        return "the place as a whole is not chosen"
    more = there.usd.p50_usd - here.usd.p50_usd
    if more >= 0:
        return f"all stages together cost {usd(more)} more there"
    return f"all stages together keep the limit in {share(there.feasible)} of the draws there"

"""Holds the stored plan against what monitoring sees, and raises a signal when an assumption no longer holds.

A project's plan is the file ``plan.json`` beside its ``loop.py`` (``loopwright plan --keep``). It is looked at once an
hour by the controller, and whenever somebody asks; a broken assumption is one signal a day, in one incident until it
has held for two days.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from loopwright.core.errors import DeclarationError, LoopwrightError, SourceError
from loopwright.data.ingest.records import ingests, source_units
from loopwright.monitoring.business import kpi_values
from loopwright.monitoring.mark import Mark
from loopwright.monitoring.signal import Signal
from loopwright.monitoring.system import BUCKET, SystemFigures, system_history
from loopwright.planning.plan import from_json
from loopwright.planning.seen import Seen
from loopwright.planning.watch import hold
from loopwright.training.run import runs

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.loop.project import Loop
    from loopwright.monitoring.signal import Dimension
    from loopwright.planning.held import Held
    from loopwright.planning.plan import Plan
    from loopwright.workspace import Workspace

PLAN_FILE: Final = "plan.json"
BILL: Final = "usd_per_month"
"""The name of the business number that says what the project costs."""
_LOOK_BACK: Final = timedelta(days=7)
_TRAININGS_BACK: Final = timedelta(days=60)
_BILL_COUNTS: Final = timedelta(days=45)
_UNREADABLE: Final = "monitor:plan"
_HOUR: Final = timedelta(hours=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class PlanStanding:
    """A plan and how it holds.

    Attributes:
        plan: The name of the plan.
        created_at: When it was made.
        usd_per_month: What it says that a month costs.
        since: From when on was looked.
        until: Until when.
        held: Each assumption.
        signals: The signals that are new with this look.
    """

    plan: str
    created_at: str
    usd_per_month: float
    since: datetime
    until: datetime
    held: tuple[Held, ...]
    signals: tuple[Signal, ...] = ()


def plan_path(project: Path) -> Path:
    """Return where a project keeps its plan."""
    return project / PLAN_FILE


def read_plan(path: Path) -> Plan:
    """Read a plan from its file.

    Raises:
        SourceError: If it cannot be read.
        DeclarationError: If it is no plan.
    """
    again = "Make one with `loopwright plan --out plan.json`."
    try:
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SourceError(f"The plan {path} cannot be read: {error.strerror}.", hint=again) from error
    except (ValueError, RecursionError) as error:
        raise DeclarationError(f"{path} is no plan: {error}.", hint=again) from error
    if not isinstance(values, dict):
        raise DeclarationError(f"{path} is no plan.", hint=again)
    return from_json(values)


def watch_plan(
    loop: Loop, workspace: Workspace, plan: Plan, *, raises: bool = True, usd_per_month: float | None = None
) -> PlanStanding:
    """Hold a plan against what is seen now.

    Args:
        loop: The declared project.
        workspace: Its workspace.
        plan: The plan.
        raises: Whether what is broken becomes a signal; without it, nothing is written.
        usd_per_month: What the bill says; by default the newest ``usd_per_month`` that was reported.
    """
    seen = seen_of(loop, workspace, plan, usd_per_month=usd_per_month)
    held = hold(plan, seen)
    signals = _raise(loop, workspace, plan, seen, held) if raises and loop.models else ()
    return PlanStanding(plan.name, plan.created_at, plan.total.p50_usd, seen.since, seen.until, held, signals)


def watch_stored_plan(loop: Loop, workspace: Workspace) -> tuple[Signal, ...]:
    """Look once an hour at the project's plan, where it has one; a plan that cannot be read is a signal itself."""
    path = plan_path(workspace.stores.settings.project)
    if not loop.models or not path.is_file():
        return ()
    model, now = next(iter(loop.models)), workspace.stores.clock.now()
    mark, hour = Mark(workspace.stores, model, "plan"), (now - _EPOCH) // _HOUR
    before = mark.position()
    if hour <= before:
        return ()
    with workspace.stores.facts.write() as connection:
        if not mark.move(connection, after=before, until=hour):
            return ()
    try:
        plan = read_plan(path)
    except LoopwrightError as error:
        return _unreadable(workspace, model, str(error), now)
    with workspace.stores.facts.write() as connection:
        workspace.monitoring.incidents.clean(connection, model, _UNREADABLE)
    return watch_plan(loop, workspace, plan).signals


def seen_of(loop: Loop, workspace: Workspace, plan: Plan, *, usd_per_month: float | None = None) -> Seen:
    """Gather what the stores know of the time since the plan was made, a week at most."""
    now = workspace.stores.clock.now()
    made = datetime.fromisoformat(plan.created_at[:10]).replace(tzinfo=UTC)
    since = max(min(made, now), now - _LOOK_BACK)
    buckets = _traffic(loop, workspace, since)
    first = max(since, _whole_hour(min(buckets, default=now)))
    hourly = [0] * max(0, (now - _ceiling(first)) // _HOUR)
    start, latency = _ceiling(first), SystemFigures()
    busiest = 0
    for at, figures in buckets.items():
        busiest, latency = max(busiest, figures.requests), latency + figures
        place = (at - start) // _HOUR
        if 0 <= place < len(hourly):
            hourly[place] += figures.requests
    counted, days = _trainings(loop, workspace, made, now)
    return Seen(
        since=first if buckets else since,
        until=now,
        hourly=tuple(hourly) if buckets else (),
        first_hour=start.hour,
        busiest_rps=busiest / BUCKET.total_seconds(),
        busiest_requests=busiest,
        latency=latency.latency,
        arrived_bytes=_arrived(loop, workspace, since, now),
        trainings=counted,
        training_days=days,
        usd_per_month=_bill(loop, workspace, now) if usd_per_month is None else usd_per_month,
    )


def _traffic(loop: Loop, workspace: Workspace, since: datetime) -> dict[datetime, SystemFigures]:
    """Add up the five minutes of all models, oldest first."""
    found: dict[datetime, SystemFigures] = {}
    for model in loop.models:
        for at, figures in system_history(workspace.stores, model, since=since):
            found[at] = found[at] + figures if at in found else figures
    return dict(sorted(found.items()))


def _arrived(loop: Loop, workspace: Workspace, since: datetime, until: datetime) -> float | None:
    """Return the bytes of the source files that were taken in; None where no source has files."""
    read = sa.and_(source_units.c.ingest_id == ingests.c.id, source_units.c.state == "read")
    mine = source_units.c.dataset.in_(list(loop.datasets))
    query = sa.select(sa.func.sum(source_units.c.size)).select_from(source_units.join(ingests, read)).where(mine)
    within = sa.and_(ingests.c.finished_at > since, ingests.c.finished_at <= until)
    with workspace.stores.facts.read() as connection:
        if not connection.execute(query).scalar():
            return None
        return float(connection.execute(query.where(within)).scalar() or 0)


def _trainings(loop: Loop, workspace: Workspace, made: datetime, now: datetime) -> tuple[int, float]:
    since = max(made, now - _TRAININGS_BACK)
    mine = sa.and_(runs.c.model.in_(list(loop.models)), runs.c.started_at > since, runs.c.status == "finished")
    with workspace.stores.facts.read() as connection:
        counted = connection.execute(sa.select(sa.func.count()).where(mine)).scalar_one()
    return int(counted), max(0.0, (now - since) / timedelta(days=1))


def _bill(loop: Loop, workspace: Workspace, now: datetime) -> float | None:
    """Return the sum of the newest figures that each model reported of itself."""
    found = []
    for model in loop.models:
        mine = (kpi_values.c.model == model) & (kpi_values.c.name == BILL) & (kpi_values.c.at > now - _BILL_COUNTS)
        newest = sa.select(kpi_values.c.value).where(mine).order_by(kpi_values.c.at.desc(), kpi_values.c.id.desc())
        with workspace.stores.facts.read() as connection:
            value = connection.execute(newest.limit(1)).scalar()
        found += [] if value is None else [float(value)]
    return sum(found) if found else None


def _raise(loop: Loop, workspace: Workspace, plan: Plan, seen: Seen, held: tuple[Held, ...]) -> tuple[Signal, ...]:
    """Put what is broken on record, once a day each, and count a clean day where it holds."""
    stores, model = workspace.stores, next(iter(loop.models))
    champion = workspace.aliases.current(model)
    signals, incidents = workspace.monitoring.signals, workspace.monitoring.incidents
    mark, day = Mark(stores, model, "plan-clean"), (seen.until - _EPOCH) // timedelta(days=1)
    found: list[Signal] = []
    with stores.facts.write() as connection:
        before = mark.position()
        is_new_day = day > before and mark.move(connection, after=before, until=day)
        for one in held:
            check = f"plan:{one.check}"
            if one.state == "broken":
                version = "" if champion is None else f"{model}/{champion}"
                signal = _signal(stores.ids.new(), model, version, check, one, plan, seen)
                if signals.add(connection, signal):
                    incidents.alarm(connection, signal)
                    found.append(signal)
            elif one.state == "holds" and is_new_day:
                incidents.clean(connection, model, check)
    return tuple(found)


def _signal(name: str, model: str, version: str, check: str, one: Held, plan: Plan, seen: Seen) -> Signal:
    dimension: Dimension = "business" if one.check == "cost" else "system"
    is_above = one.seen is not None and one.seen > one.high
    interval = {"low": one.seen_low, "high": one.seen_high}
    return Signal(
        id=name,
        model=model,
        version=version,
        dimension=dimension,
        check=check,
        severity="ticket",
        value=one.seen,
        threshold=one.high if is_above else one.low,
        certainty={key: value for key, value in interval.items() if value is not None},
        rows=one.rows,
        window=f"{seen.until:%Y-%m-%d}",
        evidence={
            **asdict(one),
            "plan": plan.name,
            "plan_created_at": plan.created_at,
            "since": seen.since.isoformat(),
            "until": seen.until.isoformat(),
        },
        created_at=seen.until,
    )


def _unreadable(workspace: Workspace, model: str, text: str, now: datetime) -> tuple[Signal, ...]:
    signal = Signal(
        workspace.stores.ids.new(), model, "", "system", _UNREADABLE, "ticket", None, None, {}, 0,
        f"{now:%Y-%m-%d}", {"error": text}, now,
    )  # fmt: skip
    with workspace.stores.facts.write() as connection:
        if not workspace.monitoring.signals.add(connection, signal):
            return ()
        workspace.monitoring.incidents.alarm(connection, signal)
    return (signal,)


def _whole_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _ceiling(at: datetime) -> datetime:
    down = _whole_hour(at)
    return down if down == at else down + _HOUR

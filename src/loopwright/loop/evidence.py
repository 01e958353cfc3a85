"""Gathers what the stores say of how far a project works by itself; reads only, and asks nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.evaluation.records import verdicts
from loopwright.loop.decisions import decisions
from loopwright.loop.plan_watch import plan_path, read_plan
from loopwright.loop.turn_log import turns
from loopwright.monitoring.alert import alert_outbox
from loopwright.monitoring.business import kpi_values
from loopwright.monitoring.drift_window import drift_windows
from loopwright.monitoring.loss_state import loss_windows
from loopwright.monitoring.mark import monitor_marks
from loopwright.monitoring.signal import signals
from loopwright.monitoring.system import system_buckets
from loopwright.planning.evidence import DatasetEvidence, Evidence, ModelEvidence
from loopwright.serving.scoring.job_store import score_jobs, score_parts
from loopwright.training.run import runs

if TYPE_CHECKING:
    from loopwright.loop.model import ModelDeclaration
    from loopwright.loop.project import Loop
    from loopwright.registry.trail import AliasMove
    from loopwright.workspace import Workspace


def evidence_of(loop: Loop, workspace: Workspace) -> Evidence:
    """Return what is declared of a project and what its stores show.

    Raises:
        DeclarationError: If a plan is kept that cannot be read.
    """
    stores = workspace.stores
    path = plan_path(stores.settings.project)
    plan = read_plan(path) if path.is_file() else None
    sent = sa.select(sa.func.count()).select_from(alert_outbox).where(alert_outbox.c.sent_at.is_not(None))
    looks = sa.select(sa.func.max(monitor_marks.c.position)).where(
        monitor_marks.c.stage.in_(["plan", "plan-clean"]), monitor_marks.c.model.in_(list(loop.models))
    )
    return Evidence(
        project=loop.name,
        datasets=tuple(
            DatasetEvidence(
                one.name,
                len(workspace.data.history(one.name)) if one.name in workspace.data.names() else 0,
                len(one.contract.columns) + len(one.contract.checks),
            )
            for one in loop.datasets.values()
        ),
        models=tuple(_of_model(loop, workspace, one) for one in loop.models.values()),
        alert_channels=len(stores.settings.alert_urls),
        alerts_sent=_number(workspace, sent),
        has_workload=loop.demand is not None,
        has_plan=plan is not None,
        plan_looks=_number(workspace, looks),
        plan_checks=0 if plan is None else len(plan.verification),
    )


def _of_model(loop: Loop, workspace: Workspace, model: ModelDeclaration) -> ModelEvidence:
    name, monitoring = model.name, model.monitoring
    online, policy = model.online, model.retrain
    versions = workspace.registry.versions(name, archived=True)
    moves = workspace.aliases.history(name)
    releases = [one for one in workspace.releases.all(name) if not one.is_open]
    return ModelEvidence(
        name=name,
        gates=len(model.gates),
        triggers=0 if policy is None else len(policy.on),
        is_online=online is not None,
        is_deployed=online is not None or model.stream is not None or model.batch is not None,
        has_steps=online is not None and bool(online.shadow or any(share < 100 for share in online.canary)),
        has_objectives=monitoring is not None and (monitoring.latency_p99 is not None or monitoring.errors is not None),
        watches_drift=monitoring is not None and monitoring.drift is not None,
        kpis=() if monitoring is None else tuple(one.name for one in monitoring.business),
        versions=len(versions),
        proven_versions=sum(bool(one.golden_digest and one.assembly_digest) for one in versions),
        verdicts=_number(workspace, _rows(verdicts, verdicts.c.subject.startswith(f"model:{name}/"))),
        champion=f"{name}/{moves[-1].to_version}" if moves and moves[-1].to_version else "",
        former_champions=_former(moves),
        promotions=sum(one.verdict_id is not None and one.override_reason is None for one in moves),
        overrides=sum(one.override_reason is not None and not one.rollback for one in moves),
        rollbacks=sum(one.rollback for one in moves),
        releases_promoted=sum(one.stage == "promoted" for one in releases),
        releases_rolled_back=sum(one.stage == "rolled_back" for one in releases),
        answered=_answered(workspace, name),
        watched_buckets=_number(
            workspace, _rows(system_buckets, system_buckets.c.model == name, system_buckets.c.requests > 0)
        ),
        drift_windows=_number(
            workspace, _rows(drift_windows, drift_windows.c.model == name, drift_windows.c.state == "closed")
        ),
        loss_windows=_number(workspace, _rows(loss_windows, loss_windows.c.model == name)),
        kpi_values=_number(workspace, _rows(kpi_values, kpi_values.c.model == name)),
        signals=_number(workspace, _rows(signals, signals.c.model == name)),
        **_turned(loop, workspace, name),
    )


def _turned(loop: Loop, workspace: Workspace, model: str) -> dict[str, int]:
    """Count trainings and turns by what began them."""
    done = sa.select(turns).where(turns.c.loop == loop.name, turns.c.status == "finished")
    trained = sa.select(runs.c.id).where(runs.c.model == model, runs.c.status == "finished")
    asked = sa.select(decisions.c.turn_id, decisions.c.signals).where(decisions.c.model == model)
    with workspace.stores.facts.read() as connection:
        mine = [row for row in connection.execute(done) if isinstance(row.outcome.get(model), dict)]
        finished = {str(run) for (run,) in connection.execute(trained)}
        answering = {row.turn_id for row in connection.execute(asked) if row.turn_id and row.signals}
    by_turn = {str(row.outcome[model].get("run_id")) for row in mine} & finished
    by_signal = [row for row in mine if row.id in answering or row.cause.get("signals")]
    return {
        "runs_by_turn": len(by_turn),
        "runs_by_hand": len(finished - by_turn),
        "turns_by_trigger": sum(row.cause.get("trigger") != "manual" for row in mine),
        "turns_by_signal": len(by_signal),
        "promotions_by_signal": sum(_promoted(workspace, row.outcome[model]) for row in by_signal),
    }


def _promoted(workspace: Workspace, outcome: dict[str, object]) -> bool:
    if outcome.get("promoted") is True:
        return True
    release = outcome.get("release")
    return isinstance(release, str) and workspace.releases.get(release).stage == "promoted"


def _former(moves: list[AliasMove]) -> int:
    """Return how many versions were champion before the present one."""
    held = {one.to_version for one in moves if one.to_version is not None}
    return max(0, len(held) - 1)


def _answered(workspace: Workspace, model: str) -> int:
    """Return the rows that were answered: requests and events, as they were counted, and those of score jobs."""
    asked = sa.select(sa.func.sum(system_buckets.c.requests)).where(system_buckets.c.model == model)
    jobs = sa.select(score_jobs.c.id).where(score_jobs.c.model == model)
    scored = sa.select(sa.func.sum(score_parts.c.scored)).where(score_parts.c.job_id.in_(jobs))
    return _number(workspace, asked) + _number(workspace, scored)


def _rows(table: sa.Table, *where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(table).where(*where)


def _number(workspace: Workspace, query: sa.Select[Any]) -> int:
    with workspace.stores.facts.read() as connection:
        return int(connection.execute(query).scalar() or 0)

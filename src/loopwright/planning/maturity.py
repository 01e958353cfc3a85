"""How far a project works by itself, from what happened in its stores; and for each missing thing what brings it.

The levels follow the maturity models that people know, of Google ("MLOps: Continuous delivery and automation pipelines
in machine learning") and Microsoft ("Machine Learning operations maturity model"): 0 manual, 1 automated training, 2
automated deployment, 3 the closed loop. A level is reached when everything that it and the levels below it ask for has
*happened*, for every model; a declaration alone is a promise and counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.planning.evidence import Evidence, ModelEvidence

Level = Literal[0, 1, 2, 3]
LEVELS: Final[dict[Level, str]] = {
    0: "manual",
    1: "automated training",
    2: "automated deployment",
    3: "full MLOps",
}
Kind = Literal["command", "declaration", "setting"]


@dataclass(frozen=True)
class Remedy:
    """What brings a missing thing: a command to run, a declaration in ``loop.py``, or a setting."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Finding:
    """One thing that a level asks for.

    Attributes:
        level: Which.
        name: A short one.
        about: The model or dataset; empty for the project.
        asks: What is asked, in words.
        is_met: Whether the stores show it.
        evidence: What they show.
        remedy: What brings it; None where it is there.
    """

    level: Level
    name: str
    about: str
    asks: str
    is_met: bool
    evidence: str
    remedy: Remedy | None = None


@dataclass(frozen=True)
class Maturity:
    """What a project's evidence comes to.

    Attributes:
        project: Its name.
        level: The highest level all of whose findings, and of those below, are met.
        findings: Everything that was looked for, level by level.
    """

    project: str
    level: Level
    findings: tuple[Finding, ...]

    @property
    def missing(self) -> tuple[Finding, ...]:
        """What is not there, the lowest level first."""
        return tuple(one for one in self.findings if not one.is_met)


def assess(evidence: Evidence) -> Maturity:
    """Return the level that the evidence supports, with everything that was looked for."""
    found = [*_data(evidence), *(one for model in evidence.models for one in _of_model(model)), *_project(evidence)]
    found.sort(key=lambda one: one.level)
    level: Level = 3
    for one in found:
        if not one.is_met:
            level = {1: 0, 2: 1, 3: 2}[one.level]  # type: ignore[assignment]
            break
    return Maturity(evidence.project, level, tuple(found))


def _finding(
    level: Level, name: str, about: str, asks: str, shown: object, evidence: str, kind: Kind, text: str
) -> Finding:
    """Return a finding that is met where something is shown."""
    return Finding(level, name, about, asks, bool(shown), evidence, None if shown else Remedy(kind, text))


def _data(evidence: Evidence) -> Iterator[Finding]:
    if not evidence.datasets:
        yield _finding(
            1, "versioned data", "", "data is taken in, each version kept", 0, "no dataset is declared",
            "declaration", 'loop.dataset("orders", source=lw.files("data/*.csv"))',
        )  # fmt: skip
    for one in evidence.datasets:
        yield _finding(
            1, "versioned data", one.name, "data is taken in, each version kept", one.snapshots > 0,
            _count(one.snapshots, "snapshot"), "command", f"loopwright data ingest {one.name}",
        )  # fmt: skip
        yield _finding(
            1, "contract", one.name, "rows are checked before they count", one.rules > 0,
            _count(one.rules, "column or check", "columns and checks"), "command", f"loopwright data infer {one.name}",
        )  # fmt: skip
    if not evidence.models:
        yield _finding(
            1, "training by turns", "", "trainings are made by turns of the loop", 0, "no model is declared",
            "declaration",
            '@loop.model("eta", label=lw.label(orders.minutes), features=[orders.km], holdout=lw.latest("14d"), '
            'metrics=["mae"])',
        )  # fmt: skip


def _of_model(one: ModelEvidence) -> Iterator[Finding]:
    yield from _training(one)
    yield from _deployment(one)
    yield from _closed_loop(one)


def _training(one: ModelEvidence) -> Iterator[Finding]:
    by_hand = f", {one.runs_by_hand} by hand" if one.runs_by_hand else ""
    yield _finding(
        1, "training by turns", one.name, "trainings are made by turns of the loop", one.runs_by_turn > 0,
        f"{_count(one.runs_by_turn, 'training')} by turns{by_hand}", "command", "loopwright run",
    )  # fmt: skip
    yield _finding(
        1, "judged on sealed rows", one.name, "gates judge each version on rows that training never saw",
        one.gates > 0 and one.verdicts > 0, f"{_count(one.verdicts, 'verdict')} by {_count(one.gates, 'gate')}",
        *_declare_first(
            one.gates > 0, f'@loop.model("{one.name}", gates=[lw.at_least("accuracy", 0.7)])', "loopwright run"
        ),
    )  # fmt: skip
    yield _finding(
        1, "one code for features", one.name, "the same assembly computes features in training and in serving, proven "
        "on golden rows", one.proven_versions > 0, f"{one.proven_versions} of {_count(one.versions, 'version')} proven",
        "command", "loopwright run",
    )  # fmt: skip
    yield _finding(
        1, "begun by a trigger", one.name, "a schedule, new rows or a signal began a turn", one.turns_by_trigger > 0,
        f"{_count(one.turns_by_trigger, 'turn')} by {_count(one.triggers, 'trigger')}",
        *_declare_first(
            one.triggers > 0, f'loop.retrain({one.name}, on=[lw.schedule("0 3 1 * *")])', "loopwright up"
        ),
    )  # fmt: skip


def _deployment(one: ModelEvidence) -> Iterator[Finding]:
    yield _finding(
        2, "answers", one.name, "it answers requests, events or batches", one.answered > 0,
        f"{one.answered:,} rows answered",
        *_declare_first(one.is_deployed, f"loop.deploy({one.name}, online=lw.online())", "loopwright up"),
    )  # fmt: skip
    forced = f", {one.overrides} forced by a person" if one.overrides else ""
    yield _finding(
        2, "promoted by verdict", one.name, "a passing verdict, and no person, made it champion", one.promotions > 0,
        f"{_count(one.promotions, 'promotion')} by verdict{forced}", "command", "loopwright run",
    )  # fmt: skip
    if one.is_online or not one.is_deployed:
        yield _finding(
            2, "released in steps", one.name, "a release went through shadow or canary steps, judged on live traffic",
            one.releases_promoted + one.releases_rolled_back > 0,
            f"{_count(one.releases_promoted, 'release')} let through, {one.releases_rolled_back} rolled back",
            *_declare_first(
                one.has_steps, f"loop.deploy({one.name}, online=lw.online(canary=[5, 25, 100]))", "loopwright up"
            ),
        )  # fmt: skip
    yield _finding(
        2, "a way back", one.name, "there is a former champion to go back to", one.former_champions > 0,
        f"{_count(one.former_champions, 'former champion')}, {_count(one.rollbacks, 'rollback')}", "command",
        "loopwright run",
    )  # fmt: skip


def _closed_loop(one: ModelEvidence) -> Iterator[Finding]:
    if one.is_online or not one.is_deployed:
        yield _finding(
            3, "system watched", one.name, "latency and errors are held against objectives",
            one.has_objectives and one.watched_buckets > 0,
            f"{_count(one.watched_buckets, 'stretch', 'stretches')} of five minutes counted",
            *_declare_first(
                one.has_objectives, f'loop.monitor({one.name}, latency_p99="200ms", errors=0.01)', "loopwright up"
            ),
        )  # fmt: skip
    yield _finding(
        3, "data watched", one.name, "served inputs are compared with training", one.drift_windows > 0,
        _count(one.drift_windows, "drift window"),
        *_declare_first(one.watches_drift, f'loop.monitor({one.name}, drift="daily")', "loopwright up"),
    )  # fmt: skip
    yield _finding(
        3, "model watched", one.name, "labels that come later are joined, and the loss held against its reference",
        one.loss_windows > 0, _count(one.loss_windows, "window") + " of labelled predictions", "command",
        "loopwright up",
    )  # fmt: skip
    kpi = one.kpis[0] if one.kpis else "refund_rate"
    yield _finding(
        3, "business watched", one.name, "a business number is tied to the version that it is due to",
        one.kpi_values > 0, f"{_count(one.kpi_values, 'value')} of {_count(len(one.kpis), 'number')}",
        *_declare_first(
            bool(one.kpis), f'loop.monitor({one.name}, business=lw.kpi("{kpi}", at_most=0.02))',
            f"loopwright kpi {one.name} {kpi} 0.01",
        ),
    )  # fmt: skip
    yield _finding(
        3, "the loop closed", one.name, "what monitoring saw began a turn that ended with a new champion",
        one.promotions_by_signal > 0,
        f"{_count(one.signals, 'signal')}, {_count(one.turns_by_signal, 'turn')} answering one, "
        f"{_count(one.promotions_by_signal, 'promotion')}",
        *_declare_first(
            one.triggers > 0, f"loop.retrain({one.name}, on=[lw.loss_above_reference()])", "loopwright up"
        ),
    )  # fmt: skip


def _project(evidence: Evidence) -> Iterator[Finding]:
    yield _finding(
        3, "people are told", "", "incidents reach people where they are", evidence.alerts_sent > 0,
        f"{_count(evidence.alerts_sent, 'message')} to {_count(evidence.alert_channels, 'address', 'addresses')}",
        *(
            ("command", "loopwright up")
            if evidence.alert_channels
            else ("setting", '[alerts] urls = ["mailto://…"] in loopwright.toml')
        ),
    )  # fmt: skip
    yield _finding(
        3, "a plan", "", "infrastructure and cost are planned from the workload", evidence.has_plan,
        "a plan is kept" if evidence.has_plan else "no plan.json",
        *_declare_first(
            evidence.has_workload, "loop.workload(requests_per_day=1_000_000, peak_rps=50)", "loopwright plan --keep"
        ),
    )  # fmt: skip
    yield _finding(
        3, "the plan is watched", "", "what the plan assumed is held against what is seen", evidence.plan_looks > 0,
        "looked at" if evidence.plan_looks else "never looked at", "command",
        "loopwright plan watch" if evidence.has_plan else "loopwright plan --keep",
    )  # fmt: skip


def _declare_first(declared: object, declaration: str, command: str) -> tuple[Kind, str]:
    """Return the declaration where there is none, and otherwise the command that lets it happen."""
    return ("command", command) if declared else ("declaration", declaration)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}" if number else f"no {one}"

"""What a project's stores say of how far it works by itself: counts of what happened, gathered without a question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetEvidence:
    """One dataset.

    Attributes:
        name: Of the dataset.
        snapshots: How many versions of it there are.
        rules: Columns and checks of its contract.
    """

    name: str
    snapshots: int = 0
    rules: int = 0


@dataclass(frozen=True)
class ModelEvidence:
    """One model: what is declared of it, and what happened to it.

    Attributes:
        name: Of the model.
        gates: How many gates are declared.
        triggers: How many triggers of a turn are declared.
        is_online: Whether it is declared to answer requests.
        is_deployed: Whether it is declared to answer at all: requests, events or batches.
        has_steps: Whether a new version reaches traffic through a shadow stage or canary steps.
        has_objectives: Whether a bound on latency or errors is declared.
        watches_drift: Whether drift windows are declared.
        kpis: The declared business numbers.
        runs_by_turn: Finished trainings that a turn made.
        runs_by_hand: Finished trainings that no turn made.
        turns_by_trigger: Finished turns that a trigger began.
        versions: Registered versions.
        proven_versions: Versions with golden rows and one assembly of features for training and serving.
        verdicts: Verdicts on sealed rows.
        champion: The version that answers; empty where there is none.
        promotions: Moves of the champion that a passing verdict allowed.
        overrides: Moves of the champion that a person forced.
        former_champions: Versions that answered before the present one.
        rollbacks: Times it went back.
        releases_promoted: Releases whose challenger was let through step by step.
        releases_rolled_back: Releases that ended with the champion before.
        answered: Requests, events and batch rows that were answered.
        watched_buckets: Stretches of five minutes with traffic whose latency and errors were counted.
        drift_windows: Windows of served inputs that were compared with training.
        loss_windows: Windows of labelled predictions whose loss was held against the reference.
        kpi_values: Values of business numbers that were reported.
        signals: Signals raised.
        turns_by_signal: Finished turns that answered a signal.
        promotions_by_signal: Turns that answered a signal and ended with a new champion.
    """

    name: str
    gates: int = 0
    triggers: int = 0
    is_online: bool = False
    is_deployed: bool = False
    has_steps: bool = False
    has_objectives: bool = False
    watches_drift: bool = False
    kpis: tuple[str, ...] = ()
    runs_by_turn: int = 0
    runs_by_hand: int = 0
    turns_by_trigger: int = 0
    versions: int = 0
    proven_versions: int = 0
    verdicts: int = 0
    champion: str = ""
    promotions: int = 0
    overrides: int = 0
    former_champions: int = 0
    rollbacks: int = 0
    releases_promoted: int = 0
    releases_rolled_back: int = 0
    answered: int = 0
    watched_buckets: int = 0
    drift_windows: int = 0
    loss_windows: int = 0
    kpi_values: int = 0
    signals: int = 0
    turns_by_signal: int = 0
    promotions_by_signal: int = 0


@dataclass(frozen=True)
class Evidence:
    """A project.

    Attributes:
        project: Its name.
        datasets: What it is made from.
        models: What it makes.
        alert_channels: Addresses that incidents are told to.
        alerts_sent: Messages that reached one.
        has_workload: Whether ``loop.workload`` is declared.
        has_plan: Whether a plan is kept beside the project.
        plan_looks: Hours in which the plan was held against what is seen.
        plan_checks: Figures of the plan that were compared with a measurement on a real server.
    """

    project: str
    datasets: tuple[DatasetEvidence, ...] = ()
    models: tuple[ModelEvidence, ...] = ()
    alert_channels: int = 0
    alerts_sent: int = 0
    has_workload: bool = False
    has_plan: bool = False
    plan_looks: int = 0
    plan_checks: int = 0

"""A release: the rollout of one challenger, as a noun and a pure state machine.

::

    shadow ──► canary step 1 ──► … ──► canary step n ──► promoting ──► promoted
       │              │                      │
       └──────────────┴──────────────────────┴────► rolled_back

``promoting`` is an intent: all traffic already goes to the challenger, the alias is about to move. A process that
dies there leaves a release that the next one finishes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from loopwright.core.errors import RefusedError
from loopwright.serving.releases.router import Routing

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from loopwright.serving.deploy import OnlineDeployment

ReleaseStage: TypeAlias = Literal["shadow", "canary", "promoting", "promoted", "rolled_back"]
ReleaseMove: TypeAlias = Literal["advance", "promote", "roll_back", "finish"]
OPEN_STAGES: tuple[ReleaseStage, ...] = ("shadow", "canary", "promoting")


@dataclass(frozen=True)
class ReleasePlan:
    """The steps of a release and the bounds it is judged by, frozen when the release opens."""

    shadow_s: float | None
    canary_shares: tuple[float, ...]
    min_requests_per_step: int
    step_s: float
    max_error_ratio: float
    max_latency_rise: float
    latency_slack_ms: float
    alpha: float

    @classmethod
    def from_deployment(cls, deployment: OnlineDeployment) -> ReleasePlan:
        """Take the plan out of a declaration."""
        return cls(
            shadow_s=None if deployment.shadow is None else deployment.shadow.total_seconds(),
            canary_shares=deployment.canary_shares,
            min_requests_per_step=deployment.min_requests_per_step,
            step_s=deployment.step_time.total_seconds(),
            max_error_ratio=deployment.max_error_ratio,
            max_latency_rise=deployment.max_latency_rise,
            latency_slack_ms=deployment.latency_slack_ms,
            alpha=deployment.alpha,
        )

    @property
    def steps(self) -> int:
        """Return the number of steps at which the release is judged."""
        return len(self.canary_shares) + (0 if self.shadow_s is None else 1)


@dataclass(frozen=True)
class Release:
    """One rollout of ``challenger`` over ``champion``; versions are ids such as ``eta/3``.

    Attributes:
        step: Index into the plan's canary shares while in the canary; 0 elsewhere.
        revision: Counts the changes; a change names the revision that it saw, so that only one of two controllers
            makes it.
        reason: Why it was closed, or None.
    """

    id: str
    model: str
    champion: str
    challenger: str
    plan: ReleasePlan
    stage: ReleaseStage
    step: int
    revision: int
    opened_at: datetime
    step_started_at: datetime
    closed_at: datetime | None = None
    reason: str | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the rollout is still going on."""
        return self.stage in OPEN_STAGES

    @property
    def share(self) -> float:
        """Return the challenger's share of the answers, in [0, 1]."""
        if self.stage == "canary":
            return self.plan.canary_shares[self.step]
        return 1.0 if self.stage in ("promoting", "promoted") else 0.0

    @property
    def experiment(self) -> str:
        """Return the name under which this step's traffic is logged."""
        return f"{self.id}/{self.stage}-{self.step}"

    def routing(self) -> Routing:
        """Return how traffic is split while the release is in this state."""
        champion, challenger = version_number(self.champion), version_number(self.challenger)
        if self.stage == "shadow":
            return Routing(champion, challenger, "shadow", salt=self.id, experiment=self.experiment)
        if self.stage == "canary":
            return Routing(champion, challenger, "canary", self.share, self.id, self.experiment)
        if self.stage in ("promoting", "promoted"):
            return Routing(challenger)
        return Routing(champion)

    def min_step_time_s(self) -> float:
        """Return the seconds that must pass in this step before it may be left upwards."""
        if self.stage == "shadow":
            return self.plan.shadow_s or 0.0
        return self.plan.step_s


def version_number(version_id: str) -> int:
    """Return the number in a version id.

    >>> version_number("eta/3")
    3
    """
    return int(version_id.rpartition("/")[2])


def opening(plan: ReleasePlan) -> ReleaseStage:
    """Return the stage in which a release of this plan begins."""
    if plan.shadow_s is not None:
        return "shadow"
    return "canary" if plan.canary_shares else "promoting"


def after(release: Release, move: ReleaseMove, *, at: datetime, reason: str | None = None) -> Release:
    """Return the release as it is after ``move``.

    Raises:
        RefusedError: When the move is not possible from this stage.
    """
    if move not in get_args(ReleaseMove):
        raise RefusedError(f"A release cannot {move!r}; moves: {', '.join(get_args(ReleaseMove))}.")
    step = replace(release, revision=release.revision + 1, step_started_at=at)
    if move == "finish" and release.stage == "promoting":
        return replace(step, stage="promoted", step=0, closed_at=at, reason=reason or "promoted")
    if release.stage in ("shadow", "canary"):
        if move == "roll_back":
            return replace(step, stage="rolled_back", step=0, closed_at=at, reason=reason or "rolled back")
        if move == "promote":
            return replace(step, stage="promoting", step=0)
        if move == "advance":
            return _advanced(step)
    if move == "roll_back" and release.stage == "promoting":
        return replace(step, stage="rolled_back", step=0, closed_at=at, reason=reason or "rolled back")
    raise RefusedError(
        f"Release {release.id} of {release.model} is {release.stage}: it cannot {move}.",
        hint="A closed release stays closed; open another one." if not release.is_open else None,
    )


def _advanced(release: Release) -> Release:
    following = 0 if release.stage == "shadow" else release.step + 1
    if following < len(release.plan.canary_shares):
        return replace(release, stage="canary", step=following)
    return replace(release, stage="promoting", step=0)


def elapsed(release: Release, now: datetime) -> timedelta:
    """Return the time since the present step began."""
    return now - release.step_started_at

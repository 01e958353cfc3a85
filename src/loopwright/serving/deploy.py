"""How a model is put online: the declaration behind ``loop.deploy(model, online=lw.online(…))``.

Light on purpose: a project file imports this, so nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Sequence

PayloadPolicy: TypeAlias = Literal["full", "none"]
LogFullPolicy: TypeAlias = Literal["drop_newest", "shed"]
FsyncPolicy: TypeAlias = Literal["none", "interval", "always"]

_LONGEST_WAIT = timedelta(minutes=1)


@dataclass(frozen=True)
class OnlineDeployment:
    """Say how a new version of a model reaches live traffic, and what the server keeps of it.

    Attributes:
        shadow: How long a new version first answers copies of requests unseen; None for no shadow stage.
        canary: Percentages of traffic, rising; 100 (or the end of the list) is the promotion itself.
        min_requests_per_step: Requests that the new version must have answered before a step may be left.
        step_time: Time that must have passed in a canary step before it may be left.
        max_error_ratio: The rate of failed requests, relative to the champion's, from which a proven rise rolls back.
        max_latency_rise: The relative rise of a latency quantile (and ``latency_slack_ms`` on top) that is tolerated.
        latency_slack_ms: The absolute rise of a latency quantile that is tolerated, in milliseconds.
        alpha: The chance that a harmless version is rolled back by mistake, over the whole of a release.
        log_payloads: ``"full"`` keeps the features as served with each prediction, ``"none"`` keeps only the answer.
        log_full: When the disk is so slow that the prediction log's ring is full: ``"drop_newest"`` answers and counts
            the rows as dropped, ``"shed"`` refuses calls with 429, for models whose log is audited.
        log_fsync: What of the log survives the loss of power: ``"interval"`` all but the last second, ``"always"``
            every answer, ``"none"`` what the kernel had written by itself.
        required: Whether the server is ready only with this model loaded; one that is not may wait for its first
            request, and give way to others, where ``[serving] memory`` bounds them.
        max_in_flight: Requests of this model worked on, or waiting, beside the event loop; more are answered 429.
        max_batch_rows: Rows up to which requests are computed together; None for what the version's warm-up finds.
        max_delay: How long an idle version waits for more requests to compute with the first; 0 never waits.
        queue_budget: The longest wait that is expected of any request: one that would wait longer is answered 429.
        max_queue_rows: Rows that wait for one version; None for four of its largest batches.

    Raises:
        DeclarationError: When a value is out of its range.
    """

    shadow: timedelta | None = None
    canary: tuple[int, ...] = (5, 25, 100)
    min_requests_per_step: int = 1_000
    step_time: timedelta = timedelta(minutes=10)
    max_error_ratio: float = 1.25
    max_latency_rise: float = 0.10
    latency_slack_ms: float = 5.0
    alpha: float = 0.01
    log_payloads: PayloadPolicy = "full"
    log_full: LogFullPolicy = "drop_newest"
    log_fsync: FsyncPolicy = "interval"
    max_in_flight: int = 256
    max_batch_rows: int | None = None
    max_delay: timedelta = timedelta()
    queue_budget: timedelta = timedelta(milliseconds=100)
    max_queue_rows: int | None = None
    required: bool = True

    def __post_init__(self) -> None:
        percents = self.canary
        rising = all(low < high for low, high in pairwise(percents))
        if not rising or any(not 0 < percent <= 100 for percent in percents):
            raise DeclarationError(
                f"canary must be rising percentages between 1 and 100, got {list(percents)}.",
                hint="Write them as in canary=[5, 25, 100].",
            )
        if self.min_requests_per_step < 1:
            raise DeclarationError(f"min_requests_per_step must be at least 1, got {self.min_requests_per_step}.")
        if not 0 < self.alpha < 0.5:
            raise DeclarationError(f"alpha must lie between 0 and 0.5, got {self.alpha}.")
        if self.max_error_ratio < 1 or self.max_latency_rise < 0 or self.latency_slack_ms < 0:
            raise DeclarationError(
                "max_error_ratio must be at least 1, and max_latency_rise and latency_slack_ms at least 0; "
                f"got {self.max_error_ratio}, {self.max_latency_rise} and {self.latency_slack_ms}."
            )
        if self.log_payloads not in get_args(PayloadPolicy):
            raise DeclarationError(f"log_payloads must be 'full' or 'none', got {self.log_payloads!r}.")
        if self.log_full not in get_args(LogFullPolicy):
            raise DeclarationError(f"log_full must be 'drop_newest' or 'shed', got {self.log_full!r}.")
        if self.log_fsync not in get_args(FsyncPolicy):
            raise DeclarationError(f"log_fsync must be 'none', 'interval' or 'always', got {self.log_fsync!r}.")
        for name in ("max_in_flight", "max_batch_rows", "max_queue_rows"):
            bound: int | None = getattr(self, name)
            if bound is not None and bound < 1:
                raise DeclarationError(f"{name} must be at least 1, got {bound}.")
        for name in ("max_delay", "queue_budget"):
            wait: timedelta = getattr(self, name)
            if not timedelta() <= wait <= _LONGEST_WAIT:
                raise DeclarationError(f"{name} must lie between 0 and 60 s, got {wait.total_seconds():g} s.")

    @property
    def canary_shares(self) -> tuple[float, ...]:
        """Return the shares of traffic that are judged, in (0, 1); 100 % is no step but the promotion."""
        return tuple(percent / 100 for percent in self.canary if percent < 100)


def online(
    *,
    shadow: str | float | timedelta | None = None,
    canary: Sequence[int] = (5, 25, 100),
    min_requests_per_step: int = 1_000,
    step_time: str | float | timedelta = "10m",
    max_error_ratio: float = 1.25,
    max_latency_rise: float = 0.10,
    latency_slack_ms: float = 5.0,
    alpha: float = 0.01,
    log_payloads: PayloadPolicy = "full",
    log_full: LogFullPolicy = "drop_newest",
    log_fsync: FsyncPolicy = "interval",
    max_in_flight: int = 256,
    max_batch_rows: int | None = None,
    max_delay: str | float | timedelta = 0,
    queue_budget: str | float | timedelta = "100ms",
    max_queue_rows: int | None = None,
    required: bool = True,
) -> OnlineDeployment:
    """Declare an online deployment; the arguments are those of `OnlineDeployment`, durations as text.

    >>> online(shadow="1h", canary=[5, 25, 100]).canary_shares
    (0.05, 0.25)
    """
    return OnlineDeployment(
        shadow=None if shadow is None else parse_duration(shadow),
        canary=tuple(canary),
        min_requests_per_step=min_requests_per_step,
        step_time=parse_duration(step_time),
        max_error_ratio=max_error_ratio,
        max_latency_rise=max_latency_rise,
        latency_slack_ms=latency_slack_ms,
        alpha=alpha,
        log_payloads=log_payloads,
        log_full=log_full,
        log_fsync=log_fsync,
        max_in_flight=max_in_flight,
        max_batch_rows=max_batch_rows,
        max_delay=parse_duration(max_delay),
        queue_budget=parse_duration(queue_budget),
        max_queue_rows=max_queue_rows,
        required=required,
    )

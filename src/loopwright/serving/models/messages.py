"""What a supervisor and its workers say to each other: MessagePack with a tag, framed by `channel`."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from loopwright.serving.models.model_source import Target  # noqa: TC001 - msgspec resolves the types of fields at run time

# From a worker.


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The worker's event loop runs, and it can be asked to prepare versions."""


class Beat(msgspec.Struct, frozen=True, tag=True):
    """A sign of life, from the event loop itself.

    Attributes:
        lag_s: By how much the loop was late lately.
        ready: Whether every required model is in force.
        snapshot: The worker's metrics, where it is time for them; empty otherwise.
    """

    lag_s: float
    ready: bool
    snapshot: bytes = b""


class Ending(msgspec.Struct, frozen=True, tag=True):
    """The worker has begun to drain; another one may take its place."""


class Wanted(msgspec.Struct, frozen=True, tag=True):
    """What the source says should be in force, from the worker that reads it for all."""

    targets: dict[str, Target]


class Prepared(msgspec.Struct, frozen=True, tag=True):
    """A target is loaded and tested, or a version of it cannot be brought into service.

    Attributes:
        turn: Of which turn.
        refused: The version at fault, or None.
        reason: What is wrong with it.
    """

    turn: int
    refused: str | None = None
    reason: str = ""


class Committed(msgspec.Struct, frozen=True, tag=True):
    """A target is in force, since this moment of the machine's monotonic clock."""

    turn: int
    at: float


class Scrape(msgspec.Struct, frozen=True, tag=True):
    """Somebody asks this worker for the metrics of all; its own are with it."""

    number: int
    snapshot: bytes


class Collected(msgspec.Struct, frozen=True, tag=True):
    """The metrics of this worker, as `Collect` asked for them."""

    number: int
    snapshot: bytes


# From the supervisor.


class Lead(msgspec.Struct, frozen=True, tag=True):
    """Read the source for all workers from now on."""


class Accept(msgspec.Struct, frozen=True, tag=True):
    """Accept connections from now on."""


class Retire(msgspec.Struct, frozen=True, tag=True):
    """Another one is in your place: stop accepting, finish, end."""


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Phase one: load and test what a target needs, and change nothing yet."""

    turn: int
    model: str
    target: Target


class Commit(msgspec.Struct, frozen=True, tag=True):
    """Phase two: put in force what was prepared."""

    turn: int


class Abort(msgspec.Struct, frozen=True, tag=True):
    """Forget what was prepared."""

    turn: int


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """Tell the source that a version could not be brought into service."""

    model: str
    version: str
    reason: str


class Collect(msgspec.Struct, frozen=True, tag=True):
    """Send your metrics as they are now."""

    number: int


class Merged(msgspec.Struct, frozen=True, tag=True):
    """The metrics of the other workers, of those that ended, and of the supervisor."""

    number: int
    snapshots: list[bytes]


class Pulse(msgspec.Struct, frozen=True, tag=True):
    """The supervisor's sign of life.

    Attributes:
        unwell: What is wrong with the group, or None.
        problems: Why a model could not be brought into service, by model.
    """

    unwell: str | None
    problems: dict[str, str]


FromWorker: TypeAlias = Hello | Beat | Ending | Wanted | Prepared | Committed | Scrape | Collected
FromSupervisor: TypeAlias = Lead | Accept | Retire | Prepare | Commit | Abort | Refuse | Collect | Merged | Pulse

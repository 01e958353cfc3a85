"""How a stream stands: its place and lag from the event log, its rate from what its process says of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.errors import StoreError
from loopwright.serving.stream.dead_letter import read_letter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopwright.core.storage.events import EventLog
    from loopwright.serving.stream.dead_letter import DeadLetter
    from loopwright.serving.stream.declaration import StreamDeployment

_LETTERS_PER_READ = 500


@dataclass(frozen=True)
class StreamState:
    """What the process of a stream says of itself once a second.

    Attributes:
        version: The version that computed the last batch.
        answered: Events answered since the process began.
        dead: Of these, dead letters.
        retries: Tries that waited for something that was down.
        per_second: Events per second, over ten seconds.
        delay_ms: From appending to the readable answer, of the oldest event in the last batch.
        lag: Events without an answer, at the last look.
        waiting_for: What keeps it from going on, or None.
    """

    pid: int
    version: int | None
    answered: int
    dead: int
    retries: int
    per_second: float
    delay_ms: float | None
    lag: int
    waiting_for: str | None


@dataclass(frozen=True)
class StreamStanding:
    """A stream now.

    Attributes:
        model: The model that answers.
        topic: What it reads.
        to: Where predictions go.
        dead_letter: Where dead letters go.
        lag: Events without an answer; None where only the process could tell, and none runs.
        dead_letters: Dead letters that were not replayed.
        state: What its process says, or None where none runs.
    """

    model: str
    topic: str
    to: str
    dead_letter: str
    lag: int | None
    dead_letters: int
    state: StreamState | None


def stream_folder(local: Path) -> Path:
    """Return the folder for the locks and states of streams on this machine."""
    return local / "streams"


def replayer_of(model: str) -> str:
    """Return the name under which it is kept how far a model's dead letters were replayed.

    >>> replayer_of("eta")
    'loopwright-replay.eta'
    """
    return f"loopwright-replay.{model}"


def write_state(local: Path, model: str, state: StreamState) -> None:
    """Write down how the stream does; readers see the old or the new, never a part."""
    path = _path(local, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    unborn = path.with_suffix(f".{state.pid}.tmp")
    unborn.write_bytes(msgspec.json.encode(state))
    unborn.replace(path)


def read_state(local: Path, model: str) -> StreamState | None:
    """Return what the running process of a stream says of itself, or None where none runs."""
    try:
        state = msgspec.json.decode(_path(local, model).read_bytes(), type=StreamState)
        os.kill(state.pid, 0)
    except (FileNotFoundError, msgspec.MsgspecError, ProcessLookupError):
        return None
    return state


def forget_state(local: Path, model: str) -> None:
    """Remove what an ending process said."""
    _path(local, model).unlink(missing_ok=True)


def standing_of(log: EventLog, local: Path, model: str, deployed: StreamDeployment, consumer: str) -> StreamStanding:
    """Read how a stream stands; changes nothing."""
    state, lag = read_state(local, model), _lag(log, deployed.topic, consumer)
    replayed = max(log.committed(deployed.dead_letter, replayer_of(model)), log.start(deployed.dead_letter))
    return StreamStanding(
        model,
        deployed.topic,
        deployed.to,
        deployed.dead_letter,
        lag=lag if lag is not None or state is None else state.lag,
        dead_letters=max(0, log.end(deployed.dead_letter) - replayed),
        state=state,
    )


def dead_letters(log: EventLog, model: str, deployed: StreamDeployment, *, limit: int) -> list[DeadLetter]:
    """Return the newest dead letters, the newest last."""
    replayed = log.committed(deployed.dead_letter, replayer_of(model))
    after = max(0, log.end(deployed.dead_letter) - limit)
    return list(_letters(log, deployed.dead_letter, after, replayed))[-limit:]


def _lag(log: EventLog, topic: str, consumer: str) -> int | None:
    try:
        return max(0, log.end(topic) - max(log.committed(topic, consumer), log.start(topic)))
    except StoreError:  # the log has no word for a topic of several partitions
        return None


def _letters(log: EventLog, topic: str, after: int, replayed: int) -> Iterator[DeadLetter]:
    while events := log.read(topic, after=after, limit=_LETTERS_PER_READ):
        yield from (read_letter(event, replayed_up_to=replayed) for event in events)
        after = events[-1].offset


def _path(local: Path, model: str) -> Path:
    return stream_folder(local) / f"{model}.json"

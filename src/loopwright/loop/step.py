"""The runner of steps: does what is not done, reuses what is, and tells a listener."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from loopwright.core.errors import LoopwrightError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.core.clock import Clock
    from loopwright.loop.turn_log import Output, TurnLog, TurnRecord

StepEventKind = Literal["started", "progress", "finished", "reused", "failed"]


@dataclass(frozen=True)
class StepEvent:
    """Something that happened to a step, for whoever shows it."""

    turn_id: str
    step: str
    kind: StepEventKind
    text: str = ""
    seconds: float = 0.0
    output: Output = field(default_factory=dict)
    fraction: float | None = None


class Report(Protocol):
    """How a step says how far it is."""

    def __call__(self, text: str, fraction: float | None = None) -> None:
        """Say what is being done, and its share done, from 0 to 1, where that is known."""


class Listener(Protocol):
    """Whoever shows a turn; it must be quick and must not raise."""

    def __call__(self, event: StepEvent) -> None:
        """Take one event."""


class StepRunner:
    """Runs the steps of one turn.

    Args:
        log: The record of turns.
        turn: The turn.
        clock: For how long a step took.
        listener: Is told when a step starts, reports, and ends.
    """

    def __init__(self, log: TurnLog, turn: TurnRecord, clock: Clock, listener: Listener) -> None:
        self._log = log
        self._clock = clock
        self._listener = listener
        self.turn = turn
        self.done: list[str] = []
        self.reused: list[str] = []

    def run(self, name: str, action: Callable[[Report], Output], *, key: str | None = None) -> Output:
        """Return what the step makes: by running ``action``, or from its record where the same was finished before.

        Args:
            name: Unique in the turn.
            action: Given a function that reports progress in words; returns JSON values. It is idempotent up to its
                last effect, since a killed step is run again.
            key: Digest of all that the result depends on; without one, the step is redone in each turn.
        """
        record = self._log.finished_step(self.turn.id, name, key)
        if record is not None:
            if record.turn_id != self.turn.id:
                self._log.end_step(self.turn.id, name, key, "reused", output=record.output)
            self.reused.append(name)
            self._tell(name, "reused", output=record.output)
            return record.output
        self._log.start_step(self.turn.id, name, key)
        self._tell(name, "started")
        begin = self._clock.monotonic()
        try:
            output = action(
                lambda text, fraction=None: self._listener(
                    StepEvent(self.turn.id, name, "progress", text, fraction=fraction)
                )
            )
        except Exception as error:
            text = str(error) if isinstance(error, LoopwrightError) else f"{type(error).__name__}: {error}"
            self._log.end_step(self.turn.id, name, key, "failed", output={}, error=text)
            self._tell(name, "failed", text=text, seconds=self._clock.monotonic() - begin)
            raise
        self._log.end_step(self.turn.id, name, key, "finished", output=output)
        self.done.append(name)
        self._tell(name, "finished", seconds=self._clock.monotonic() - begin, output=output)
        return output

    def _tell(
        self, step: str, kind: StepEventKind, *, text: str = "", seconds: float = 0.0, output: Output | None = None
    ) -> None:
        self._listener(StepEvent(self.turn.id, step, kind, text, seconds, output or {}))

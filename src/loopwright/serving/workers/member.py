"""A worker as its supervisor knows it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal

    from loopwright.serving.models.messages import FromWorker
    from loopwright.serving.workers.channel import Channel


@dataclass
class Member:
    """One worker process.

    Attributes:
        number: Which it is, counted over the life of the group.
        seat: Its place; a successor may take it.
        pid: Its process.
        channel: How it is talked to.
        began_s: When it was started.
        heard_s: When it last gave a sign of life.
        is_open: Whether it can be asked.
        is_ready: Whether every required model is in force in it.
        is_accepting: Whether it was told to accept connections.
        is_silenced: Whether it was killed for being silent.
        ends_by_s: Until when it has to end, once it should.
        code: How it ended, as `os.waitstatus_to_exitcode` has it.
    """

    number: int
    seat: int
    pid: int
    channel: Channel[FromWorker]
    began_s: float
    heard_s: float
    is_open: bool = False
    is_ready: bool = False
    is_accepting: bool = False
    is_silenced: bool = False
    ends_by_s: float | None = None
    code: int | None = None

    @property
    def is_ending(self) -> bool:
        """Return whether it should end, and is not counted on."""
        return self.ends_by_s is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def has_ended(self) -> bool:
        """Return whether the process is gone."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

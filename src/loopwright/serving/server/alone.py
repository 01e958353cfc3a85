"""A server of one process: it follows the source on a thread, and nobody watches over it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from loopwright.core.errors import LoopwrightError
from loopwright.serving.server.loop_lag import LATE_S, LoopLag
from loopwright.serving.server.state_file import remove_state, write_state

if TYPE_CHECKING:
    import socket

    from loopwright.serving.membership import Ending
    from loopwright.serving.server.server import Server

_log = structlog.get_logger(__name__)


class Alone:
    """The only process of its server.

    Args:
        server: The server.
        sock: The bound socket.
    """

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._lag = LoopLag()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    async def open(self) -> None:
        """Accept, and follow the source."""
        server = self._server
        self._thread = threading.Thread(target=self._follow, args=(server,), name="loopwright-watch", daemon=True)
        self._thread.start()
        self._lag.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _stay)
        await server.http.listen(self._sock)
        await server.open_further_doors()
        write_state(server.plan)

    async def ended(self) -> Ending:
        """Wait for a signal, or for the end of the parent process."""
        server = self._server
        parent = server.plan.parent_pid
        while not server.asked_to_end.is_set() and (parent is None or os.getppid() == parent):
            with suppress(TimeoutError):
                await asyncio.wait_for(server.asked_to_end.wait(), 1.0)
        return "asked"

    def stop_accepting(self) -> None:
        """Go on: there is nobody else to accept."""

    def unwell(self) -> str | None:
        """Return that the event loop is late, where it is."""
        late = self._lag.seconds()
        return f"The event loop is {late:.1f} s late." if late >= LATE_S else None

    async def exposition(self) -> bytes:
        """Return the metrics of this process."""
        server = self._server
        server.metrics.loop_lag(1, self._lag.seconds())
        return server.metrics.exposition()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        remove_state(self._server.plan)

    def _follow(self, server: Server) -> None:
        while not self._stop.is_set():
            try:
                if server.watch.check():
                    server.settle()
            except LoopwrightError as error:
                _log.warning("the facts could not be read; serving goes on", reason=error.message)
            self._stop.wait(server.plan.poll_s)


def _stay() -> None:
    _log.warning("a server of one process cannot be renewed without a gap; set [serving] workers to 2 or more")

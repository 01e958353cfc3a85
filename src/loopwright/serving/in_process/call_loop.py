"""An event loop on a thread of its own, where the endpoints of this process take calls from any other thread.

An endpoint belongs to one event loop. Threads and other event loops hand their calls over; those that arrive together
are computed together, as in a server.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import uvloop

from loopwright.core.errors import NotReadyError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.serving.calls.call_entry import CallEntry
    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.calls.inference_call import InferenceCall, Served

_DRAIN_CHECK_S = 0.005


class HandedOver:
    """A call that was handed over; `cancel` says from any thread that its answer is not wanted any more."""

    __slots__ = ("_loop", "entry", "is_cancelled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.entry: CallEntry | None = None
        self.is_cancelled = False

    def cancel(self) -> None:
        """Give the answer up; what is being computed already is finished, and logged."""
        self.is_cancelled = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancelled)

    def _cancelled(self) -> None:
        if self.entry is not None:
            self.entry.cancel()


class CallLoop:
    """Take calls from any thread.

    Raises:
        NotReadyError: From `submit`, after `close`, and in a child that was forked afterwards.
    """

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._left: set[Endpoint] = set()
        self._thread = threading.Thread(target=self._run, name="loopwright-calls", daemon=True)
        self._thread.start()

    def submit(
        self, endpoint: Endpoint, call: InferenceCall, then: Callable[[Served | RequestError], None]
    ) -> HandedOver:
        """Hand a call over; ``then`` gets the answer or the error, on the thread of the loop.

        Raises:
            NotReadyError: When the door is closed, or was opened before a fork.
        """
        if self._process != os.getpid():
            raise NotReadyError(
                "The workspace was opened in another process, whose threads are not in this one.",
                hint="Open it after the fork: in the worker process, where the application starts.",
            )
        handed = HandedOver(self._loop)

        def begin() -> None:
            if handed.is_cancelled:
                return
            try:
                handed.entry = endpoint.begin(call, then)
            except RequestError as error:
                then(error)

        with self._lock:  # nothing comes after the end of the loop, where nobody would hear of it
            if self._closed or endpoint in self._left:
                raise NotReadyError(f"The predictor of '{endpoint.model}' is closed.", hint="Ask for it again.")
            self._loop.call_soon_threadsafe(begin)
        return handed

    def drain(self, endpoint: Endpoint, *, timeout_s: float) -> None:
        """Take no more calls of an endpoint, and finish those that have begun within ``timeout_s`` seconds."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._left.add(endpoint)
            drained = asyncio.run_coroutine_threadsafe(_drained(endpoint, timeout_s), self._loop)
        drained.result()

    def close(self) -> None:
        """End the thread; every endpoint was drained before."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._process == os.getpid():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


async def _drained(endpoint: Endpoint, timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout_s
    while endpoint.in_flight and loop.time() < ends:  # noqa: ASYNC110 - at the end only
        await asyncio.sleep(_DRAIN_CHECK_S)

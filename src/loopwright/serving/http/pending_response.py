"""A response that is on its way: what a door returns for a call that is computed with others of its turn.

It costs one object and no task. Whoever needs the response says whom to tell; a coroutine awaits it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from loopwright.core.errors import RequestError
    from loopwright.serving.calls.call_entry import CallEntry
    from loopwright.serving.calls.inference_call import Served
    from loopwright.serving.http.message import HttpRequest, HttpResponse


class Failing(Protocol):
    """What turns a failure into a response."""

    def failed(self, request: HttpRequest, given: str | None, error: Exception) -> HttpResponse:
        """Answer a request that failed; does not raise."""


class PendingResponse:
    """The response to one call.

    Args:
        entry: The call.
        write: Writes its answer out.

    Attributes:
        response: The response, once it is there.
        listener: Called when the response is there.
        head_only: For the connection: whether the request was HEAD.
    """

    __slots__ = ("_door", "_entry", "_given", "_request", "_write", "head_only", "listener", "response")

    _door: Failing
    _request: HttpRequest
    _given: str | None

    def __init__(self, entry: CallEntry, write: Callable[[Served], HttpResponse]) -> None:
        self._entry = entry
        self._write = write
        self.listener: Callable[[], None] | None = None
        self.response: HttpResponse | None = None
        self.head_only = False
        entry.then = self._settle

    def belongs_to(self, door: Failing, request: HttpRequest, given: str | None) -> None:
        """Say who answers when it fails."""
        self._door, self._request, self._given = door, request, given

    def cancel(self) -> None:
        """Say that nobody wants the response any more."""
        self.listener = None
        self._entry.cancel()

    def _settle(self, outcome: Served | RequestError) -> None:
        if isinstance(outcome, Exception):
            self.response = self._door.failed(self._request, self._given, outcome)
        else:
            try:
                self.response = self._write(outcome)
            except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets JSON, and the others theirs
                self.response = self._door.failed(self._request, self._given, error)
        if self.listener is not None:
            self.listener()

    def __await__(self) -> Generator[object, None, HttpResponse]:
        if self.response is None:
            ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.listener = lambda: None if ready.done() else ready.set_result(None)
            try:
                yield from ready
            except asyncio.CancelledError:
                self.cancel()
                raise
        assert self.response is not None  # noqa: S101 - it was waited for
        return self.response

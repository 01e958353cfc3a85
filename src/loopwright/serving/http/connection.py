"""One client's connection: requests to the door, responses out in the order of the requests.

HTTP/1.1 straight on the event loop's transport. A request that the door can answer at once is answered inside the call
that read it: no task, no queue, one ``write``. Calls of models are answered with the others of their turn of the event
loop: several of one connection may be on their way, and their responses leave in the order of the requests. Others run
as one task per connection, and what the client pipelines meanwhile waits in order. Reading stops while too much waits,
and answering stops while the client does not fetch its answers; the time it may be idle is bounded by
`loopwright.serving.http.server`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from loopwright.core.errors import OverloadedError
from loopwright.serving.http.message import MAX_BODY_BYTES, HttpRequest, HttpResponse
from loopwright.serving.http.pending_response import PendingResponse
from loopwright.serving.http.reader import RequestReader

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from loopwright.core.errors import RequestError

_MOST_WAITING = 16  # pipelined requests that wait before reading stops
_MOST_IN_A_ROW = 16  # answers to one client before the others have their turn
_LINGER_BYTES = 4 * MAX_BODY_BYTES  # read and dropped after a refusal, so that a client may finish sending and see it
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Answer: TypeAlias = "HttpResponse | PendingResponse | Coroutine[object, None, HttpResponse]"


class Door(Protocol):
    """What answers requests."""

    def respond(self, request: HttpRequest) -> Answer:
        """Answer at once, or return what to await for the answer; neither raises."""

    def refuse(self, request: HttpRequest, error: RequestError) -> HttpResponse:
        """Answer, and count, a request that could not be read."""


class Listening(Protocol):
    """What a connection asks of the server that accepted it: its door, its clock, and whether it is ending."""

    door: Door
    now: int
    closing: bool

    def joined(self, connection: HttpConnection) -> bool:
        """Add a connection; False when there is no room for it."""

    def left(self, connection: HttpConnection) -> None:
        """Forget a connection."""


class _Answered:
    """A response that is there, and waits for those of earlier requests."""

    __slots__ = ("head_only", "response")

    def __init__(self, response: HttpResponse, head_only: bool) -> None:  # noqa: FBT001 - made in one place
        self.response = response
        self.head_only = head_only


class HttpConnection(asyncio.Protocol):
    """Answer the requests of one connection.

    Attributes:
        seen: The server's clock when the client last completed something, or was last answered.
    """

    __slots__ = (
        *("_blocked", "_door", "_eof", "_in_row", "_lingering", "_loop", "_owed", "_owes_continue", "_reader"),
        *("_server", "_task", "_transport", "_waiting", "seen"),
    )

    def __init__(self, server: Listening) -> None:
        self._server = server
        self._door = server.door
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(self)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: deque[HttpRequest | HttpResponse] = deque()
        self._owed: deque[PendingResponse | _Answered] = deque()  # on their way, in the order of the requests
        self._in_row = 0
        self._blocked = False  # the client does not fetch its answers
        self._eof = False
        self._lingering = -1  # bytes dropped since a refusal, or -1
        self._owes_continue = False
        self.seen = server.now

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is being answered."""
        return self._task is None and not self._waiting and not self._owed

    @property
    def is_lingering(self) -> bool:
        """Return whether the connection is only open so that the client can fetch its refusal."""
        return self._lingering >= 0

    def finish(self) -> None:
        """Close as soon as what has begun is answered; the server is ending."""
        if self.is_idle and (self._reader.ended or not self._reader.begun):
            self.close()

    def close(self) -> None:
        """Close once what was written is sent; at once when the client does not take it."""
        if self._blocked:
            self.abort()
        elif self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or turn the client away."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.joined(self):
            self._reader.ended = True
            full = OverloadedError("Too many connections are open.", retry_after_s=1.0)
            refusal = self._door.refuse(HttpRequest("", "", {}, b""), full)
            self._transport.write(refusal.encode(last=True))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the transport's signature
        """Forget the client; a task is finished all the same, and a call that is not computed yet is given up."""
        self._reader.ended = True
        self._waiting.clear()
        owed, self._owed = self._owed, deque()
        for pending in owed:
            if isinstance(pending, PendingResponse):
                pending.cancel()
        self._transport = None
        self._server.left(self)

    def data_received(self, data: bytes) -> None:
        """Read; whole requests are answered from within."""
        reader = self._reader
        if reader.ended:
            self._drop(len(data))
            return
        self._in_row = 0
        reader.feed(data)
        if reader.ended and self.is_idle and self._lingering < 0:
            self.close()

    def eof_received(self) -> bool:
        """Keep the connection for the answers that are still owed."""
        self._reader.ended = self._eof = True
        return not self.is_idle

    def pause_writing(self) -> None:
        """Stop answering, and reading, until the client has fetched what there is."""
        self._blocked = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._blocked = False
        self._next()

    # What the reader calls.

    def received(self, request: HttpRequest) -> None:
        """Answer the request, or let it wait for its turn."""
        self._owes_continue = False
        waiting = self._waiting
        is_free = not self._owed and self._task is None and not self._blocked  # as nearly always
        if not waiting and (is_free or not self._is_busy()) and self._in_row < _MOST_IN_A_ROW:
            self._in_row += 1
            self._answer(request)
            return
        waiting.append(request)
        if len(waiting) >= _MOST_WAITING:
            self._pause_reading()
        if len(waiting) == 1 and not self._is_busy():
            self._loop.call_soon(self._next)

    def refused(self, request: HttpRequest, error: RequestError) -> None:
        """Let a refusal be the last answer."""
        self._lingering = 0
        self._waiting.append(self._door.refuse(request, error))
        if not self._is_busy():
            self._next()

    def body_awaited(self) -> None:
        """Send ``100 Continue``, after the answers that come before it."""
        self._owes_continue = True
        self._continue()

    def progressed(self) -> None:
        """Note that the client is not idle."""
        self.seen = self._server.now

    # Answers.

    def _is_busy(self) -> bool:
        """Return whether nothing more may begin now."""
        return self._task is not None or self._blocked or len(self._owed) >= _MOST_IN_A_ROW

    def _next(self) -> None:
        """Answer what waits, then read on."""
        self._in_row = 0
        while self._waiting and not self._is_busy():
            if self._in_row >= _MOST_IN_A_ROW:
                self._loop.call_soon(self._next)
                return
            self._in_row += 1
            self._answer(self._waiting.popleft())
        transport = self._transport
        if transport is None or transport.is_closing() or self._blocked:
            return
        if len(self._waiting) < _MOST_WAITING:
            transport.resume_reading()
        self._continue()

    def _answer(self, item: HttpRequest | HttpResponse) -> None:
        if isinstance(item, HttpResponse):
            self._send(item)
            return
        answer = self._door.respond(item)
        head_only = item.method == "HEAD"
        if isinstance(answer, PendingResponse):
            answer.head_only = head_only
            self._owed.append(answer)
            answer.listener = self._ready
        elif isinstance(answer, HttpResponse):
            self._send(answer, head_only=head_only)
        else:
            self._task = self._loop.create_task(self._await(answer, head_only=head_only))

    async def _await(self, answer: Coroutine[object, None, HttpResponse], *, head_only: bool) -> None:
        try:
            response = await answer
        finally:
            self._task = None
        self._send(response, head_only=head_only)
        self._next()

    def _send(self, response: HttpResponse, *, head_only: bool = False) -> None:
        """Write a response, after those that are owed to earlier requests."""
        if self._owed:
            self._owed.append(_Answered(response, head_only))
        else:
            self._write(response, head_only=head_only)

    def _ready(self) -> None:
        """Write the responses whose turn has come, then go on."""
        owed = self._owed
        while owed and (response := owed[0].response) is not None:
            self._write(response, head_only=owed.popleft().head_only)
        if self._waiting or self._owes_continue:
            self._next()

    def _write(self, response: HttpResponse, *, head_only: bool = False) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        reader = self._reader
        last = not self._waiting and not self._owed and (reader.ended or (self._server.closing and not reader.begun))
        transport.write(response.encode(last=last, head_only=head_only))
        self.seen = self._server.now
        if not last:
            return
        reader.ended = True
        if self._lingering < 0 or self._eof or not transport.can_write_eof():
            transport.close()
        else:
            transport.write_eof()  # the client may still be sending: closing now could cost it the refusal
            transport.resume_reading()

    def _continue(self) -> None:
        if self._owes_continue and self.is_idle and self._transport is not None:
            self._owes_continue = False
            self._transport.write(_CONTINUE)

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _drop(self, size: int) -> None:
        """Drop what comes after the last request."""
        if self._lingering < 0:
            return
        self._lingering += size
        if self._lingering > _LINGER_BYTES:
            self.abort()

"""One call on a connection: what has come, what is owed, and how it ends.

gRPC puts each message behind five bytes (whether it is packed, and its length) and the status into the trailers.

Source: grpc/grpc, ``doc/PROTOCOL-HTTP2.md``.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from typing import TYPE_CHECKING, Protocol

from loopwright.core.errors import InvalidRequestError, NotReadyError, RequestError, TooLargeError
from loopwright.serving.grpc.status import Refusal
from loopwright.serving.http.message import MAX_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loopwright.serving.grpc.call import CallHead

MAX_MESSAGE_BYTES = MAX_BODY_BYTES
_PREFIX_BYTES = 5
_MUCH_OWED = 1 << 20
_WINDOW_BITS = {"gzip": 31, "deflate": 15}


class Sending(Protocol):
    """What a call asks of its connection."""

    def answer(self, stream: Stream, message: bytes) -> None:
        """Send the only message and the end."""

    def send(self, stream: Stream, message: bytes) -> None:
        """Send one of several messages."""

    def end(self, stream: Stream, refusal: Refusal | None) -> None:
        """Send the end."""

    def taken(self, stream: Stream, size: int) -> None:
        """Let the caller send so many bytes more."""


class Answering(Protocol):
    """What a call asks of what answers it; `loopwright.serving.grpc.method.Method` is one."""

    @property
    def takes_stream(self) -> bool:
        """Return whether messages are answered one by one."""

    @property
    def streamed(self) -> Callable[[Stream], Awaitable[None]] | None:
        """Return what reads and sends messages until it returns."""

    def begin(self, stream: Stream, message: bytes) -> None:
        """Answer a call of one message."""


class Stream:
    """A call.

    Attributes:
        number: Its stream on the connection.
        head: Its metadata.
        method: What answers it.
        body: What has come of the message that is not whole yet.
        is_said: Whether the caller has said all.
        is_over: Whether no more may be sent.
        has_begun: Whether the response's first header block is sent.
        may_send: The flow-control window towards the caller, bytes.
        may_receive: The one from it.
        owed: What waits for a window; the end's block behind it, where it is known.
        trailers: That block, or None.
        on_cancel: Called when the caller gives up.
        task: What answers a stream of messages.
    """

    __slots__ = (
        *("_arrived", "_connection", "_drained", "_is_stopping", "_waiter", "body", "has_begun", "head", "is_over"),
        *("is_said", "may_receive", "may_send", "method", "number", "on_cancel", "owed", "owed_bytes", "task"),
        "trailers",
    )

    def __init__(
        self, connection: Sending, number: int, head: CallHead, method: Answering, *, may_send: int, may_receive: int
    ) -> None:
        self._connection = connection
        self.number = number
        self.head = head
        self.method = method
        self.body = bytearray()
        self.is_said = self.is_over = self.has_begun = False
        self.may_send = may_send
        self.may_receive = may_receive
        self.owed: deque[memoryview] = deque()
        self.owed_bytes = 0
        self.trailers: bytes | None = None
        self.on_cancel: Callable[[], None] | None = None
        self.task: asyncio.Task[None] | None = None
        self._arrived: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._is_stopping = False

    # What the connection tells.

    def received(self, payload: bytes, *, is_last: bool) -> None:
        """Take what has come; whole messages are answered from within.

        Raises:
            RequestError: When it is no message, or too large a one.
        """
        if is_last:
            self.is_said = True
        if not self.body and len(payload) >= _PREFIX_BYTES and len(payload) == _PREFIX_BYTES + _length(payload):
            self._message(payload[0], payload[_PREFIX_BYTES:])  # nearly always: one message in one frame
        else:
            self._gather(payload)
        if is_last:
            if self.body:
                raise InvalidRequestError("The message is cut off.")
            if self.method.takes_stream:
                self._wake()
            elif not self._arrived:
                raise InvalidRequestError("The call has no message.")
            else:
                self.method.begin(self, self._arrived[0])

    def _gather(self, payload: bytes) -> None:
        body = self.body
        body += payload
        place = 0
        while len(body) - place >= _PREFIX_BYTES:
            length = int.from_bytes(body[place + 1 : place + _PREFIX_BYTES])
            if length > MAX_MESSAGE_BYTES:
                raise TooLargeError(f"A message has {length} bytes; at most {MAX_MESSAGE_BYTES} are accepted.")
            end = place + _PREFIX_BYTES + length
            if len(body) < end:
                break
            self._message(body[place], bytes(body[place + _PREFIX_BYTES : end]))
            place = end
        if place:
            del body[:place]

    def _message(self, packed: int, content: bytes) -> None:
        if packed:
            content = self._unpacked(content)
        if not self.method.takes_stream and self._arrived:
            raise InvalidRequestError("The call takes one message.")
        self._arrived.append(content)
        if self.method.takes_stream:
            self._wake()

    def _unpacked(self, content: bytes) -> bytes:
        bits = _WINDOW_BITS.get(self.head.encoding)
        if bits is None:
            raise InvalidRequestError(
                f"A message is packed as {self.head.encoding[:50]!r}.", hint="Use gzip, deflate or identity."
            )
        unpacking = zlib.decompressobj(bits)
        try:
            found = unpacking.decompress(content, MAX_MESSAGE_BYTES + 1)
        except zlib.error:
            raise InvalidRequestError(f"A message is no {self.head.encoding}.") from None
        if len(found) > MAX_MESSAGE_BYTES:
            raise TooLargeError(f"A message unpacks to more than {MAX_MESSAGE_BYTES} bytes.")
        if not unpacking.eof:
            raise InvalidRequestError("A packed message is cut off.")
        return found

    def cancelled(self) -> None:
        """Hear that the caller gave up, or is gone."""
        self.is_over = True
        on_cancel, self.on_cancel = self.on_cancel, None
        if on_cancel is not None:
            on_cancel()
        if self.task is not None:
            self.task.cancel()
        self.drained()

    def drained(self) -> None:
        """Hear that nothing is owed any more."""
        waiter, self._drained = self._drained, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def stop(self) -> None:
        """End the wait for the caller's next message: the server is ending."""
        self._is_stopping = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # What the method asks.

    async def next_message(self) -> bytes | None:
        """Return the caller's next message; None when it has said all.

        Raises:
            NotReadyError: When the server is ending.
        """
        while not self._arrived:
            if self.is_said:
                return None
            if self._is_stopping:
                raise NotReadyError("The server is draining.", hint="Open the stream again.")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        message = self._arrived.popleft()
        self._connection.taken(self, len(message) + _PREFIX_BYTES)
        return message

    def answer(self, message: bytes) -> None:
        """Send the only message and the end of the call."""
        if not self.is_over:
            self._connection.answer(self, message)

    async def send(self, message: bytes) -> None:
        """Send one of several messages; waits while the caller does not fetch them."""
        if self.is_over:
            return
        self._connection.send(self, message)
        if self.owed_bytes > _MUCH_OWED:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def refuse(self, refusal: Refusal | RequestError) -> None:
        """End the call with a status."""
        if not self.is_over:
            told = Refusal.of(refusal) if isinstance(refusal, RequestError) else refusal
            self._connection.end(self, told)

    def end(self) -> None:
        """End the call: all is sent."""
        if not self.is_over:
            self._connection.end(self, None)


def _length(payload: bytes) -> int:
    return int.from_bytes(payload[1:_PREFIX_BYTES])

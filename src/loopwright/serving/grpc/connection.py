"""One HTTP/2 connection that carries gRPC: calls begun, answers out.

It lives on the server's event loop like the HTTP connections: calls that arrive together are begun in one turn and
computed together, and what is answered in one turn leaves in one write. Only what gRPC needs of HTTP/2 is there.

Source: RFC 9113, sections 5 and 6.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

import structlog

import loopwright.serving.grpc.frames as h2
from loopwright.core.errors import OverloadedError, RequestError
from loopwright.serving.grpc.frame_reader import FrameReader
from loopwright.serving.grpc.frames import ConnectionFault
from loopwright.serving.grpc.hpack import MAX_FIELDS_BYTES
from loopwright.serving.grpc.outbox import Outbox
from loopwright.serving.grpc.status import Refusal
from loopwright.serving.grpc.stream import MAX_MESSAGE_BYTES, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.serving.grpc.call import CallHead
    from loopwright.serving.grpc.method import Method

_log = structlog.get_logger(__name__)
MAX_STREAMS = 1024
_STREAM_WINDOW = MAX_MESSAGE_BYTES + (64 << 10)  # a message and its prefix
_CONNECTION_WINDOW = 64 << 20
_MOST_BUFFERED = 64 << 20  # bytes of messages that are not whole yet
_MOST_CONTROLS = 1_000  # pings and settings that one caller may have answered in a second
_MOST_RESETS = 5_000  # calls that one caller may give up in a second
_DRAIN_PING = b"draining"
_GREETING = h2.settings(
    {
        h2.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
        h2.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
        h2.MAX_HEADER_LIST_SIZE: MAX_FIELDS_BYTES,
    }
) + h2.window_update(0, _CONNECTION_WINDOW - h2.FIRST_WINDOW)


class Listening(Protocol):
    """What a connection asks of the server that accepted it."""

    @property
    def now(self) -> int:
        """Return the server's clock, in ticks of a second."""

    @property
    def methods(self) -> Mapping[str, Method]:
        """Return what answers, by path."""

    def joined(self, connection: GrpcConnection) -> bool:
        """Add a connection; False when there is no room for it."""

    def left(self, connection: GrpcConnection) -> None:
        """Forget a connection."""


class GrpcConnection(asyncio.Protocol):
    """Serve the calls of one caller.

    Attributes:
        streams: The calls that are not over, by their number.
    """

    def __init__(self, server: Listening) -> None:
        self.streams: dict[int, Stream] = {}
        self._server = server
        self._methods = server.methods
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(self)
        self._outbox = Outbox(self._over)
        self._has_greeted = False
        self._last = 0  # the highest stream that the caller has opened
        self._window = _CONNECTION_WINDOW
        self._buffered = 0
        self._seen = self._second = server.now
        self._controls = self._resets = 0
        self._is_pinged = False
        self._is_finishing = self._is_final = False

    # What the server asks.

    def finish(self) -> None:
        """Take no new calls, and close when the last one is answered.

        The caller is first told to open no more calls, and after one round trip which ones were still accepted: what
        was on its way meanwhile is answered, and not lost (RFC 9113, section 6.8).
        """
        if self._is_finishing:
            return
        self._is_finishing = True
        if not self._has_greeted:
            self._close()
            return
        self._outbox.put(h2.goaway(h2.MAX_WINDOW, h2.NO_ERROR) + h2.frame(h2.PING, 0, 0, _DRAIN_PING))
        for stream in list(self.streams.values()):
            stream.stop()

    def check(self, patience: int, answer_within: int) -> None:
        """End the connection of a caller that vanished or fetches nothing.

        Args:
            patience: Ticks of silence after which the caller is asked whether it is there.
            answer_within: Ticks that it has for an answer.
        """
        silent = self._server.now - self._seen
        if silent > patience + answer_within or (silent > answer_within and self._outbox.is_stuck):
            self.abort()
        elif silent > answer_within and not self._has_greeted:
            self._close()
        elif silent > patience and not self._is_pinged:
            self._is_pinged = True
            self._outbox.put(h2.frame(h2.PING, 0, 0, bytes(8)))

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        self._outbox.flush()
        if self._transport is not None:
            self._transport.close()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or turn the caller away."""
        self._transport = cast("asyncio.Transport", transport)
        self._outbox.connect(self._transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self._transport.close()
        elif not self._server.joined(self):
            self._outbox.put(_GREETING + h2.goaway(0, h2.ENHANCE_YOUR_CALM, "too many connections"))
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the transport's signature
        """Give up the calls that are not answered."""
        self._transport = None
        self._outbox.disconnect()
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.cancelled()
        self._server.left(self)

    def pause_writing(self) -> None:
        """Stop reading until the caller has fetched what there is."""
        self._outbox.is_stuck = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._outbox.is_stuck = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Read; calls are begun from within."""
        self._seen = self._server.now
        self._is_pinged = False
        try:
            self._reader.feed(data)
        except ConnectionFault as fault:
            self._fail(fault)
        except Exception as error:  # noqa: BLE001 - a mistake of ours ends this connection, not the server
            _log.error("a gRPC connection failed", exc_info=error)
            self._fail(ConnectionFault(h2.INTERNAL_ERROR, "see the server's log"))
        if self._reader.is_other_protocol:
            self._close()  # there is no way to answer it

    def _fail(self, fault: ConnectionFault) -> None:
        self._outbox.put(h2.goaway(self._last, fault.code, fault.reason))
        self._close()

    # What the reader calls.

    def greeted(self) -> None:
        """Greet back."""
        self._has_greeted = True
        self._outbox.put(_GREETING)

    def data(self, number: int, payload: bytes, *, size: int, is_last: bool) -> None:
        """Take a part of a call's message."""
        self._window -= size
        if self._window < 0:
            raise ConnectionFault(h2.FLOW_CONTROL_ERROR, "more was sent than the connection's window lets")
        if self._window < _CONNECTION_WINDOW // 2:
            self._outbox.put(h2.window_update(0, _CONNECTION_WINDOW - self._window))
            self._window = _CONNECTION_WINDOW
        stream = self.streams.get(number)
        if stream is None or stream.is_said:
            if number == 0 or number > self._last:
                raise ConnectionFault(h2.PROTOCOL_ERROR, f"data of stream {number}, which is not open")
            return  # it is over: what was on its way is dropped
        stream.may_receive -= size
        if stream.may_receive < 0:
            raise ConnectionFault(h2.FLOW_CONTROL_ERROR, f"more was sent than the window of stream {number} lets")
        self._receive(stream, payload, is_last=is_last)

    def _receive(self, stream: Stream, payload: bytes, *, is_last: bool) -> None:
        before, failure = len(stream.body), None
        try:
            stream.received(payload, is_last=is_last)
        except RequestError as error:
            failure = error
        if stream.body or before:
            self._buffered += len(stream.body) - before
            if self._buffered > _MOST_BUFFERED and stream.body:
                failure = OverloadedError("Too much of this connection's messages is on its way.", retry_after_s=1.0)
        if failure is not None:
            stream.refuse(failure)

    def head(self, number: int, head: CallHead | None, *, is_last: bool) -> None:
        """Open a call, or hear that the caller has said all."""
        if number <= self._last:
            stream = self.streams.get(number)  # trailers
            if stream is not None and not stream.is_said:
                self._receive(stream, b"", is_last=True)
            return
        self._last = number
        if self._is_final or len(self.streams) >= MAX_STREAMS:
            self._outbox.put(h2.reset(number, h2.REFUSED_STREAM))  # callers try such calls elsewhere
        elif head is None:
            self._outbox.refuse(number, Refusal("RESOURCE_EXHAUSTED", "The metadata is too long.", -1), is_said=is_last)
        elif not head.path:
            self._outbox.put(h2.reset(number, h2.PROTOCOL_ERROR))
        elif not head.is_grpc:
            self._outbox.unsupported(number)
        else:
            self._open(number, head, is_last=is_last)

    def _open(self, number: int, head: CallHead, *, is_last: bool) -> None:
        method = self._methods.get(head.path)
        if method is None:
            refusal = Refusal("UNIMPLEMENTED", f"There is no method {head.path[:200]}.")
            self._outbox.refuse(number, refusal, is_said=is_last)
            return
        window = self._outbox.first_window
        stream = Stream(self, number, head, method, may_send=window, may_receive=_STREAM_WINDOW)
        self.streams[number] = stream
        if method.streamed is not None:
            stream.task = asyncio.ensure_future(method.streamed(stream))
            if self._is_finishing:
                stream.stop()
        if is_last:
            self._receive(stream, b"", is_last=True)

    def window_update(self, number: int, increment: int) -> None:
        """Send what waited for it."""
        if number > self._last:
            raise ConnectionFault(h2.PROTOCOL_ERROR, f"stream {number} is not open")
        if number == 0:
            self._outbox.widen(increment)
        elif (stream := self.streams.get(number)) is not None:
            self._outbox.widen_stream(stream, increment)

    def reset(self, number: int) -> None:
        """Give up a call."""
        if number == 0 or number > self._last:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "a reset of no stream")
        self._count(resets=1)
        stream = self.streams.get(number)
        if stream is not None:
            self._outbox.forget(stream)
            self._over(stream)
            stream.cancelled()

    def settings(self, values: Sequence[tuple[int, int]]) -> None:
        """Adopt what the caller wants."""
        self._count(controls=1)
        self._outbox.adopt(values, self.streams.values())
        self._outbox.put(h2.frame(h2.SETTINGS, h2.ACK, 0))

    def ping(self, payload: bytes, *, is_answer: bool) -> None:
        """Answer; the answer to the ping of the drain says that the caller knows of it."""
        if not is_answer:
            self._count(controls=1)
            self._outbox.put(h2.frame(h2.PING, h2.ACK, 0, payload))
        elif payload == _DRAIN_PING and self._is_finishing and not self._is_final:
            self._is_final = True
            self._outbox.put(h2.goaway(self._last, h2.NO_ERROR))
            self._close_if_done()

    def _count(self, *, controls: int = 0, resets: int = 0) -> None:
        """Bound what a caller may have us do for nothing."""
        if self._second != self._server.now:
            self._second = self._server.now
            self._controls = self._resets = 0
        self._controls += controls
        self._resets += resets
        if self._controls > _MOST_CONTROLS or self._resets > _MOST_RESETS:
            raise ConnectionFault(h2.ENHANCE_YOUR_CALM, "too many pings, settings or calls that are given up")

    # What a call asks.

    def answer(self, stream: Stream, message: bytes) -> None:
        """Send the only message and the end."""
        self._outbox.answer(stream, message)

    def send(self, stream: Stream, message: bytes) -> None:
        """Send one of several messages."""
        self._outbox.send(stream, message)

    def end(self, stream: Stream, refusal: Refusal | None) -> None:
        """Send the end."""
        self._outbox.end(stream, refusal)

    def taken(self, stream: Stream, size: int) -> None:
        """Let the caller send so many bytes more."""
        if not stream.is_said and not stream.is_over:
            stream.may_receive += size
            self._outbox.put(h2.window_update(stream.number, size))

    def _over(self, stream: Stream) -> None:
        """Forget a call whose end is on its way."""
        stream.is_over = True
        if self.streams.pop(stream.number, None) is not None:
            self._buffered -= len(stream.body)
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._is_final and not self.streams:
            self._close()

"""What a connection sends: frames in their order, within the windows that the caller opens, one write per turn.

Source: RFC 9113, section 5.2 (flow control).
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

import loopwright.serving.grpc.frames as h2
from loopwright.serving.grpc.frames import ConnectionFault
from loopwright.serving.grpc.hpack import written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from loopwright.serving.grpc.status import Refusal
    from loopwright.serving.grpc.stream import Stream

_OK_STATUS = b"\x88"  # ":status 200", field 8 of HPACK's table
_FIRST = _OK_STATUS + written(
    ((b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity,deflate,gzip"))
)
_LAST = written(((b"grpc-status", b"0"),))
_UNSUPPORTED = written(((b":status", b"415"),))
# Of an answer that fits its windows: a header block, a message behind its prefix, a header block that ends the stream.
_FIRST_HEAD = len(_FIRST).to_bytes(3) + bytes((h2.HEADERS, h2.END_HEADERS))
_LAST_HEAD = len(_LAST).to_bytes(3) + bytes((h2.HEADERS, h2.END_HEADERS | h2.END_STREAM))
_DATA_HEAD = bytes((h2.DATA, 0))
_PREFIX = struct.Struct(">BI").pack


class Outbox:
    """Send the answers of one connection.

    Args:
        over: Called with a call whose end has been written.

    Attributes:
        first_window: What the caller lets each new call send.
        is_stuck: Whether the caller does not fetch what is sent.
    """

    def __init__(self, over: Callable[[Stream], None]) -> None:
        self.first_window = h2.FIRST_WINDOW
        self.is_stuck = False
        self._over = over
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._window = h2.FIRST_WINDOW
        self._frame_bytes = h2.FRAME_BYTES
        self._owing: dict[int, Stream] = {}  # the calls that wait for a window, the longest waiting first

    def connect(self, transport: asyncio.Transport) -> None:
        """Begin to send."""
        self._transport = transport

    def disconnect(self) -> None:
        """Send nothing more."""
        self._transport = None
        self._out.clear()
        self._owing.clear()

    def put(self, frames: bytes) -> None:
        """Send frames at the end of this turn of the event loop."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self.flush)
        self._out.append(frames)

    def flush(self) -> None:
        """Send now."""
        out, self._out = self._out, []
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    def answer(self, stream: Stream, message: bytes) -> None:
        """Send an answer of one message: all of it at once where the windows let it."""
        size = len(message) + 5
        if size > self._window or size > stream.may_send or size > self._frame_bytes or stream.owed:
            self.send(stream, message)
            self.end(stream, None)
            return
        self._window -= size
        number = stream.number.to_bytes(4)
        self.put(
            b"%b%b%b%b%b%b%b%b%b%b%b"
            % (
                *(_FIRST_HEAD, number, _FIRST),
                *(size.to_bytes(3), _DATA_HEAD, number, _PREFIX(0, size - 5), message),
                *(_LAST_HEAD, number, _LAST),
            )
        )
        self._finish(stream)

    def send(self, stream: Stream, message: bytes) -> None:
        """Send a message, as far as the windows let it."""
        self._begin(stream)
        stream.owed.append(memoryview(_PREFIX(0, len(message)) + message))
        stream.owed_bytes += len(message) + 5
        self._owing.setdefault(stream.number, stream)
        self._pump()

    def end(self, stream: Stream, refusal: Refusal | None) -> None:
        """Send the end behind all that is owed."""
        if refusal is not None:
            stream.owed.clear()  # it is of no use any more
            stream.owed_bytes = 0
        stream.trailers = _LAST if refusal is None else refusal.trailers()
        if not stream.has_begun:
            if refusal is None:
                self._begin(stream)
            else:
                stream.has_begun = True
                stream.trailers = _FIRST + stream.trailers
        self._owing.setdefault(stream.number, stream)
        self._pump()

    def refuse(self, number: int, refusal: Refusal, *, is_said: bool) -> None:
        """End a call that never began."""
        self.put(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, number, _FIRST + refusal.trailers()))
        if not is_said:
            self.put(h2.reset(number, h2.NO_ERROR))

    def unsupported(self, number: int) -> None:
        """End a request that is not gRPC's."""
        self.put(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, number, _UNSUPPORTED))
        self.put(h2.reset(number, h2.NO_ERROR))

    def forget(self, stream: Stream) -> None:
        """Send nothing more for a call."""
        self._owing.pop(stream.number, None)
        stream.owed.clear()

    def widen(self, increment: int) -> None:
        """Hear that all calls together may send more.

        Raises:
            ConnectionFault: When the window gets larger than there are numbers for it.
        """
        self._window += increment
        if self._window > h2.MAX_WINDOW:
            raise ConnectionFault(h2.FLOW_CONTROL_ERROR, "the connection's window is too large")
        self._pump()

    def widen_stream(self, stream: Stream, increment: int) -> None:
        """Hear that a call may send more.

        Raises:
            ConnectionFault: When its window gets larger than there are numbers for it.
        """
        stream.may_send += increment
        if stream.may_send > h2.MAX_WINDOW:
            raise ConnectionFault(h2.FLOW_CONTROL_ERROR, "a window is too large")
        self._pump()

    def adopt(self, values: Sequence[tuple[int, int]], streams: Iterable[Stream]) -> None:
        """Take over the caller's settings, by their numbers.

        Raises:
            ConnectionFault: When one is out of its range.
        """
        for setting, value in values:
            if setting == h2.INITIAL_WINDOW_SIZE:
                if value > h2.MAX_WINDOW:
                    raise ConnectionFault(h2.FLOW_CONTROL_ERROR, "the first window is too large")
                for stream in streams:
                    stream.may_send += value - self.first_window
                self.first_window = value
            elif setting == h2.MAX_FRAME_SIZE:
                if not h2.FRAME_BYTES <= value < 1 << 24:
                    raise ConnectionFault(h2.PROTOCOL_ERROR, "the frame size is out of its range")
                self._frame_bytes = value
        self._pump()

    def _begin(self, stream: Stream) -> None:
        if not stream.has_begun:
            stream.has_begun = True
            self.put(h2.frame(h2.HEADERS, h2.END_HEADERS, stream.number, _FIRST))

    def _pump(self) -> None:
        """Send what is owed, a frame of each call in turn, until a window is used up."""
        waiting = list(self._owing.values())
        while waiting:
            waiting = [stream for stream in waiting if self._pump_one(stream)]

    def _pump_one(self, stream: Stream) -> bool:
        """Send one frame of a call; return whether there may be more to send now."""
        if stream.owed:
            room = min(self._window, stream.may_send, self._frame_bytes)
            if room <= 0:
                return False
            first = stream.owed.popleft()
            part = first[:room]
            if len(first) > room:
                stream.owed.appendleft(first[room:])
            self._window -= len(part)
            stream.may_send -= len(part)
            stream.owed_bytes -= len(part)
            self.put(h2.frame(h2.DATA, 0, stream.number, bytes(part)))
            if stream.owed:
                return True
            stream.drained()
        if stream.trailers is None:
            self._owing.pop(stream.number, None)
        else:
            self.put(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream.number, stream.trailers))
            self._finish(stream)
        return False

    def _finish(self, stream: Stream) -> None:
        """Forget a call whose end is written; what its caller still sends is not wanted."""
        self._owing.pop(stream.number, None)
        if not stream.is_said:
            self.put(h2.reset(stream.number, h2.NO_ERROR))
        self._over(stream)

"""The frames that a caller sends: cut out of the stream of bytes, checked for their form, and passed on.

Source: RFC 9113, sections 3.4, 4 and 6.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

import loopwright.serving.grpc.frames as h2
from loopwright.serving.grpc.call import CallHead
from loopwright.serving.grpc.frames import ConnectionFault
from loopwright.serving.grpc.hpack import MAX_FIELDS_BYTES, HpackError, HpackReader, TooManyFieldsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_BLOCK = 2 * MAX_FIELDS_BYTES
_SMALLEST_PIECE = 1  # of a header block that goes on: empty pieces could go on for ever


class FrameSink(Protocol):
    """What frames are passed on to; each may raise `ConnectionFault`."""

    def greeted(self) -> None:
        """Hear that the caller speaks HTTP/2."""

    def data(self, number: int, payload: bytes, *, size: int, is_last: bool) -> None:
        """Take data; ``size`` counts its padding too."""

    def head(self, number: int, head: CallHead | None, *, is_last: bool) -> None:
        """Take metadata; None when it is too long."""

    def reset(self, number: int) -> None:
        """Hear that a call is given up."""

    def window_update(self, number: int, increment: int) -> None:
        """Hear that more may be sent."""

    def settings(self, values: Sequence[tuple[int, int]]) -> None:
        """Hear what the caller wants."""

    def ping(self, payload: bytes, *, is_answer: bool) -> None:
        """Hear a ping, or the answer to one."""


class FrameReader:
    """Read one connection.

    Args:
        sink: Gets the frames, in their order.

    Attributes:
        is_other_protocol: Whether the caller speaks another protocol; nothing is read then.
    """

    def __init__(self, sink: FrameSink) -> None:
        self.is_other_protocol = False
        self._sink = sink
        self._heads: HpackReader[CallHead] = HpackReader(CallHead)
        self._rest = b""
        self._has_greeted = False
        self._block: bytearray | None = None  # a header block that goes on in the next frame
        self._block_of = self._block_flags = 0

    def feed(self, data: bytes) -> None:
        """Take bytes, and pass on the frames that are whole.

        Raises:
            ConnectionFault: When the caller breaks the protocol.
        """
        if self._rest:
            data = self._rest + data
        place, end = 0, len(data)
        if not self._has_greeted:
            self.is_other_protocol = not h2.PREFACE.startswith(data[: len(h2.PREFACE)])
            if self.is_other_protocol or end < len(h2.PREFACE):
                self._rest = data
                return
            self._has_greeted = True
            self._sink.greeted()
            place = len(h2.PREFACE)
        while end - place >= h2.HEAD_BYTES:
            length = data[place] << 16 | data[place + 1] << 8 | data[place + 2]
            if length > h2.FRAME_BYTES:
                raise ConnectionFault(h2.FRAME_SIZE_ERROR, f"a frame has {length} bytes")
            begin = place + h2.HEAD_BYTES
            if end - begin < length:
                break
            number = int.from_bytes(data[place + 5 : begin]) & h2.MAX_WINDOW
            kind, flags = data[place + 3], data[place + 4]
            place = begin + length
            self._frame(kind, flags, number, data[begin:place])
        self._rest = data[place:]

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None:
            self._continued(kind, flags, number, payload)
        elif kind == h2.DATA:
            content = h2.unpadded(flags, payload) if flags & h2.PADDED else payload
            self._sink.data(number, content, size=len(payload), is_last=bool(flags & h2.END_STREAM))
        elif kind == h2.HEADERS:
            self._headers(flags, number, payload)
        elif kind == h2.WINDOW_UPDATE:
            _check_size(payload, 4)
            increment = int.from_bytes(payload) & h2.MAX_WINDOW
            if increment == 0:
                raise ConnectionFault(h2.PROTOCOL_ERROR, "a window update of nothing")
            self._sink.window_update(number, increment)
        elif kind == h2.RST_STREAM:
            _check_size(payload, 4)
            self._sink.reset(number)
        elif kind in (h2.SETTINGS, h2.PING):
            self._control(kind, flags, number, payload)
        elif kind in (h2.PUSH_PROMISE, h2.CONTINUATION):
            raise ConnectionFault(h2.PROTOCOL_ERROR, f"a frame of kind {kind} is out of place")
        # PRIORITY and GOAWAY ask nothing of a server, and unknown kinds are to be ignored.

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if number % 2 == 0:
            raise ConnectionFault(h2.PROTOCOL_ERROR, f"stream {number} is not a caller's")
        if flags & h2.PADDED:
            payload = h2.unpadded(flags, payload)
        if flags & h2.WITH_PRIORITY:
            payload = payload[5:]
        if flags & h2.END_HEADERS:
            self._head(flags, number, payload)
        else:
            self._block, self._block_of, self._block_flags = bytearray(payload), number, flags

    def _continued(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        block = self._block
        if block is None or kind != h2.CONTINUATION or number != self._block_of:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "a header block is not continued")
        block += payload
        if len(block) > _MOST_BLOCK or len(payload) < _SMALLEST_PIECE:
            raise ConnectionFault(h2.ENHANCE_YOUR_CALM, "a header block is too long")
        if flags & h2.END_HEADERS:
            self._block = None
            self._head(self._block_flags, number, bytes(block))

    def _head(self, flags: int, number: int, block: bytes) -> None:
        try:
            head = self._heads.read(block)
        except HpackError as error:
            raise ConnectionFault(h2.COMPRESSION_ERROR, str(error)) from None
        except TooManyFieldsError:
            head = None
        self._sink.head(number, head, is_last=bool(flags & h2.END_STREAM))

    def _control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "settings and pings belong to the connection")
        if kind == h2.PING:
            _check_size(payload, 8)
            self._sink.ping(payload, is_answer=bool(flags & h2.ACK))
        elif not flags & h2.ACK:
            if len(payload) % 6:
                raise ConnectionFault(h2.FRAME_SIZE_ERROR, "settings have 6 bytes each")
            self._sink.settings(list(struct.iter_unpack(">HI", payload)))


def _check_size(payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise ConnectionFault(h2.FRAME_SIZE_ERROR, f"a frame of {size} bytes has {len(payload)}")

"""One end of a socket pair that carries whole messages and never waits.

A frame is 4 bytes of length, least significant first, and one MessagePack message. What the socket does not take now
waits in memory; the other side is replaced when it stays silent, so that what waits is bounded by what is said in that
time.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

Heard = TypeVar("Heard")
_LENGTH = struct.Struct("<I")
_READ_BYTES = 1 << 18
_LAST_WORDS_S = 1.0


class ChannelClosedError(ConnectionError):
    """The other side is gone."""


class Channel(Generic[Heard]):
    """Send and receive messages on one end of a socket pair.

    Args:
        sock: The end; the channel owns it.
        heard: The union of the messages that may arrive.
    """

    def __init__(self, sock: socket.socket, heard: type[Heard]) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._decoder: msgspec.msgpack.Decoder[Heard] = msgspec.msgpack.Decoder(heard)
        self._encoder = msgspec.msgpack.Encoder()
        self._arrived = bytearray()
        self._unsent = bytearray()
        self._closed = False

    def fileno(self) -> int:
        """Return the file descriptor, for selectors."""
        return self._sock.fileno()

    @property
    def is_waiting(self) -> bool:
        """Return whether something waits until the socket takes more; `flush` then."""
        return bool(self._unsent)

    def send(self, message: msgspec.Struct) -> None:
        """Send a message, now or as soon as the socket takes it; nothing once the other side is gone."""
        if self._closed:
            return
        content = self._encoder.encode(message)
        self._unsent += _LENGTH.pack(len(content))
        self._unsent += content
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._unsent and not self._closed:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()  # receive() tells of it
                return
            del self._unsent[:sent]

    def receive(self) -> list[Heard]:
        """Return the messages that have arrived whole, in their order.

        Raises:
            ChannelClosedError: When the other side is gone and everything it said was returned.
        """
        ended = False
        while True:
            try:
                part = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                part = b""
            if not part:
                ended = True
                break
            self._arrived += part
        messages = self._taken()
        if ended and not messages:
            raise ChannelClosedError("the other side of the channel is gone")
        return messages

    def _taken(self) -> list[Heard]:
        messages, start = [], 0
        while len(self._arrived) - start >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._arrived, start)
            begin = start + _LENGTH.size
            if len(self._arrived) - begin < size:
                break
            messages.append(self._decoder.decode(memoryview(self._arrived)[begin : begin + size]))
            start = begin + size
        del self._arrived[:start]
        return messages

    def finish(self) -> None:
        """Send what waits, waiting a moment for the other side to take it, and close."""
        self._sock.settimeout(_LAST_WORDS_S)
        with suppress(OSError):
            self._sock.sendall(self._unsent)
        self.close()

    def close(self) -> None:
        """Close this end."""
        self._closed = True
        self._unsent.clear()
        self._sock.close()


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new channel, neither of them inherited by another program."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

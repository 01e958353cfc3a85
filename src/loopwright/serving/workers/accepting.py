"""Accepting connections in several processes from one listening socket, evenly.

All workers wait on the socket they inherited, and each accepts one connection at a time. Left to itself the fastest
would take most of them: a burst of connections ends in one process while another idles. So each worker notes how many
it has in memory that all share, and one that has more than the least loaded leaves the connection to the others for a
moment; when nobody takes it, it does.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
from typing import TYPE_CHECKING

from loopwright.serving.http.connection import HttpConnection
from loopwright.serving.tls import tls_arguments

if TYPE_CHECKING:
    from loopwright.serving.http.server import HttpServer

_LEAVE_S = 0.002
_LEAVES = 10  # after so many moments it is taken: the least loaded may be computing, or stopped
_CLOSED = -1
_INT_BYTES = 4


class Board:
    """How many connections each worker has, in memory shared by the processes forked after it was made.

    One writer per seat; readers may see a number that is one request old.
    """

    def __init__(self, seats: int) -> None:
        self._memory = mmap.mmap(-1, seats * _INT_BYTES)
        self._counts = memoryview(self._memory).cast("i")
        for seat in range(seats):
            self.clear(seat)

    def note(self, seat: int, connections: int) -> None:
        """Write how many connections a worker has."""
        self._counts[seat] = connections

    def clear(self, seat: int) -> None:
        """Say that nobody accepts on a seat."""
        self._counts[seat] = _CLOSED

    def is_empty(self) -> bool:
        """Return whether nobody accepts."""
        return all(count < 0 for count in self._counts)

    def least(self) -> int:
        """Return the fewest connections that a worker who accepts has."""
        return min((count for count in self._counts if count >= 0), default=0)


class Acceptor:
    """Hand the connections that arrive at a shared listening socket to this process's server."""

    def __init__(self, http: HttpServer, sock: socket.socket, board: Board, seat: int) -> None:
        self._http = http
        self._sock = sock
        self._board = board
        self._seat = seat
        self._left = 0
        self._again: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._accepting = False

    def start(self) -> None:
        """Begin to accept."""
        if self._accepting:
            return
        self._accepting = True
        self._http.sweep()
        self.note()
        self._watch()

    def note(self) -> None:
        """Tell the others how many connections there are here."""
        if self._accepting:
            self._board.note(self._seat, self._http.connections)

    def stop(self) -> None:
        """Accept no more, and let go of the socket; what is open stays open.

        What waits in the socket is for the others. Where this process is the last to let go, what waits is accepted
        first.
        """
        if self._sock.fileno() < 0:
            return
        if self._accepting:
            self._accepting = False
            self._board.clear(self._seat)
            if self._again is not None:
                self._again.cancel()
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            if self._board.is_empty():
                while self._accept():
                    pass
        self._sock.close()

    def _watch(self) -> None:
        self._again = None
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._readable)

    def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        mine = self._http.connections + len(self._tasks)
        self._board.note(self._seat, mine)
        if mine > self._board.least() and self._left < _LEAVES:
            self._left += 1
            loop.remove_reader(self._sock.fileno())
            self._again = loop.call_later(_LEAVE_S, self._watch)
            return
        self._left = 0
        if self._accept():
            self._board.note(self._seat, mine + 1)

    def _accept(self) -> bool:
        """Take one connection; False when there is none: another worker took it, or the client has gone."""
        try:
            connection, _ = self._sock.accept()
        except OSError:
            return False
        loop = asyncio.get_running_loop()
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        greeted = loop.connect_accepted_socket(
            lambda: HttpConnection(self._http), connection, **tls_arguments(self._http.tls)
        )
        task = loop.create_task(greeted)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return True

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a client that went before it was greeted is no news

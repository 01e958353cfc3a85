"""One of several serving processes: it answers, and is told by its supervisor what to bring into force and when to end.

The event loop itself gives the signs of life, so that a loop that hangs is silence. Versions are loaded on a thread;
what was loaded is put in force on the loop, at the supervisor's word. The worker that leads reads the source for all,
on another thread.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from loopwright.core.errors import LoopwrightError
from loopwright.serving.models.messages import (
    Abort,
    Accept,
    Beat,
    Collect,
    Collected,
    Commit,
    Committed,
    Ending,
    FromSupervisor,
    Hello,
    Lead,
    Merged,
    Prepare,
    Prepared,
    Pulse,
    Refuse,
    Retire,
    Scrape,
    Wanted,
)
from loopwright.serving.models.swap import prepare_turn, wanted_of
from loopwright.serving.server.loop_lag import LATE_S, LoopLag
from loopwright.serving.workers.accepting import Acceptor
from loopwright.serving.workers.channel import Channel, ChannelClosedError
from loopwright.serving.workers.merging import exposition, merged, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import msgspec

    from loopwright.serving import membership
    from loopwright.serving.server.server import Server
    from loopwright.serving.workers.seat import Seat

_log = structlog.get_logger(__name__)
BEAT_EVERY_S = 0.25
_SNAPSHOT_EVERY = 2  # beats
_SUPERVISOR_SILENT_S = 3.0
_SCRAPE_S = 1.0


class Worker:
    """The membership of a serving process in a group; see `loopwright.serving.membership.Membership`."""

    def __init__(self, server: Server, seat: Seat) -> None:
        self._server = server
        self._seat = seat
        self._channel: Channel[FromSupervisor] = Channel(seat.talk, FromSupervisor)  # type: ignore[arg-type]
        self._lag = LoopLag()
        self._loader = ThreadPoolExecutor(1, "loopwright-load")
        self._teller = ThreadPoolExecutor(1, "loopwright-tell")
        self._stop = threading.Event()
        self._leading: threading.Thread | None = None
        self._why: membership.Ending = "asked"
        self._pulse = Pulse(None, {})
        self._pulse_at = 0.0
        self._beats = 0
        self._scrapes: dict[int, asyncio.Future[list[bytes]]] = {}
        self._scrape = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def open(self) -> None:
        """Say that this process can be asked; it accepts connections when it is told to."""
        self._loop = asyncio.get_running_loop()
        self._pulse_at = self._loop.time()
        self._acceptor = Acceptor(self._server.http, self._seat.listening, self._seat.board, self._seat.number)
        self._loop.add_reader(self._channel.fileno(), self._readable)
        self._lag.start()
        self._send(Hello())
        self._beat()

    async def ended(self) -> membership.Ending:
        """Wait for a signal, for a successor, or for the end of the supervisor.

        Raises:
            SettingsError: When a further door could not be opened.
        """
        await self._server.asked_to_end.wait()
        if self._failure is not None:
            raise self._failure
        self._send(Ending())
        return self._why

    def stop_accepting(self) -> None:
        """Leave new connections to the others."""
        self._acceptor.stop()

    def unwell(self) -> str | None:
        """Return what is wrong here, or with the others, or None."""
        late = self._lag.seconds()
        if late >= LATE_S:
            return f"The event loop is {late:.1f} s late."
        if self._loop.time() - self._pulse_at > _SUPERVISOR_SILENT_S:
            return "The supervisor is silent."
        return self._pulse.unwell

    async def exposition(self) -> bytes:
        """Return the metrics of all processes.

        Raises:
            TimeoutError: When the supervisor does not answer: numbers of one process alone would go back.
        """
        self._scrape += 1
        number, own = self._scrape, self._snapshot()
        answer = self._scrapes[number] = self._loop.create_future()
        self._send(Scrape(number, own))
        try:
            others = await asyncio.wait_for(answer, _SCRAPE_S)
        finally:
            del self._scrapes[number]
        return exposition(merged([own, *others]))

    def close(self) -> None:
        """End the threads; what was counted to the very end are the last words."""
        self._stop.set()
        if self._leading is not None:
            self._leading.join(timeout=10)
        self._loader.shutdown(wait=False, cancel_futures=True)
        self._teller.shutdown(wait=True)
        self._server.read_gauges()
        self._channel.send(Beat(0.0, ready=False, snapshot=snapshot(self._server.metrics.registry)))
        self._channel.finish()

    # Talking.

    def _send(self, message: msgspec.Struct) -> None:
        self._channel.send(message)
        if self._channel.is_waiting:
            self._loop.add_writer(self._channel.fileno(), self._writable)

    def _writable(self) -> None:
        self._channel.flush()
        if not self._channel.is_waiting:
            self._loop.remove_writer(self._channel.fileno())

    def _readable(self) -> None:
        try:
            messages = self._channel.receive()
        except ChannelClosedError:
            self._loop.remove_reader(self._channel.fileno())
            self._end("orphaned")
            return
        for message in messages:
            self._hear(message)

    def _hear(self, message: FromSupervisor) -> None:
        match message:
            case Prepare():
                self._loader.submit(self._prepare, message)
            case Commit(turn=turn):
                self._send(Committed(turn, self._server.models.commit(turn)))
                self._loader.submit(self._server.settle)
                self._send(self._sign())
            case Abort(turn=turn):
                self._loader.submit(self._server.models.abort, turn)
            case Pulse():
                self._pulse, self._pulse_at = message, self._loop.time()
                self._server.problems = message.problems
            case Accept():
                self._acceptor.start()
                self._run(self._server.open_further_doors())
            case Collect(number=number):
                self._send(Collected(number, self._snapshot()))
            case Merged(number=number, snapshots=snapshots):
                waiting = self._scrapes.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(snapshots)
            case Lead():
                self._leading = threading.Thread(target=self._follow, name="loopwright-watch", daemon=True)
                self._leading.start()
            case Refuse():
                self._teller.submit(self._refuse, message)
            case Retire():
                self._end("retired")

    def _run(self, work: Coroutine[object, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._failure = None if task.cancelled() else task.exception()
        if self._failure is not None:
            self._server.asked_to_end.set()

    def _end(self, why: membership.Ending) -> None:
        if not self._server.asked_to_end.is_set():
            self._why = why
            self._server.asked_to_end.set()

    # Signs of life.

    def _sign(self, content: bytes = b"") -> Beat:
        return Beat(self._lag.seconds(), self._server.not_ready_because() is None, content)

    def _beat(self) -> None:
        self._beats += 1
        self._acceptor.note()
        self._send(self._sign(self._snapshot() if self._beats % _SNAPSHOT_EVERY == 0 else b""))
        self._loop.call_later(BEAT_EVERY_S, self._beat)

    def _snapshot(self) -> bytes:
        self._server.read_gauges()
        self._server.metrics.loop_lag(self._seat.number + 1, self._lag.seconds())
        return snapshot(self._server.metrics.registry)

    # On threads.

    def _soon(self, call: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody waits for it
            self._loop.call_soon_threadsafe(call, *arguments)

    def _prepare(self, order: Prepare) -> None:
        refused, reason = prepare_turn(self._server.models, order)
        self._soon(self._send, Prepared(order.turn, refused, reason))

    def _refuse(self, order: Refuse) -> None:
        try:
            self._server.source.refuse(order.model, order.version, order.reason)
        except LoopwrightError as error:
            _log.warning("a refusal could not be recorded", version=order.version, reason=error.message)

    def _follow(self) -> None:
        source, counter = self._server.source, None
        while not self._stop.is_set():
            try:
                now = source.change_counter()
                if now != counter:
                    self._soon(self._send, Wanted(wanted_of(source, self._server.endpoints)))
                    counter = now
            except LoopwrightError as error:
                _log.warning("the facts could not be read; serving goes on", reason=error.message)
            self._stop.wait(self._server.plan.poll_s)

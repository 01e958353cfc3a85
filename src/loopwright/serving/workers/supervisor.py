"""The supervisor: keeps the workers of a server running, and brings the same versions into force in all of them.

It binds the socket that all workers accept from, so that the connections waiting there survive any of them. A worker
that dies or is silent is replaced; one that dies again and again is replaced ever more slowly. When the supervisor
itself dies, its workers see the channel end, close the socket at once and finish what is in flight.

SIGTERM and SIGINT drain all workers. SIGHUP replaces them one by one: a new one is ready before an old one drains.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from loopwright.core.errors import SettingsError
from loopwright.serving.models.messages import (
    Accept,
    Beat,
    Collect,
    Collected,
    Committed,
    Ending,
    FromWorker,
    Hello,
    Lead,
    Prepared,
    Pulse,
    Retire,
    Scrape,
    Wanted,
)
from loopwright.serving.models.promotion import Promotion
from loopwright.serving.server.state_file import remove_state, write_state
from loopwright.serving.workers.accepting import Board
from loopwright.serving.workers.birth import fork_worker
from loopwright.serving.workers.channel import Channel, ChannelClosedError, channel_pair
from loopwright.serving.workers.group_metrics import families_of
from loopwright.serving.workers.member import Member
from loopwright.serving.workers.scrapes import Scrapes
from loopwright.serving.workers.seat import Seat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loopwright.core.clock import Clock
    from loopwright.serving.models.promotion import Sent
    from loopwright.serving.server.listening import Listening
    from loopwright.serving.server_plan import ServerPlan

_log = structlog.get_logger(__name__)
_LOOK_EVERY_S = 0.1
_PULSE_EVERY_S = 0.5
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_HEALTHY_AFTER_S = 2.0  # and having been ready: a loop of crashes ends before
_MARGIN_S = 10.0  # on top of the drain: flushing the log, ending threads


class Supervisor:
    """Keep so many workers as the plan says.

    Args:
        plan: With the ports that were taken.
        listening: The bound sockets.
        work: What a worker does, in its process, with the seat it is given.
        clock: Of the machine.
    """

    def __init__(self, plan: ServerPlan, listening: Listening, work: Callable[[Seat], None], *, clock: Clock) -> None:
        self._plan = plan
        self._listening = listening
        self._work = work
        self._clock = clock
        self._board = Board(plan.processes + 2)  # one more while one is replaced, and one that will not end
        self._members: dict[int, Member] = {}
        self._promotion = Promotion()
        self._scrapes = Scrapes()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = channel_pair()
        self._born = 0
        self._deaths = 0
        self._next_birth_s = 0.0
        self._missing_since: float | None = None
        self._leader: int | None = None
        self._to_replace: list[int] = []
        self._successor: int | None = None
        self._pulse_at = 0.0
        self._stopping = False
        self._roll = False

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, and until all workers have ended.

        Raises:
            SettingsError: When the workers cannot run with these settings.
        """
        for end in (self._wake, self._woken):
            end.settimeout(0)
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._signalled)
        gc.collect()
        gc.freeze()  # the workers share these pages; a collection in one of them would copy them
        try:
            while self._members or not self._stopping:
                self._look()
                self._wait()
        finally:
            for member in self._members.values():
                member.signal(signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            gc.unfreeze()
            remove_state(self._plan)

    def _signalled(self, number: int, frame: object) -> None:
        del frame
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stopping = True
        elif number == signal.SIGHUP:
            self._roll = True

    # One look at everything, ten times a second and whenever something happens.

    def _look(self) -> None:
        now = self._clock.monotonic()
        parent = self._plan.parent_pid
        if parent is not None and os.getppid() != parent:
            self._stopping = True
        for member in list(self._members.values()):
            if member.has_ended():
                self._bury(member, now)
            else:
                self._judge(member, now)
        if self._stopping:
            self._listening.http.close()  # the last worker that lets go of it closes it for good
            for member in self._members.values():
                self._end(member, now)
        else:
            self._replace(now)
            self._choose()
            self._carry_out(self._promotion.step(now))
        if now >= self._pulse_at:
            self._pulse_at = now + _PULSE_EVERY_S
            pulse = Pulse(self._unwell(now), self._promotion.problems)
            for member in self._members.values():
                member.channel.send(pulse)
        self._answer_scrapes(now)

    def _wait(self) -> None:
        ends = self._scrapes.next_end()
        pause = _LOOK_EVERY_S if ends is None else min(_LOOK_EVERY_S, max(0.0, ends - self._clock.monotonic()))
        for member in self._members.values():
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if member.channel.is_waiting else 0)
            with suppress(KeyError):  # its end was seen, and its process is still ending
                if self._selector.get_key(member.channel).events != wanted:
                    self._selector.modify(member.channel, wanted, member)
        for key, events in self._selector.select(pause):
            if key.data is None:
                with suppress(BlockingIOError):
                    self._woken.recv(4096)
                continue
            if events & selectors.EVENT_WRITE:
                key.data.channel.flush()
            if events & selectors.EVENT_READ:
                self._listen_to(key.data)

    def _listen_to(self, member: Member) -> None:
        try:
            messages = member.channel.receive()
        except ChannelClosedError:
            self._selector.unregister(member.channel)
            return
        now = self._clock.monotonic()
        for message in messages:
            member.heard_s = now
            self._hear(member, message, now)

    def _hear(self, member: Member, message: FromWorker, now: float) -> None:
        match message:
            case Beat(ready=ready, snapshot=snapshot):
                member.is_ready = ready
                if snapshot:
                    self._scrapes.note(member.number, snapshot)
            case Hello():
                member.is_open = True
                self._carry_out(self._promotion.joined(member.number, now))
            case Ending():
                self._end(member, now, ask=False)
            case Wanted(targets=targets):
                self._carry_out(self._promotion.want(targets, now))
            case Prepared(turn=turn, refused=refused, reason=reason):
                self._carry_out(self._promotion.prepared(member.number, turn, refused, reason, now))
            case Committed(turn=turn, at=at):
                self._carry_out(self._promotion.committed_by(member.number, turn, at, now))
            case Scrape(number=number, snapshot=snapshot):
                self._scrapes.note(member.number, snapshot)
                others = [other for other in self._members.values() if other.is_open and other is not member]
                asked = self._scrapes.begin(member.number, number, [other.number for other in others], now)
                for other in others:
                    other.channel.send(Collect(asked))
                self._answer_scrapes(now)
            case Collected(number=number, snapshot=snapshot):
                self._scrapes.collected(member.number, number, snapshot)
                self._answer_scrapes(now)

    def _carry_out(self, orders: Iterable[Sent]) -> None:
        for order in orders:
            number = self._leader if order.worker is None else order.worker
            if number in self._members:
                self._members[number].channel.send(order.message)

    def _answer_scrapes(self, now: float) -> None:
        if self._scrapes.next_end() is None:
            return
        serving = sum(member.is_ready for member in self._members.values())
        own = families_of(restarts=self._scrapes.restarts, workers=serving, promotion=self._promotion)
        for asker, answer in self._scrapes.due(now, own):
            if asker in self._members:
                self._members[asker].channel.send(answer)

    # Births, ends, and who does what.

    def _start(self, now: float) -> Member:
        seat = min(set(range(self._plan.processes + 2)) - {member.seat for member in self._members.values()})
        ours, theirs = channel_pair()
        unneeded = [self._selector.close, self._wake.close, self._woken.close, ours.close]
        unneeded += [member.channel.close for member in self._members.values()]
        place = Seat(seat, theirs, self._listening.http, self._board)
        pid = fork_worker(lambda: self._work(place), close=unneeded)
        theirs.close()
        self._born += 1
        channel: Channel[FromWorker] = Channel(ours, FromWorker)  # type: ignore[arg-type]
        member = Member(self._born, seat, pid, channel, now, now)
        self._members[member.number] = member
        self._selector.register(channel, selectors.EVENT_READ, member)
        self._tell()
        return member

    def _bury(self, member: Member, now: float) -> None:
        with suppress(KeyError):
            self._listen_to(member)  # its last words
            self._selector.unregister(member.channel)
        member.channel.close()
        self._board.clear(member.seat)
        del self._members[member.number]
        self._scrapes.left(member.number)
        if self._leader == member.number:
            self._leader = None
        self._carry_out(self._promotion.left(member.number, now))
        self._tell()
        if member.is_ending:
            return
        nobody_came_up = not any(each.is_open for each in (member, *self._members.values()))
        if member.code == SettingsError.exit_code and nobody_came_up:
            self._stopping = True
            raise SettingsError("The workers cannot run with these settings; they said why above.")
        self._scrapes.restarts += 1
        was_healthy = member.is_accepting and now - member.began_s >= _HEALTHY_AFTER_S
        self._deaths = 1 if was_healthy else self._deaths + 1
        pause = 0.0 if self._deaths == 1 else min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** (self._deaths - 2))
        self._next_birth_s = now + pause
        how = "was silent" if member.is_silenced else f"ended ({_ending(member.code)})"
        _log.error(f"a worker {how}; another takes its place", pid=member.pid, in_s=pause, deaths_in_a_row=self._deaths)

    def _judge(self, member: Member, now: float) -> None:
        """Kill a worker that is silent, or takes too long to load or to end."""
        if member.is_ending:
            late = member.ends_by_s is not None and now > member.ends_by_s
        else:
            patient = not member.is_open or self._promotion.is_busy(member.number)
            late = now - member.heard_s > (self._plan.prepare_timeout_s if patient else self._plan.silence_s)
        if late and not member.is_silenced:
            member.is_silenced = True
            member.signal(signal.SIGKILL)

    def _end(self, member: Member, now: float, *, ask: bool = True) -> None:
        if member.is_ending:
            return
        member.ends_by_s = now + self._plan.drain_delay_s + self._plan.drain_timeout_s + _MARGIN_S
        if ask:
            member.signal(signal.SIGTERM)

    def _replace(self, now: float) -> None:
        """Start what is missing, and go on replacing one by one where that was asked for."""
        if self._roll:
            self._roll = False
            self._to_replace = [member.number for member in self._members.values() if not member.is_ending]
        staying = [member for member in self._members.values() if not member.is_ending]
        if now >= self._next_birth_s:
            for _ in range(len(staying), self._plan.processes):
                self._start(now)
        self._to_replace = [number for number in self._to_replace if number in self._members]
        if not self._to_replace:
            return
        oldest = self._members[self._to_replace[0]]
        if oldest.is_ending:
            return
        successor = None if self._successor is None else self._members.get(self._successor)
        if self._successor is None:
            self._successor = self._start(now).number
        elif successor is None:
            _log.error("a new worker did not come up; the others stay as they are")
            self._to_replace, self._successor = [], None
        elif successor.is_accepting:
            self._successor = None
            oldest.channel.send(Retire())
            self._end(oldest, now, ask=False)

    def _choose(self) -> None:
        """Choose who reads the source, and who accepts connections: who is ready; one in any case, to say it is not."""
        open_ones = [member for member in self._members.values() if member.is_open and not member.is_ending]
        if self._leader not in {member.number for member in open_ones} and open_ones:
            self._leader = open_ones[0].number
            open_ones[0].channel.send(Lead())
        nobody_ready = not any(member.is_ready for member in open_ones)
        nobody_accepts = not any(member.is_accepting for member in open_ones)
        for member in open_ones:
            if member.is_accepting or not (member.is_ready or nobody_ready):
                continue
            settled = self._promotion.is_current(member.number) and self._promotion.committed
            if member.is_ready or nobody_accepts or (settled and member.number == self._successor):
                member.is_accepting = True
                nobody_accepts = False
                member.channel.send(Accept())

    def _unwell(self, now: float) -> str | None:
        """Return that there are too few workers, for longer than it takes to replace one."""
        beating = [
            member
            for member in self._members.values()
            if member.is_open and not member.is_ending and now - member.heard_s <= self._plan.silence_s
        ]
        if len(beating) >= self._plan.processes or self._stopping:
            self._missing_since = None
            return None
        self._missing_since = now if self._missing_since is None else self._missing_since
        if now - self._missing_since <= self._plan.silence_s:
            return None
        return f"{self._plan.processes - len(beating)} of {self._plan.processes} workers do not answer."

    def _tell(self) -> None:
        write_state(self._plan, workers=[member.pid for member in self._members.values()])


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"

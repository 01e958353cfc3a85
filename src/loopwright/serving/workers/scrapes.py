"""The metrics of the group, at the supervisor: the last reading of each worker, what the dead left, scrapes under way.

A scrape at one worker asks the others for a fresh reading and waits for it a few milliseconds; a worker that is busy
computing counts with its last one. Everything a worker ever answered passes through here, so that no sum goes back when
it dies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.serving.models.messages import Merged
from loopwright.serving.workers.merging import Family, encoded, left_behind

if TYPE_CHECKING:
    from collections.abc import Iterable

WAIT_S = 0.012


@dataclass
class _Scrape:
    asker: int
    number: int
    waiting: set[int]
    ends: float


@dataclass
class Scrapes:
    """Readings by worker.

    Attributes:
        restarts: Workers that were replaced because they died or were silent.
    """

    restarts: int = 0
    _last: dict[int, bytes] = field(default_factory=dict)
    _dead: bytes | None = None
    _open: dict[int, _Scrape] = field(default_factory=dict)
    _number: int = 0

    def note(self, worker: int, snapshot: bytes) -> None:
        """Keep a worker's reading."""
        self._last[worker] = snapshot

    def begin(self, asker: int, number: int, others: Iterable[int], now: float) -> int:
        """Open a scrape; return its number, for the others."""
        self._number += 1
        self._open[self._number] = _Scrape(asker, number, set(others), now + WAIT_S)
        return self._number

    def collected(self, worker: int, number: int, snapshot: bytes) -> None:
        """Take a reading for a scrape."""
        self.note(worker, snapshot)
        scrape = self._open.get(number)
        if scrape is not None:
            scrape.waiting.discard(worker)

    def left(self, worker: int) -> None:
        """Keep what a worker leaves to the sums."""
        last = self._last.pop(worker, None)
        if last is not None:
            self._dead = left_behind([last] if self._dead is None else [self._dead, last])
        for scrape in self._open.values():
            scrape.waiting.discard(worker)

    def next_end(self) -> float | None:
        """Return when a scrape is to be answered at the latest, or None."""
        return min((scrape.ends for scrape in self._open.values()), default=None)

    def due(self, now: float, own: list[Family]) -> list[tuple[int, Merged]]:
        """Return the answers to the scrapes for which nothing more is waited for."""
        answers = []
        for number, scrape in list(self._open.items()):
            if scrape.waiting and now < scrape.ends:
                continue
            del self._open[number]
            readings = [content for worker, content in self._last.items() if worker != scrape.asker]
            readings += [encoded(own)] if self._dead is None else [encoded(own), self._dead]
            answers.append((scrape.asker, Merged(scrape.number, readings)))
        return answers

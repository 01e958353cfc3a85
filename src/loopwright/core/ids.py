"""Identity: UUIDv7 strings (RFC 9562, section 5.7), sortable by the time they were made."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.core.clock import Clock

_COUNTER_BITS = 12
_RANDOM_BYTES = 8
_RANDOM_DIGITS = 2 * _RANDOM_BYTES
_DRAWN_BYTES = 64 * _RANDOM_BYTES
_STAMP_MASK = (1 << 60) - 1
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # the two highest bits are 10
_FEW = 16  # ids from which on making them as columns is quicker

_forks = 0


def _forked() -> None:
    global _forks  # noqa: PLW0603 - a fact about the process
    _forks += 1


os.register_at_fork(after_in_child=_forked)


class Ids:
    """Makes ids that sort in the order in which one process made them.

    Within one millisecond the 12 bits after the time count up (RFC 9562, method 1), so that order holds; a thousandth
    of a second with more than 4,096 ids borrows from the next one.

    Args:
        clock: Where the time part comes from.
        entropy: Returns so many random bytes; a seeded function makes ids reproducible.
    """

    def __init__(self, clock: Clock, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._entropy = entropy
        self._lock = threading.Lock()
        self._last = 0
        self._drawn = ""  # random digits for the next ids
        self._drawn_in = _forks

    def salt(self, size_bytes: int) -> str:
        """Return so many random bytes as hexadecimal digits: what makes a digest of a short text its own."""
        return self._entropy(size_bytes).hex()

    def new(self) -> str:
        """Return a new id, 36 characters."""
        return self.many(1)[0]

    def many(self, count: int) -> list[str]:
        """Return new ids in their order: what ``new`` would give one after the other, with one look at the clock."""
        milliseconds = int(self._clock.now().timestamp() * 1000)
        with self._lock:
            first = max(self._last + 1, milliseconds << _COUNTER_BITS)
            self._last = first + count - 1
            random = self._digits(_RANDOM_DIGITS * count)
        ids = []
        for number in range(count):
            stamp = "%015x" % (first + number & _STAMP_MASK)
            tail = random[_RANDOM_DIGITS * number : _RANDOM_DIGITS * (number + 1)]
            ids.append(f"{stamp[:8]}-{stamp[8:12]}-7{stamp[12:]}-{_VARIANT[tail[0]]}{tail[1:4]}-{tail[4:]}")
        return ids

    def _digits(self, count: int) -> str:
        """Draw random digits, many at a time; a forked process begins with new ones."""
        if self._drawn_in != _forks:
            self._drawn, self._drawn_in = "", _forks
        if len(self._drawn) < count:
            wanted = count - len(self._drawn)
            self._drawn += self._entropy(max(_DRAWN_BYTES, (wanted + 1) // 2)).hex()
        digits, self._drawn = self._drawn[:count], self._drawn[count:]
        return digits


def seeded_entropy(seed: int) -> Callable[[int], bytes]:
    """Return a source of bytes that repeats for the same ``seed``; for tests and demonstrations.

    >>> seeded_entropy(7)(4) == seeded_entropy(7)(4)
    True
    """
    import random  # noqa: PLC0415 - not needed in production

    return random.Random(seed).randbytes  # noqa: S311 - reproducible on purpose

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

    def salt(self, size_bytes: int) -> str:
        """Return so many random bytes as hexadecimal digits: what makes a digest of a short text its own."""
        return self._entropy(size_bytes).hex()

    def new(self) -> str:
        """Return a new id, 36 characters."""
        milliseconds = int(self._clock.now().timestamp() * 1000)
        with self._lock:
            stamp = max(self._last + 1, milliseconds << _COUNTER_BITS)
            self._last = stamp
            random = int.from_bytes(self._entropy(_RANDOM_BYTES), "big")
        time_part, counter = stamp >> _COUNTER_BITS, stamp & 0xFFF
        number = (
            (time_part & 0xFFFF_FFFF_FFFF) << 80
            | 0x7 << 76
            | counter << 64
            | 0b10 << 62
            | random & 0x3FFF_FFFF_FFFF_FFFF
        )
        text = f"{number:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def seeded_entropy(seed: int) -> Callable[[int], bytes]:
    """Return a source of bytes that repeats for the same ``seed``; for tests and demonstrations.

    >>> seeded_entropy(7)(4) == seeded_entropy(7)(4)
    True
    """
    import random  # noqa: PLC0415 - not needed in production

    return random.Random(seed).randbytes  # noqa: S311 - reproducible on purpose

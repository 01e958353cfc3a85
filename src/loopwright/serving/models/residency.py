"""Which versions of a process stay in memory: a budget, what each was measured to take, and who gives way first.

Required models stay. Of the others the one that was asked the longest ago gives way; before any of them, the versions
that only wait for a rollback.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from loopwright.core.errors import FailedError
from loopwright.core.sizes import format_size

HEADROOM = 1.5
"""A load may take this many times the stored size for a moment: the bytes, and what is made of them."""
_MEMINFO = Path("/proc/meminfo")
_STATM = Path("/proc/self/statm")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass
class Residency:
    """What is in memory, by version.

    Attributes:
        budget_bytes: What all versions may take together; None for no bound.
        required: The models that never give way.
    """

    budget_bytes: int | None = None
    required: frozenset[str] = frozenset()
    _sizes: dict[str, int] = field(default_factory=dict)
    _used_at: dict[str, float] = field(default_factory=dict)

    @property
    def used_bytes(self) -> int:
        """Return what all versions in memory take together."""
        return sum(self._sizes.values())

    def fits(self, size: int) -> bool:
        """Return whether there is room for so much more, with nothing giving way."""
        return self.budget_bytes is None or self.used_bytes + size <= self.budget_bytes

    def check(self, version_id: str, size: int) -> None:
        """Refuse what finds no room although everything gave way that may.

        Raises:
            FailedError: When it does not fit.
        """
        if not self.fits(size):
            raise FailedError(
                f"{version_id} takes {format_size(size)}, and the required models leave no room for it: "
                f"{format_size(self.used_bytes)} of {format_size(self.budget_bytes or 0)} are taken.",
                hint="Raise [serving] memory, or deploy other models with required=False.",
            )

    def loaded(self, version_id: str, size: int) -> None:
        """Hear what a version takes."""
        self._sizes[version_id] = size

    def dropped(self, version_id: str) -> None:
        """Hear that a version is gone."""
        self._sizes.pop(version_id, None)

    def used(self, model: str, now: float) -> None:
        """Hear that a model was asked."""
        self._used_at[model] = now

    def longest_unused(self, models: list[str]) -> str | None:
        """Return which of these models gives way first, or None when all of them stay."""
        yielding = [model for model in models if model not in self.required]
        return min(yielding, key=lambda model: self._used_at.get(model, float("-inf")), default=None)


def check_memory(version_id: str, size: int | None, available: int | None) -> None:
    """Refuse to load what the machine has no memory for.

    Raises:
        FailedError: When ``HEADROOM`` times the stored size is not available.
    """
    if size is None or available is None or size * HEADROOM <= available:
        return
    raise FailedError(
        f"{version_id} takes {format_size(size)} and {HEADROOM:g} times as much to load; "
        f"{format_size(available)} are available.",
        hint="Give the machine more memory, or serve fewer models in one server ([serving] memory).",
    )


def available_memory() -> int | None:
    """Return the bytes that this process can still get: of the machine, or of its control group; None if unknown."""
    found = []
    try:
        line = next(line for line in _MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit != "max":
            found.append(int(limit) - int((_CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no control group of version 2 here
    return max(0, min(found))


def resident_memory() -> int:
    """Return the bytes of this process that are in memory."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0

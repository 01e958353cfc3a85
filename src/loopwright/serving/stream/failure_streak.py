"""A version that fails on event after event: the stream waits for another one, and spares the events.

Without this, a release that cannot compute anything would turn a whole topic into dead letters in seconds. Values that
cannot be read are the events' own fault and do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopwright.serving.stream.answering import Batch


class FailureStreak:
    """Count how many events in a row each version has failed on.

    Args:
        most: Failures in a row, none answered between them, at which a version is not asked further; None for any
            number.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._failed: dict[int, int] = {}

    def broken_by(self, batch: Batch) -> str | None:
        """Say which version failed too often in a row, this batch included; None when none did."""
        if self._most is None:
            return None
        for tried in batch.tried:
            failed = self._failed.get(tried.version, 0) + tried.failed
            if tried.failed and not tried.predicted and failed >= self._most:
                return (
                    f"Version {tried.version} failed on {failed} events in a row, lastly: {tried.reason} The stream "
                    "goes on with the next version, by `models rollback` or `models promote`; "
                    "lw.stream(failures_in_a_row=None) would send such events to the dead letters."
                )
        return None

    def put(self, batch: Batch) -> None:
        """Remember a batch that was written."""
        for tried in batch.tried:
            self._failed[tried.version] = 0 if tried.predicted else self._failed.get(tried.version, 0) + tried.failed

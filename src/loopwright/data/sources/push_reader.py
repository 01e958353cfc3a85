"""The reader of a dataset that only gets what is handed to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.data.sources.plan import Plan

if TYPE_CHECKING:
    from loopwright.data.sources.push import PushSource
    from loopwright.data.sources.reader import Reading


class PushReader:
    """Finds nothing: rows come by :meth:`loopwright.data.lake.Lake.push`."""

    def plan(self, source: PushSource, reading: Reading) -> Plan:
        """Return an empty plan."""
        del source, reading
        return Plan()

    def has_new(self, source: PushSource, reading: Reading) -> bool:
        """Say no."""
        del source, reading
        return False

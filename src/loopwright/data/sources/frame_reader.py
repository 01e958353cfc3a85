"""Reads a table in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.data.sources.plan import Plan, plan_frame

if TYPE_CHECKING:
    from loopwright.data.sources.frame import FrameSource
    from loopwright.data.sources.reader import Reading


class FrameReader:
    """Reads a table whole; content that was read before adds nothing."""

    def plan(self, source: FrameSource, reading: Reading) -> Plan:
        """Return the table, if its content is new."""
        return plan_frame(source.load(), reading.known)

    def has_new(self, source: FrameSource, reading: Reading) -> bool:
        """Compare the content."""
        return bool(self.plan(source, reading).units)

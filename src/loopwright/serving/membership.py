"""The place of a serving process among others: alone, or one of several workers (`loopwright.serving.workers`)."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

Ending: TypeAlias = Literal["asked", "retired", "orphaned"]
"""Why a process ends: the server ends, another is in its place, or its supervisor is gone."""


class Membership(Protocol):
    """What a server does differently when it is one of several processes; called on its event loop."""

    async def open(self) -> None:
        """Begin to follow what should be in force, and to accept connections when it is time."""

    async def ended(self) -> Ending:
        """Wait until the process should end; return why."""

    def stop_accepting(self) -> None:
        """Leave new connections to the others, where there are others."""

    def unwell(self) -> str | None:
        """Return why the server cannot be called alive, or None when it can."""

    async def exposition(self) -> bytes:
        """Return the metrics of all processes together, in Prometheus' text format."""

    def close(self) -> None:
        """Give back what was opened; called when the event loop has ended."""

"""What the doors ask of the server they belong to."""

from __future__ import annotations

from typing import Protocol


class ServerState(Protocol):
    """What the door asks of the server it belongs to."""

    @property
    def draining(self) -> bool:
        """Return whether the server is about to end."""

    def not_ready_because(self) -> str | None:
        """Return why the server is not ready, or None when it is."""

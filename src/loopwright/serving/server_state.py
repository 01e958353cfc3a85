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


class QuietState:
    """The state of a server that keeps its reasons to itself."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    @property
    def draining(self) -> bool:
        """Return whether the server is about to end."""
        return self._state.draining

    def not_ready_because(self) -> str | None:
        """Return that the server is not ready, or None when it is."""
        return None if self._state.not_ready_because() is None else "Not ready; try again in a moment."

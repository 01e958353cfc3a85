"""What a worker is given at its birth, and what it opens for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from loopwright.core.storage.stores import Stores
    from loopwright.features.online import OnlineStore
    from loopwright.serving.models.model_source import ModelSource
    from loopwright.serving.workers.accepting import Board


@dataclass(frozen=True)
class Seat:
    """A worker's place in the group.

    Attributes:
        number: Its place, from 0; used again after its end.
        talk: Its end of the channel to the supervisor.
        listening: The socket that all workers accept from.
        board: How many connections each of them has.
    """

    number: int
    talk: socket.socket
    listening: socket.socket
    board: Board


@dataclass(frozen=True)
class ServerParts:
    """What one serving process opens for itself, after the fork: connections and threads do not survive one.

    Attributes:
        stores: The stores of the workspace.
        source: Says which versions to serve.
        online: Where features that requests do not carry are looked up; the settings' own by default.
    """

    stores: Stores
    source: ModelSource
    online: OnlineStore | None = None

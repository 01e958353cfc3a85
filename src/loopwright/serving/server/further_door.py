"""Doors beside HTTP that a server opens in each of its processes: the port that they fill, and what they are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.core.clock import Clock
    from loopwright.core.ids import Ids
    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.guard import Guard
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.server_plan import ServerPlan
    from loopwright.serving.server_state import ServerState


class FurtherDoor(Protocol):
    """A door that does its own listening, on the server's event loop."""

    async def listen(self) -> None:
        """Begin to accept on its address.

        The port is reserved already by a socket that is bound and does not listen, so the door binds with
        SO_REUSEPORT; several processes do so side by side.

        Raises:
            SettingsError: When the address cannot be bound.
        """

    async def close(self, *, timeout_s: float) -> None:
        """Stop accepting, let what has begun be answered for at most ``timeout_s`` seconds, and close."""


@dataclass(frozen=True)
class DoorParts:
    """What a further door works with: the same as the HTTP door of its process.

    Attributes:
        endpoints: The served models by name.
        state: The server's readiness; ``draining`` once it is about to end.
        guard: Says whether a caller may do what is asked.
        version: The installed version of the package.
        plan: Where to listen (``plan.host``, ``plan.grpc_port``; never 0 here) and how.
    """

    endpoints: Mapping[str, Endpoint]
    state: ServerState
    guard: Guard
    metrics: ServingMetrics
    clock: Clock
    ids: Ids
    version: str
    plan: ServerPlan


DoorMaker: TypeAlias = Callable[[DoorParts], FurtherDoor]

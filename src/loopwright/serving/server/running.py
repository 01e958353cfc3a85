"""The life of a serving process: one event loop that answers, from opening its doors to the last flush of the log."""

from __future__ import annotations

import asyncio
import gc
import signal
from typing import TYPE_CHECKING

import uvloop

from loopwright.features.online_stores import open_online_store
from loopwright.serving.server.alone import Alone
from loopwright.serving.server.listening import open_listening
from loopwright.serving.server.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.core.storage.stores import Stores
    from loopwright.features.online import OnlineStore
    from loopwright.serving.membership import Ending, Membership
    from loopwright.serving.models.model_source import ModelSource
    from loopwright.serving.server.further_door import DoorMaker
    from loopwright.serving.server_plan import ServerPlan

_DRAIN_CHECK_S = 0.02
_LAST_COMERS_S = 0.1  # for those who were accepted at the last moment to ask


def run_server(server: Server, membership: Membership) -> None:
    """Serve until the process is asked to end (SIGTERM, SIGINT, or by its membership); then drain and close."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(server, membership))
    finally:
        gc.unfreeze()
        server.close()
        membership.close()


async def _serve(server: Server, membership: Membership) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.asked_to_end.set)
    server.join(membership)
    await membership.open()
    await _drain(server, membership, await membership.ended())


async def _drain(server: Server, membership: Membership, why: Ending) -> None:
    """Refuse readiness, let the work finish, and close.

    A process that was asked to end goes on accepting for the drain delay, so that load balancers notice. One that has
    another in its place leaves new connections to the others and uses the delay to say ``Connection: close`` on those
    that are open. One whose supervisor is gone closes its socket at once: the address is for the next supervisor.
    """
    plan, clock = server.plan, server.clock
    server.draining = server.http.closing = True
    if why != "asked":
        membership.stop_accepting()
    if why != "orphaned":
        await asyncio.sleep(plan.drain_delay_s)
    membership.stop_accepting()
    if why != "orphaned":
        await asyncio.sleep(min(_LAST_COMERS_S, plan.drain_delay_s))
    ends = clock.monotonic() + plan.drain_timeout_s
    while any(endpoint.in_flight for endpoint in server.endpoints.values()):
        if clock.monotonic() > ends:
            break
        await asyncio.sleep(_DRAIN_CHECK_S)
    await server.close_doors(timeout_s=max(0.0, ends - clock.monotonic()))


def serve(
    stores: Stores,
    source: ModelSource,
    plan: ServerPlan,
    *,
    online: OnlineStore | None = None,
    doors: Sequence[DoorMaker] = (),
) -> None:
    """Serve the plan's models in this process until SIGTERM or SIGINT; return when all is answered and logged.

    Args:
        stores: The stores of the workspace.
        source: Says which versions to serve; `RegistrySource` for those of the registry.
        plan: What to serve, where and how; its ``workers`` are not looked at.
        online: Where features that requests do not carry are looked up; the settings' own by default.
        doors: What makes the doors beside HTTP.

    Raises:
        SettingsError: When an address cannot be bound.
    """
    listening, bound = open_listening(plan, stores.clock)
    try:
        used = online or open_online_store(stores.settings.online_url)
        server = Server(stores, source, bound, online=used, doors=doors)
        run_server(server, Alone(server, listening.http))
    finally:
        listening.close()

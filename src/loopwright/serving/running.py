"""The life of a serving process: one event loop that answers, from opening its doors to the last flush of the log."""

from __future__ import annotations

import asyncio
import gc
import signal
from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    from loopwright.serving.membership import Ending, Membership
    from loopwright.serving.server import Server

_DRAIN_CHECK_S = 0.02


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
    await membership.open(server)
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
    ends = clock.monotonic() + plan.drain_timeout_s
    while any(endpoint.in_flight for endpoint in server.endpoints.values()):
        if clock.monotonic() > ends:
            break
        await asyncio.sleep(_DRAIN_CHECK_S)
    await server.close_doors(timeout_s=max(0.0, ends - clock.monotonic()))

"""Serve with several processes: the door of this package."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from loopwright.core.clock import SystemClock
from loopwright.features.online_stores import open_online_store
from loopwright.serving.server.listening import open_listening
from loopwright.serving.server.running import run_server, serve
from loopwright.serving.server.server import Server
from loopwright.serving.workers.supervisor import Supervisor
from loopwright.serving.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopwright.core.clock import Clock
    from loopwright.serving.server.further_door import DoorMaker
    from loopwright.serving.server_plan import ServerPlan
    from loopwright.serving.workers.seat import Seat, ServerParts


def serve_group(
    open_parts: Callable[[], ServerParts],
    plan: ServerPlan,
    *,
    clock: Clock | None = None,
    doors: Sequence[DoorMaker] = (),
) -> None:
    """Serve until SIGTERM or SIGINT; return when all workers have answered, logged and ended.

    With one process there is no supervisor, and this process answers itself.

    Args:
        open_parts: Opens what a process works with; called in each worker, never in the supervisor.
        plan: What to serve, where and how.
        clock: Of the machine.
        doors: What makes the doors beside HTTP, in each worker.

    Raises:
        SettingsError: When an address cannot be bound, or the workers cannot run with these settings.
    """
    if plan.processes == 1:
        parts = open_parts()
        try:
            serve(parts.stores, parts.source, plan, online=parts.online, doors=doors)
        finally:
            parts.stores.close()
        return
    used = clock or SystemClock()
    listening, bound = open_listening(plan, used)
    in_workers = replace(bound, parent_pid=None, state_file=None)  # the supervisor sees to both

    def work(seat: Seat) -> None:
        parts = open_parts()
        try:
            online = parts.online or open_online_store(parts.stores.settings.online_url)
            server = Server(parts.stores, parts.source, in_workers, online=online, doors=doors)
            run_server(server, Worker(server, seat))
        finally:
            parts.stores.close()

    try:
        Supervisor(bound, listening, work, clock=used).run()
    finally:
        listening.close()

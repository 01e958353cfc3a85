"""``loopwright up``: serve, watch, schedule and turn until stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import PROJECT_OPTION, console
from loopwright.core.clock import SystemClock
from loopwright.core.errors import UnknownNameError
from loopwright.core.settings import Settings
from loopwright.data.sources.push import PushSource
from loopwright.loop.daemon import Supervisor, become
from loopwright.loop.loading import find_project, load_loop
from loopwright.workspace import Workspace


def command(
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    tick: Annotated[float, typer.Option(help="Seconds between two looks of the controller.")] = 2.0,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this process: server, controller, log or stream:MODEL; may be repeated."),
    ] = None,
) -> None:
    """Serve, watch, schedule and turn until stopped.

    With --only and one process there is no supervisor: that is for containers, whose orchestrator brings them back.
    """
    folder = find_project(project)
    loop = load_loop(folder)
    settings = Settings.load(folder)
    Workspace.open(folder).close()  # what keeps every process from starting is said once, here
    deployed = [name for name, model in loop.models.items() if model.online is not None]
    pushed = [name for name, dataset in loop.datasets.items() if isinstance(dataset.source, PushSource)]
    paths = [f"/predict/{name}" for name in deployed] + [f"/ingest/{name}" for name in pushed]
    streams = {name: model.stream for name, model in loop.models.items() if model.stream is not None}
    roles = (*(("server",) if paths else ()), "controller", *(f"stream:{name}" for name in streams))
    if only:
        roles = _chosen(only, (*roles, "log"))
        paths = paths if "server" in roles else []
        streams = {name: one for name, one in streams.items() if f"stream:{name}" in roles}
        if len(roles) == 1:
            become(folder, roles[0], tick_s=tick)
    port = settings.serving_port or "PORT"  # a free one is taken; `loopwright status` names it
    scheme = "https" if settings.serving_tls_certificate else "http"
    for path in paths:
        console.print(f"POST {scheme}://{settings.serving_host}:{port}{path}")
    for name, stream in streams.items():
        console.print(f"{stream.topic} → {name} → {stream.to}")
    console.print("Stop with Ctrl+C; what is in flight is finished first.")
    Supervisor(folder, SystemClock(), console.print, roles=roles, tick_s=tick).run()
    console.print("Stopped. Nothing is lost; `loopwright up` goes on from here.")


def _chosen(only: list[str], known: tuple[str, ...]) -> tuple[str, ...]:
    for role in only:
        if role not in known:
            raise UnknownNameError("process of this project", role, known)
    return tuple(role for role in known if role in only)

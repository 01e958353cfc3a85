"""The serving process of ``up``: ``python -m loopwright.loop.server_process PROJECT PARENT_PID [PORT]``."""

from __future__ import annotations

import sys
from pathlib import Path

from loopwright.core.access import Access
from loopwright.core.settings import Settings
from loopwright.core.sizes import parse_size
from loopwright.core.storage.stores import open_stores
from loopwright.data.sources.push import PushSource
from loopwright.features.online_stores import open_online_store
from loopwright.loop.exit_code import exit_code_of
from loopwright.loop.loading import load_loop
from loopwright.serving.grpc.server import GrpcServer
from loopwright.serving.http.options import HttpOptions
from loopwright.serving.models.model_source import RegistrySource
from loopwright.serving.server_plan import ServerPlan, is_loopback
from loopwright.serving.tls import TlsFiles
from loopwright.serving.workers.birth import said_by_child
from loopwright.serving.workers.group import serve_group
from loopwright.serving.workers.seat import ServerParts


def serve_project(project: Path, *, parent_pid: int | None = None, port: int | None = None) -> None:
    """Serve the project's deployed models until SIGTERM, or until the parent process ends."""
    settings = Settings.load(project)
    loop = load_loop(project)
    models = {name: model.online for name, model in loop.models.items() if model.online is not None}
    plan = ServerPlan(
        models=models,
        datasets=tuple(dataset for dataset in loop.datasets.values() if isinstance(dataset.source, PushSource)),
        host=settings.serving_host,
        port=settings.serving_port if port is None else port,
        grpc_port=settings.serving_grpc_port,
        workers=settings.serving_workers,
        memory_bytes=None if settings.serving_memory is None else parse_size(settings.serving_memory),
        http=HttpOptions(
            docs=settings.serving_docs,
            error_detail=settings.serving_error_detail,
            cors_origins=settings.serving_cors_origins,
        ),
        tls=TlsFiles.of(settings.serving_tls_certificate, settings.serving_tls_key, project=settings.project),
        tokens=() if settings.serving_token is None else (settings.serving_token,),
        hashed_keys=frozenset(name for name in models if loop.models[name].is_key_hashed),
        has_access_control=_is_open_to_others(settings) and said_by_child(lambda: _has_access_control(settings)),
        state_file=settings.home / "server.json",
        parent_pid=parent_pid,
    )
    doors = () if plan.grpc_port is None else (GrpcServer,)
    serve_group(lambda: _parts(settings), plan, doors=doors)


def _parts(settings: Settings) -> ServerParts:
    """Open what one process works with; called in each worker, as no connection survives a fork."""
    stores = open_stores(settings)
    return ServerParts(stores, RegistrySource(stores), open_online_store(settings.online_url))


def _is_open_to_others(settings: Settings) -> bool:
    return settings.serving_token is None and not is_loopback(settings.serving_host)


def _has_access_control(settings: Settings) -> bool:
    stores = open_stores(settings)
    try:
        return Access(stores.facts, stores.clock, stores.ids).is_on
    finally:
        stores.close()


def main() -> int:
    """Serve, and end with the exit code of what went wrong."""
    port = int(sys.argv[3]) if len(sys.argv) > 3 else None
    return exit_code_of(lambda: serve_project(Path(sys.argv[1]), parent_pid=int(sys.argv[2]), port=port))


if __name__ == "__main__":
    sys.exit(main())

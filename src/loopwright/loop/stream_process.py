"""The process of one stream of ``up``: ``python -m loopwright.loop.stream_process PROJECT PARENT_PID MODEL``."""

from __future__ import annotations

import sys
from pathlib import Path

from loopwright.core.errors import UnknownNameError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.features.online_stores import open_online_store
from loopwright.loop.exit_code import exit_code_of
from loopwright.loop.loading import load_loop
from loopwright.serving.models.model_source import RegistrySource
from loopwright.serving.stream.worker import StreamPlan, StreamWorker


def stream_project(project: Path, model: str, *, parent_pid: int | None = None) -> None:
    """Answer the events of one model's stream until SIGTERM, or until the parent process ends.

    Raises:
        UnknownNameError: If the project deploys no stream of that model.
    """
    settings = Settings.load(project)
    stores = open_stores(settings)
    loop = load_loop(project)
    deployed = {name: one.stream for name, one in loop.models.items() if one.stream is not None}
    if model not in deployed:
        raise UnknownNameError("stream", model, deployed)
    declared = loop.models[model]
    plan = StreamPlan(
        model,
        deployed[model],
        log_payloads="full" if declared.online is None else declared.online.log_payloads,
        is_key_hashed=declared.is_key_hashed,
        parent_pid=parent_pid,
    )
    StreamWorker(stores, RegistrySource(stores), plan, online=open_online_store(settings.online_url)).run()


def main() -> int:
    """Answer, and end with the exit code of what went wrong."""
    return exit_code_of(lambda: stream_project(Path(sys.argv[1]), sys.argv[3], parent_pid=int(sys.argv[2])))


if __name__ == "__main__":
    sys.exit(main())

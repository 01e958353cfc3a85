"""What a running server says of itself to other processes of this machine: a small JSON file, there while it runs."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.serving.server_plan import ServerPlan


def write_state(plan: ServerPlan, *, workers: Sequence[int] = ()) -> None:
    """Write the plan's addresses and models, with this process's id and those of its workers, all at once."""
    path = plan.state_file
    if path is None:
        return
    document: dict[str, object] = {
        "pid": os.getpid(),
        "host": plan.host,
        "port": plan.port,
        "models": sorted(plan.models),
    }
    if plan.tls is not None:
        document["scheme"] = "https"
    if plan.grpc_port is not None:
        document["grpc_port"] = plan.grpc_port
    if workers:
        document["workers"] = list(workers)
    written = path.with_suffix(f".{os.getpid()}.tmp")
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(json.dumps(document))
    written.replace(path)


def remove_state(plan: ServerPlan) -> None:
    """Remove the file of a server that ends."""
    if plan.state_file is not None:
        plan.state_file.unlink(missing_ok=True)

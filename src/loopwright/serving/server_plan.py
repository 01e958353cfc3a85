"""How a server runs: its models, addresses, worker processes, bounds and patience."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.core.errors import SettingsError
from loopwright.serving.http.options import HttpOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loopwright.data.dataset import Dataset
    from loopwright.serving.deploy import OnlineDeployment
    from loopwright.serving.tls import TlsFiles


@dataclass(frozen=True)
class ServerPlan:
    """How a server runs.

    Attributes:
        models: The models that are served, with their deployments; the required ones must be loaded for it to be ready.
        datasets: The datasets that take rows over HTTP.
        host: Address to bind; another than loopback needs tokens.
        port: Port to bind; 0 takes a free one, written to ``state_file``.
        grpc_port: Port of the gRPC door on the same address; 0 takes a free one, None opens none.
        workers: Processes that answer; None for one per core. With 1 there is no supervisor process.
        tokens: Bearer tokens of which callers must present one.
        hashed_keys: The models whose rows are named by a key that their dataset has hashed.
        has_access_control: Whether the workspace has tokens on record, which then are asked for.
        state_file: Gets ``{"pid", "host", "port", "models"}`` once the server listens, and goes when it ends.
        poll_s: Seconds between two looks at the change counter.
        drain_delay_s: Seconds after SIGTERM for which requests are still accepted, so that load balancers notice.
        drain_timeout_s: Seconds that requests in flight get to finish.
        silence_s: Seconds without a sign of life after which a worker is replaced.
        prepare_timeout_s: Seconds that the workers get to load and test a version before it is refused.
        parent_pid: Process with whose end the server drains too, or None.
        shadow_queue: Copies that may wait for the shadow, per model.
        memory_bytes: Memory that the loaded versions of one process may take together; models beyond it are loaded at
            their first request and give way to each other. None for no bound: all are loaded at the start.
        lazy_wait_s: Seconds that a request waits for its model to be loaded, before it is told to come again.
        http: What the project decides about the HTTP door.
        tls: The certificate and the key of all doors; None to speak without TLS.
    """

    models: Mapping[str, OnlineDeployment]
    datasets: tuple[Dataset, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    grpc_port: int | None = None
    workers: int | None = None
    tokens: tuple[str, ...] = ()
    has_access_control: bool = False
    hashed_keys: frozenset[str] = frozenset()
    state_file: Path | None = None
    poll_s: float = 0.3
    drain_delay_s: float = 0.5
    drain_timeout_s: float = 30.0
    silence_s: float = 2.0
    prepare_timeout_s: float = 120.0
    parent_pid: int | None = None
    shadow_queue: int = 256
    memory_bytes: int | None = None
    lazy_wait_s: float = 5.0
    http: HttpOptions = field(default_factory=HttpOptions)
    tls: TlsFiles | None = None

    def __post_init__(self) -> None:
        if not self.models and not self.datasets:
            raise SettingsError(
                "A server needs a model to serve, or a dataset to push to.",
                hint="Declare one with loop.deploy(…) or source=lw.push().",
            )
        if not is_loopback(self.host) and not (self.tokens or self.has_access_control):
            raise SettingsError(
                f"Binding to {self.host} opens the server to other machines, and no token is set.",
                hint="Make one with `loopwright access create`, set LOOPWRIGHT_SERVING_TOKEN, or bind to 127.0.0.1.",
            )
        if self.workers is not None and self.workers < 1:
            raise SettingsError(f"A server needs at least 1 worker, got {self.workers}.")

    @property
    def processes(self) -> int:
        """Return how many processes answer: as said, or one per core that this process may use."""
        return self.workers or len(os.sched_getaffinity(0))


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

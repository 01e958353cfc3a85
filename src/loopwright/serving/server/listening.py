"""The sockets of a server, bound once before anything else is started.

HTTP: one listening socket that every worker process inherits, so that the connections waiting in it survive the end of
a worker. gRPC binds in its own library, once per process with SO_REUSEPORT; its port is reserved by a socket that is
bound and never listens, so that it stays ours while workers come and go.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loopwright.core.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.clock import Clock
    from loopwright.serving.server_plan import ServerPlan

BACKLOG = 2048
_PREDECESSOR_S = 5.0  # the workers of a killed server close their socket within a second
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Listening:
    """The bound sockets of a server; ``http`` accepts into its backlog already, ``reserved`` never listens."""

    http: socket.socket
    reserved: socket.socket | None

    def close(self) -> None:
        """Close this process's hold of the sockets."""
        self.http.close()
        if self.reserved is not None:
            self.reserved.close()


def open_listening(plan: ServerPlan, clock: Clock) -> tuple[Listening, ServerPlan]:
    """Bind the plan's addresses; return the sockets, and the plan with the ports that were taken.

    The address of a server that was killed is waited for: its workers may still be closing it.

    Raises:
        SettingsError: When an address cannot be bound, or the files of TLS cannot be used.
    """
    if plan.tls is not None:
        plan.tls.context(protocols=())  # said once, before any process begins
    ends = clock.monotonic() + (_PREDECESSOR_S if _was_killed(plan.state_file) else 0.0)
    while True:
        try:
            http = _bound(plan.host, plan.port)
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE or clock.monotonic() >= ends:
                raise _taken(plan.host, plan.port, "port", error) from error
            clock.sleep(_LOOK_EVERY_S)
    http.listen(BACKLOG)
    http.settimeout(0)
    plan = replace(plan, port=int(http.getsockname()[1]))
    if plan.grpc_port is None:
        return Listening(http, None), plan
    try:
        reserved = _bound(plan.host, plan.grpc_port, shared=True)
    except OSError as error:
        http.close()
        raise _taken(plan.host, plan.grpc_port, "grpc_port", error) from error
    return Listening(http, reserved), replace(plan, grpc_port=int(reserved.getsockname()[1]))


def _bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _taken(host: str, port: int, setting: str, error: OSError) -> SettingsError:
    hint = f"Is this project up already? If not, set another [serving] {setting} in loopwright.toml."
    return SettingsError(f"Cannot listen on {host}:{port} ({error.strerror}).", hint=hint)


def _was_killed(state_file: Path | None) -> bool:
    """Return whether the last server left its state behind and is gone."""
    if state_file is None:
        return False
    try:
        os.kill(int(json.loads(state_file.read_text())["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError):
        return False
    return False

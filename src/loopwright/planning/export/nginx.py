"""NGINX before several servers: connections kept, patience from the plan, and nothing repeated that was computed.

Sources: the documentation of ngx_http_upstream_module, ngx_http_proxy_module and ngx_http_grpc_module.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.planning.export.artefact import Artefact
from loopwright.planning.export.environment import GRPC_PORT, HTTP_PORT
from loopwright.planning.export.template import fill_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.planning.export.blueprint import Blueprint

LISTEN = 8080
GRPC_LISTEN = 8081
_PATIENCE = 10.0  # times the limit on an answer: beyond it nobody waits
_LEAST_PATIENCE_S = 5.0


def nginx(
    blueprint: Blueprint,
    backends: Sequence[str],
    *,
    events_backend: str = "",
    listen: str = str(LISTEN),
    grpc_listen: str = str(GRPC_LISTEN),
) -> Artefact:
    """Return the configuration.

    Args:
        blueprint: What is made.
        backends: The hosts of the servers.
        events_backend: The host that takes outcomes and pushed rows; the first server by default.
        listen: Where HTTP is taken.
        grpc_listen: Where gRPC is taken.

    Raises:
        DeclarationError: If the plan serves nobody.
    """
    fleet = blueprint.fleet
    if fleet is None or not backends:
        raise DeclarationError("Nothing answers requests, so nothing goes before it.")
    # Little's law: requests in flight at the planned peak, were each as slow as the limit; and as many again.
    in_flight = math.ceil(2 * fleet.sized_rps * fleet.limit_s)
    patience_s = max(_LEAST_PATIENCE_S, _PATIENCE * fleet.limit_s)
    values = {
        "name": blueprint.name,
        "backends": list(backends),
        "events_backend": events_backend or backends[0],
        "http_port": HTTP_PORT,
        "grpc_port": GRPC_PORT,
        "listen": listen,
        "grpc_listen": grpc_listen,
        "sized_rps": fleet.sized_rps,
        "limit_s": fleet.limit_s,
        "keepalive": max(16, in_flight),
        "connections": max(4096, 4 * in_flight),
        "read_timeout_s": f"{patience_s:g}",
        "grpc_timeout_s": f"{max(60.0, patience_s):g}",
    }
    return Artefact("nginx/nginx.conf", fill_text("nginx.conf.j2", values))

"""What stands beside the project's own containers in Compose: NGINX, PostgreSQL, Redis and Prometheus, with limits."""

from __future__ import annotations

from loopwright.planning.export.nginx import GRPC_LISTEN, LISTEN
from loopwright.planning.export.quantity import MIB, memory

Service = dict[str, object]

SMALL_CPUS, SMALL_MEMORY = 0.5, 512 * MIB
STORE_CPUS, STORE_MEMORY = 1.0, 1024 * MIB
POSTGRES, REDIS, NGINX, PROMETHEUS = "postgres:16", "redis:7", "nginx:1.27", "prom/prometheus:v3.1.0"


def limits(
    cpus: float, memory_bytes: float, *, replicas: int = 1, devices: list[dict[str, object]] | None = None
) -> dict[str, object]:
    """Return how many there are, and what each may take, which is set aside for it as well.

    Compose's ``M`` is 2^20 bytes.
    """
    amounts: dict[str, object] = {"cpus": f"{cpus:.3f}", "memory": memory(memory_bytes).replace("Mi", "M")}
    reserved = amounts if devices is None else {**amounts, "devices": devices}
    return {"replicas": replicas, "resources": {"limits": amounts, "reservations": dict(reserved)}}


def proxy() -> Service:
    """Return NGINX before the servers; gRPC is open to this machine only."""
    return {
        "image": NGINX,
        "restart": "unless-stopped",
        "ports": [f"{LISTEN}:{LISTEN}", f"127.0.0.1:{GRPC_LISTEN}:{GRPC_LISTEN}"],
        "volumes": ["./nginx/nginx.conf:/etc/nginx/nginx.conf:ro"],
        "depends_on": {"server": {"condition": "service_healthy"}},
        "healthcheck": _health(["CMD", "curl", "-sf", f"http://127.0.0.1:{LISTEN}/livez"]),
        "deploy": limits(SMALL_CPUS, SMALL_MEMORY),
    }


def postgres() -> Service:
    """Return the store of facts."""
    return {
        "image": POSTGRES,
        "restart": "unless-stopped",
        "environment": {
            "POSTGRES_USER": "loopwright",
            "POSTGRES_DB": "loopwright",
            "POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:?set it to a long random text}",
        },
        "volumes": ["facts:/var/lib/postgresql/data"],
        "healthcheck": _health(["CMD", "pg_isready", "-U", "loopwright"]),
        "deploy": limits(STORE_CPUS, STORE_MEMORY),
    }


def redis() -> Service:
    """Return the online store; it writes to disk what it was told every second."""
    return {
        "image": REDIS,
        "restart": "unless-stopped",
        "command": ["redis-server", "--appendonly", "yes", "--appendfsync", "everysec"],
        "volumes": ["online:/data"],
        "healthcheck": _health(["CMD", "redis-cli", "ping"]),
        "deploy": limits(STORE_CPUS, STORE_MEMORY),
    }


def prometheus() -> Service:
    """Return what watches the servers, open to this machine only."""
    return {
        "image": PROMETHEUS,
        "restart": "unless-stopped",
        "ports": ["127.0.0.1:9090:9090"],
        "secrets": ["serving_token"],
        "volumes": ["./prometheus:/etc/prometheus:ro", "metrics:/prometheus"],
        "deploy": limits(SMALL_CPUS, SMALL_MEMORY),
    }


def _health(test: list[str]) -> dict[str, object]:
    return {"test": test, "interval": "10s", "timeout": "3s", "retries": 3}

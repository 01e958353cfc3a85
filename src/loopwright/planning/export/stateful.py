"""PostgreSQL and Redis in a cluster, where the plan has them on machines of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.planning.export.compose_services import POSTGRES, REDIS, STORE_CPUS, STORE_MEMORY
from loopwright.planning.export.pods import labels, resources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.planning.export.blueprint import Blueprint
    from loopwright.planning.export.pods import Made

_POSTGRES_PORT, _REDIS_PORT, _STORE_USER = 5432, 6379, 999
_REDIS_DISK_GB = 10.0


def postgres(blueprint: Blueprint) -> list[Made]:
    """Return PostgreSQL with the disk that the plan has: twice its facts, for its log and for tidying up."""
    machine, is_planned = blueprint.database_machine, blueprint.database == "own"
    needs = resources(machine.vcpus, machine.memory_bytes) if is_planned else resources(STORE_CPUS, STORE_MEMORY)
    password = {"secretKeyRef": {"name": "loopwright", "key": "POSTGRES_PASSWORD"}}
    variables: list[Made] = [
        {"name": "POSTGRES_USER", "value": "loopwright"},
        {"name": "POSTGRES_DB", "value": "loopwright"},
        {"name": "PGDATA", "value": "/var/lib/postgresql/data/facts"},
        {"name": "POSTGRES_PASSWORD", "valueFrom": password},
    ]
    return _store(
        blueprint, "postgres", POSTGRES, _POSTGRES_PORT, needs, 2 * blueprint.database_gb,
        mount="/var/lib/postgresql/data", probe=["pg_isready", "-U", "loopwright"], env=variables, args=(),
    )  # fmt: skip


def redis(blueprint: Blueprint) -> list[Made]:
    """Return Redis; it writes what it was told to disk every second."""
    args = ["redis-server", "--appendonly", "yes", "--appendfsync", "everysec"]
    needs = resources(STORE_CPUS, STORE_MEMORY)
    return _store(
        blueprint, "redis", REDIS, _REDIS_PORT, needs, _REDIS_DISK_GB,
        mount="/data", probe=["redis-cli", "ping"], env=(), args=args,
    )  # fmt: skip


def _store(
    blueprint: Blueprint,
    name: str,
    image: str,
    port: int,
    needs: dict[str, dict[str, str]],
    gigabytes: float,
    *,
    mount: str,
    probe: Sequence[str],
    env: Sequence[Made],
    args: Sequence[str],
) -> list[Made]:
    own = labels(blueprint, name)
    checked = {"exec": {"command": list(probe)}, "periodSeconds": 5, "timeoutSeconds": 3}
    made: Made = {
        "name": name,
        "image": image,
        **({"args": list(args)} if args else {}),
        **({"env": list(env)} if env else {}),
        "ports": [{"name": name, "containerPort": port}],
        "resources": needs,
        "readinessProbe": checked,
        "livenessProbe": {**checked, "initialDelaySeconds": 30, "failureThreshold": 6},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "data", "mountPath": mount}],
    }
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _STORE_USER,
            "runAsGroup": _STORE_USER,
            "fsGroup": _STORE_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [made],
    }
    size = {"requests": {"storage": f"{max(1, round(gigabytes))}Gi"}}
    disk = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": size}}
    stateful: Made = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "labels": own},
        "spec": {
            "serviceName": name,
            "replicas": 1,
            "selector": {"matchLabels": own},
            "template": {"metadata": {"labels": own}, "spec": spec},
            "volumeClaimTemplates": [disk],
        },
    }
    service: Made = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": own},
        "spec": {"clusterIP": "None", "selector": own, "ports": [{"name": name, "port": port, "targetPort": name}]},
    }
    return [stateful, service]

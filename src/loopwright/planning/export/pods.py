"""Pods of a project: their containers, probes, limits, rights and places.

Sources: the Kubernetes documentation (pod lifecycle, probes, sidecar containers, Pod Security Standards "restricted",
topology spread constraints, well-known labels).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loopwright.planning.export.environment import DRAIN_S, GRPC_PORT, HOME, HTTP_PORT, USER_ID
from loopwright.planning.export.quantity import MIB, cpu, memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.planning.export.blueprint import Blueprint, Machine
    from loopwright.planning.export.fleet import Fleet
    from loopwright.planning.option import Purchase

Made = dict[str, object]

PRE_STOP_S = 5
"""Before SIGTERM, for every balancer to have left the pod out."""
GRACE_S = math.ceil(PRE_STOP_S + DRAIN_S + 14)
"""With what the sidecar may take to bring the last of the log into the lake."""
SIDECAR_CPUS, SIDECAR_MEMORY = 0.05, 384 * MIB
CPU_SHARE = 0.9
_ALLOCATABLE = 0.9  # of a machine's memory; the rest is the kubelet's and the system's
_SPOT: Mapping[str, tuple[str, str]] = {
    "aws": ("eks.amazonaws.com/capacityType", "SPOT"),
    "gcp": ("cloud.google.com/gke-spot", "true"),
    "azure": ("kubernetes.azure.com/scalesetpriority", "spot"),
}


def labels(blueprint: Blueprint, component: str) -> dict[str, str]:
    """Return the recommended labels of one component."""
    return {
        "app.kubernetes.io/name": "loopwright",
        "app.kubernetes.io/instance": blueprint.name,
        "app.kubernetes.io/component": component,
    }


def resources(
    cpus: float, memory_bytes: float, *, most_cpus: float | None = None, accelerators: int = 0
) -> dict[str, dict[str, str]]:
    """Return what is set aside, and the most; memory is never overcommitted."""
    requests = {"cpu": cpu(cpus), "memory": memory(memory_bytes)}
    limits = {"cpu": cpu(cpus if most_cpus is None else most_cpus), "memory": memory(memory_bytes)}
    if accelerators:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(accelerators)
    return {"requests": requests, "limits": limits}


def container(
    name: str,
    image: str,
    args: Sequence[str],
    needs: Mapping[str, object],
    *,
    extra: Mapping[str, object] | None = None,
) -> Made:
    """Return a container of the project's image: settings and secrets as variables, no rights."""
    made: Made = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": list(args),
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "loopwright"}}],
        "resources": needs,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "state", "mountPath": HOME}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    return made | dict(extra or {})


def pod(
    containers: Sequence[Made],
    *,
    purchase: Purchase,
    provider: str,
    instance_type: str,
    state: Made,
    init: Sequence[Made] = (),
    spot_first: bool = True,
    extra: Mapping[str, object] | None = None,
) -> Made:
    """Return the spec of a pod without rights, on the machines that the plan has for it where there are some."""
    made: Made = {
        "serviceAccountName": "loopwright",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"initContainers": list(init)} if init else {}),
        "containers": list(containers),
        "volumes": [{"name": "state", **state}, {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}}],
    }
    return made | _place(purchase, provider, instance_type, spot_first=spot_first) | dict(extra or {})


def server_container(fleet: Fleet, image: str) -> Made:
    """Return the serving container: one worker, ready once its models are loaded, given time to drain."""
    accelerators = 1 if fleet.is_gpu else 0
    needs = resources(fleet.vcpus, fleet.memory_bytes, most_cpus=fleet.vcpus / CPU_SHARE, accelerators=accelerators)
    return container("server", image, ["up", "--only", "server"], needs, extra=served(fleet))


def served(fleet: Fleet) -> Made:
    """Return ports, probes and the pause before the end of a container that serves."""

    def probe(path: str, period_s: int, failures: int) -> Made:
        at = {"path": path, "port": "http"}
        return {"httpGet": at, "periodSeconds": period_s, "timeoutSeconds": 2, "failureThreshold": failures}

    start_tries = max(30, math.ceil(10 * fleet.load_s / 2))
    return {
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
        ],
        "startupProbe": probe("/livez", 2, start_tries),
        "readinessProbe": probe("/readyz", 2, 2),
        "livenessProbe": probe("/livez", 10, 3),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(PRE_STOP_S)]}}},
    }


def crowding(fleet: Fleet) -> str:
    """Say where a machine holds fewer pods than the plan has workers on it; empty where it holds them."""
    pod_bytes = fleet.memory_bytes + SIDECAR_MEMORY
    free = fleet.machine_memory_bytes * _ALLOCATABLE
    if free <= 0 or fleet.workers_per_node * pod_bytes <= free:
        return ""
    fits = max(0, math.floor(free / pod_bytes))
    return (
        f"A pod takes {pod_bytes / 1e9:.2f} GB with what carries its log, so a {fleet.instance_type} holds {fits} of "
        f"the plan's {fleet.workers_per_node} workers; the cluster needs more machines than the plan, or larger ones."
    )


def log_sidecar(image: str) -> Made:
    """Return what carries the pod's prediction log into the lake; it ends after the server, as sidecars do."""
    needs = resources(SIDECAR_CPUS, SIDECAR_MEMORY, most_cpus=1.0)
    return container("log", image, ["up", "--only", "log"], needs, extra={"restartPolicy": "Always"})


def spread(blueprint: Blueprint, component: str) -> list[Made]:
    """Return the wish for pods in different zones and on different machines; a wish, so that none waits for it."""
    selector = {"matchLabels": labels(blueprint, component)}
    return [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector}
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def machine_pod(
    containers: Sequence[Made], machine: Machine, provider: str, state: Made, extra: Mapping[str, object] | None = None
) -> Made:
    """Return a pod for a machine of the plan."""
    return pod(
        containers, purchase=machine.purchase, provider=provider, instance_type=machine.type, state=state, extra=extra
    )


def _place(purchase: Purchase, provider: str, instance_type: str, *, spot_first: bool) -> Made:
    """Prefer the planned machines; where the cluster has none of them, run on what there is.

    Servers fill the machines on demand first, of which the plan has as many as it always runs, and go on to spot
    machines; a job prefers spot.
    """
    wanted: list[Made] = []
    if instance_type:
        wanted.append(_preferred(100, "node.kubernetes.io/instance-type", "In", instance_type))
    spot = _SPOT.get(provider)
    found: Made = {}
    if purchase == "spot" and spot is not None:
        key, value = spot
        wanted.append(_preferred(50, key, "In" if spot_first else "NotIn", value))
        found["tolerations"] = [{"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}]
    if wanted:
        found["affinity"] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wanted}}
    return found


def _preferred(weight: int, key: str, operator: str, value: str) -> Made:
    chosen = {"key": key, "operator": operator, "values": [value]}
    return {"weight": weight, "preference": {"matchExpressions": [chosen]}}

"""What runs all the time in Kubernetes: the servers, the one that watches and decides, and the streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.planning.export.environment import stream_name
from loopwright.planning.export.pods import (
    GRACE_S,
    container,
    labels,
    log_sidecar,
    machine_pod,
    pod,
    resources,
    served,
    server_container,
    spread,
)
from loopwright.planning.export.quantity import slug

if TYPE_CHECKING:
    from loopwright.planning.export.blueprint import Blueprint, Stream
    from loopwright.planning.export.fleet import Fleet
    from loopwright.planning.export.pods import Made

STATE_GB = 30


def deployment(blueprint: Blueprint, component: str, spec: Made, **settings: object) -> Made:
    """Return a Deployment of pods with the labels of a component."""
    own = labels(blueprint, component)
    template = {"metadata": {"labels": own}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": component, "labels": own},
        "spec": {**settings, "selector": {"matchLabels": own}, "template": template},
    }


def servers(blueprint: Blueprint, fleet: Fleet, image: str) -> Made:
    """Return the servers: one worker to a pod; without autoscaling as many as the plan has at most."""
    spec = pod(
        [server_container(fleet, image)],
        init=[log_sidecar(image)],
        purchase=fleet.purchase,
        provider=blueprint.provider,
        instance_type=fleet.instance_type,
        state={"emptyDir": {"sizeLimit": "10Gi"}},
        spot_first=False,
        extra={
            "terminationGracePeriodSeconds": GRACE_S,
            "topologySpreadConstraints": spread(blueprint, "server"),
        },
    )
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    fixed = {} if fleet.is_autoscaled else {"replicas": fleet.max_replicas}
    return deployment(
        blueprint, "server", spec, **fixed, strategy=rolling, minReadySeconds=5, progressDeadlineSeconds=900
    )


def control(blueprint: Blueprint, image: str) -> Made:
    """Return what ingests, watches and decides: one at a time, with a folder that stays.

    It serves as well where requests are answered, so that outcomes and pushed rows reach the event log beside it.
    """
    fleet = blueprint.fleet
    args = ["up"]
    if fleet is None or blueprint.streams:
        args += ["--only", "controller", *(["--only", "server"] if fleet is not None else [])]
    size = blueprint.control.memory_bytes + (0.0 if fleet is None else fleet.memory_bytes)
    needs = resources(blueprint.control.vcpus, size)
    extra: Made = {} if fleet is None else served(fleet)
    extra["env"] = [{"name": "LOOPWRIGHT_SERVING_WORKERS", "value": "1"}]
    spec = machine_pod(
        [container("control", image, args, needs, extra=extra)],
        blueprint.control,
        blueprint.provider,
        {"persistentVolumeClaim": {"claimName": "control-state"}},
        {"terminationGracePeriodSeconds": GRACE_S},
    )
    return deployment(blueprint, "control", spec, replicas=1, strategy={"type": "Recreate"})


def stream(blueprint: Blueprint, one: Stream, image: str) -> Made:
    """Return the process of a stream: one, as it answers all partitions."""
    needs = resources(one.machine.vcpus, one.machine.memory_bytes)
    args = ["up", "--only", f"stream:$({stream_name(one)})"]
    spec = machine_pod(
        [container("stream", image, args, needs)],
        one.machine,
        blueprint.provider,
        {"emptyDir": {"sizeLimit": "10Gi"}},
        {"terminationGracePeriodSeconds": GRACE_S},
    )
    return deployment(blueprint, f"stream-{slug(one.name)}", spec, replicas=1, strategy={"type": "Recreate"})


def claim(name: str, gigabytes: float) -> Made:
    """Return a disk for one pod."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": f"{max(1, round(gigabytes))}Gi"}},
        },
    }

"""Terraform: bucket with its rules, machines or a group of them behind a load balancer, for the cloud of the plan.

The text has variables for what only the person knows (networks, image, names of secrets) and no secret: machines read
those at their start, with their own identity. Nothing is run here; `terraform plan` says what it would make.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, cast

from loopwright.core.errors import DeclarationError
from loopwright.planning.export.alerts import rules
from loopwright.planning.export.artefact import Artefact
from loopwright.planning.export.compose_services import POSTGRES
from loopwright.planning.export.dockerfile import dockerfile, dockerignore
from loopwright.planning.export.environment import (
    DRAIN_S,
    HOME,
    HTTP_PORT,
    USER_ID,
    cloud_settings,
    extras_of,
    settings_of,
)
from loopwright.planning.export.hcl_text import hcl_text
from loopwright.planning.export.kubernetes import bucket_name
from loopwright.planning.export.lifecycle import azure_rules, gcs_rules, s3_rules
from loopwright.planning.export.machine_start import STARTS
from loopwright.planning.export.quantity import MIB
from loopwright.planning.export.template import fill_text
from loopwright.planning.purchase import NODE_DISK_GB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.planning.export.blueprint import Blueprint
    from loopwright.planning.export.fleet import Fleet

_ZONES: Mapping[str, tuple[str, ...]] = {"gcp": ("a", "b", "c")}
_AZURE_ACTIONS = {
    "tierToCool": "tier_to_cool_after_days_since_modification_greater_than",
    "tierToCold": "tier_to_cold_after_days_since_modification_greater_than",
    "tierToArchive": "tier_to_archive_after_days_since_modification_greater_than",
    "delete": "delete_after_days_since_modification_greater_than",
}
_GCP_WITH_GPU = re.compile(r"(?P<machine>[\w-]+)\+(?P<count>\d+)x(?P<name>[\w-]+)")
_STOP_S = math.ceil(DRAIN_S + 4)


def terraform(blueprint: Blueprint) -> tuple[Artefact, ...]:
    """Return the files for the plan's cloud.

    Raises:
        DeclarationError: If the plan chose no cloud that Terraform text is made for.
    """
    if blueprint.provider not in STARTS:
        raise DeclarationError(
            f"There is no Terraform text for '{blueprint.provider}'.", hint=f"Plan for one of {', '.join(STARTS)}."
        )
    values = _values(blueprint)
    main = hcl_text(fill_text(f"{blueprint.provider}.tf.j2", values))
    found = [Artefact("terraform/main.tf", main)]
    found.append(Artefact("terraform/control.sh.tftpl", fill_text("control.sh.j2", values | _control(blueprint))))
    if blueprint.fleet is not None and is_group(blueprint.fleet):
        found.append(Artefact("terraform/server.sh.tftpl", fill_text("server.sh.j2", values | _server(blueprint))))
    extras = extras_of(has_postgres=blueprint.database != "embedded", blueprint=blueprint)
    return (*found, rules(blueprint), dockerfile(extras), dockerignore())


def is_group(fleet: Fleet) -> bool:
    """Whether the servers are machines of their own, behind a load balancer."""
    return fleet.packaging != "vm"


def target_node_rps(fleet: Fleet) -> float:
    """Return the requests per second of one machine at which another is due: at the planned peak there are the most."""
    return min(fleet.node_rps, fleet.sized_rps / fleet.max_nodes)


def node_cpu_target(fleet: Fleet) -> int:
    """Return the percentage of a machine's processors that its threads use when workers are as busy as planned."""
    vcpus = fleet.node_vcpus / 0.9
    return max(10, min(90, round(100 * fleet.target_busy * min(1.0, fleet.threads * fleet.workers_per_node / vcpus))))


def secret_names(blueprint: Blueprint) -> dict[str, str]:
    """Return the variables that name secrets, with what each secret is."""
    named = (
        ("token_secret", "the token that callers present", blueprint.fleet is not None),
        ("metadata_secret", "the URL of PostgreSQL, with its password", blueprint.database != "embedded"),
        ("database_secret", "the password of PostgreSQL, as in that URL", blueprint.database == "own"),
        ("stream_secret", "the URL of the event log, kafka://...", bool(blueprint.streams)),
    )
    return {name: what for name, what, is_needed in named if is_needed}


def _values(blueprint: Blueprint) -> dict[str, object]:
    fleet, provider = blueprint.fleet, blueprint.provider
    stored = {"aws": s3_rules, "gcp": gcs_rules, "azure": azure_rules}[provider](blueprint.storage)
    control_type, architecture = _control_machine(blueprint)
    machine, count, accelerator = _machine_type(blueprint)
    start = STARTS[provider]
    return {
        "name": blueprint.name,
        "bucket": bucket_name(blueprint),
        "region": blueprint.region,
        "usd_per_month": blueprint.usd_per_month,
        "fleet": fleet,
        "is_group": fleet is not None and is_group(fleet),
        "scales": fleet is not None and fleet.is_autoscaled and not fleet.is_gpu,
        "groups": [] if fleet is None else _groups(fleet),
        "machine_type": machine,
        "accelerator": accelerator,
        "accelerators": count,
        "architecture": _aws_architecture("x86" if fleet is None else fleet.architecture),
        "control_architecture": architecture,
        "control_type": control_type,
        "control_disk_gb": math.ceil(NODE_DISK_GB + 2 * blueprint.database_gb),
        "disk_gb": math.ceil(NODE_DISK_GB),
        "rules": next(iter(stored.values())),
        "azure_actions": _AZURE_ACTIONS,
        "secrets": secret_names(blueprint),
        "zones": _ZONES.get(provider, ()),
        "port": HTTP_PORT,
        "stop_s": _STOP_S,
        "start_s": 120 if fleet is None else math.ceil(90 + 2 * fleet.load_s),
        "scale_down_s": 300 if fleet is None else round(fleet.scale_down_s),
        "target_node_rps": 0.0 if fleet is None else target_node_rps(fleet),
        "cpu_target": 50 if fleet is None else node_cpu_target(fleet),
        "install": start.install,
        "secret": start.secret,
        "has_streams": bool(blueprint.streams),
        "home": HOME,
        "user": USER_ID,
    }


def _server(blueprint: Blueprint) -> dict[str, object]:
    fleet = cast("Fleet", blueprint.fleet)
    return {
        "settings": _settings(blueprint, fleet.workers_per_node),
        "cpus": f"{fleet.node_vcpus:.3f}",
        "memory": f"{math.ceil(fleet.node_memory_bytes / MIB)}m",
        "is_gpu": fleet.is_gpu,
    }


def _control(blueprint: Blueprint) -> dict[str, object]:
    fleet = blueprint.fleet
    command, workers = "up", 1
    if fleet is not None and is_group(fleet):
        command = "up --only controller --only server"
    elif fleet is not None:
        workers = fleet.workers_per_node
    return {
        "settings": _settings(blueprint, workers),
        "command": command,
        "serves": fleet is not None,
        "database": blueprint.database,
        "postgres": POSTGRES,
    }


def _settings(blueprint: Blueprint, workers: int) -> dict[str, str]:
    found = settings_of(blueprint, workers=workers) | cloud_settings(blueprint, "${bucket}")
    return found | ({"AWS_REGION": "${region}"} if blueprint.provider == "aws" else {})


def _control_machine(blueprint: Blueprint) -> tuple[str, str]:
    """Return what the controlling machine is: the only one, that of PostgreSQL, or one like those that score."""
    fleet = blueprint.fleet
    if fleet is not None and not is_group(fleet):
        return fleet.instance_type, fleet.architecture
    machines = [blueprint.database_machine] if blueprint.database == "own" else []
    machines += [one.machine for one in blueprint.streams]
    machines += [one.machine for one in blueprint.jobs if not one.machine.accelerators]
    for machine in machines:
        if machine.type:
            return machine.type, machine.architecture
    if fleet is not None and not fleet.is_gpu:
        return fleet.instance_type, fleet.architecture
    return {"aws": "t3.medium", "gcp": "e2-medium", "azure": "Standard_B2s"}[blueprint.provider], "x86"


def _machine_type(blueprint: Blueprint) -> tuple[str, int, str]:
    """Return the servers' machine, and the accelerators that are put into it; most come with theirs."""
    fleet = blueprint.fleet
    if fleet is None:
        return "", 0, ""
    found = _GCP_WITH_GPU.fullmatch(fleet.instance_type)
    if found is None:
        return fleet.instance_type, 0, fleet.accelerator
    return found["machine"], int(found["count"]), f"nvidia-tesla-{found['name'].lower()}"


def _groups(fleet: Fleet) -> list[dict[str, object]]:
    """Return the groups of a cloud whose groups are bought in one way: those that always run, and the rest on spot."""
    if fleet.purchase != "spot" or not fleet.is_autoscaled:
        return [{"name": "server", "least": fleet.min_nodes, "most": fleet.max_nodes, "is_spot": False}]
    return [
        {"name": "server", "least": fleet.min_nodes, "most": fleet.min_nodes, "is_spot": False},
        {"name": "spot", "least": 0, "most": fleet.max_nodes - fleet.min_nodes, "is_spot": True},
    ]


def _aws_architecture(architecture: str) -> str:
    return "arm64" if architecture == "arm" else "x86_64"

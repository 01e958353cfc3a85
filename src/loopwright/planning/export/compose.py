"""Compose: the whole plan on one machine, in containers with limits, with NGINX before the servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.planning.export.alerts import rules, scraping
from loopwright.planning.export.artefact import Artefact
from loopwright.planning.export.compose_services import (
    SMALL_CPUS,
    SMALL_MEMORY,
    STORE_CPUS,
    STORE_MEMORY,
    Service,
    limits,
    postgres,
    prometheus,
    proxy,
    redis,
)
from loopwright.planning.export.dockerfile import HEALTH, dockerfile, dockerignore
from loopwright.planning.export.environment import (
    DRAIN_S,
    HOME,
    HTTP_PORT,
    command_of,
    extras_of,
    settings_of,
    settings_of_job,
    stream_name,
)
from loopwright.planning.export.nginx import nginx
from loopwright.planning.export.quantity import slug
from loopwright.planning.export.yaml_text import yaml_text

if TYPE_CHECKING:
    from loopwright.planning.export.blueprint import Blueprint, Job
    from loopwright.planning.export.fleet import Fleet

_TOKEN = "${LOOPWRIGHT_SERVING_TOKEN:?set it to a long random text}"  # noqa: S105 - where it is read from
_PASSWORD = "${POSTGRES_PASSWORD:?set it to a long random text}"  # noqa: S105 - as above


def compose(blueprint: Blueprint, *, image: str) -> tuple[Artefact, ...]:
    """Return the files for one machine: Dockerfile, Compose, NGINX, Prometheus.

    A server container is what one planned machine runs; there are as many as the plan has at most, spare ones included,
    as one machine scales nothing by itself.

    Args:
        blueprint: What is made.
        image: The project's image.
    """
    fleet = blueprint.fleet
    has_postgres = blueprint.database != "embedded"
    services: dict[str, Service] = {}
    if fleet is not None:
        services["server"] = _server(blueprint, fleet, image)
        services["proxy"] = proxy()
    services["control"] = _worker(
        blueprint,
        image,
        ["up", "--only", "controller"],
        cpus=blueprint.control.vcpus,
        memory_bytes=blueprint.control.memory_bytes,
    )
    for stream in blueprint.streams:
        services[f"stream-{slug(stream.name)}"] = _worker(
            blueprint,
            image,
            ["up", "--only", f"stream:${{{stream_name(stream)}:-{stream.name}}}"],
            cpus=stream.machine.vcpus,
            memory_bytes=stream.machine.memory_bytes,
        )
    for job in blueprint.jobs:
        services[f"job-{slug(job.name)}"] = _job(blueprint, image, job)
    if has_postgres:
        services["postgres"] = postgres()
    if blueprint.has_online_store:
        services["redis"] = redis()
    services["prometheus"] = prometheus()
    volumes: dict[str, object] = {"state": {}, "metrics": {}}
    volumes |= {"facts": {}} if has_postgres else {}
    volumes |= {"online": {}} if blueprint.has_online_store else {}
    value = {
        "name": blueprint.name,
        "services": services,
        "volumes": volumes,
        "secrets": {"serving_token": {"environment": "LOOPWRIGHT_SERVING_TOKEN"}},
    }
    extras = extras_of(has_postgres=has_postgres, blueprint=blueprint)
    made = [
        Artefact("compose.yaml", yaml_text(value, comment=_comment(blueprint, has_postgres=has_postgres))),
        dockerfile(extras),
        dockerignore(),
        rules(blueprint),
        scraping(blueprint, "server"),
    ]
    return (*made, nginx(blueprint, ["server"])) if fleet is not None else tuple(made)


def machine_of(blueprint: Blueprint) -> tuple[float, float]:
    """Return the processors and the memory that the containers of one machine may take together, jobs left out."""
    fleet = blueprint.fleet
    cpus = blueprint.control.vcpus + 2 * SMALL_CPUS + sum(one.machine.vcpus for one in blueprint.streams)
    size = (
        blueprint.control.memory_bytes + 2 * SMALL_MEMORY + sum(one.machine.memory_bytes for one in blueprint.streams)
    )
    if fleet is not None:
        cpus, size = cpus + fleet.max_nodes * fleet.node_vcpus, size + fleet.max_nodes * fleet.node_memory_bytes
    for is_there in (blueprint.database != "embedded", blueprint.has_online_store):
        cpus, size = cpus + is_there * STORE_CPUS, size + is_there * STORE_MEMORY
    return cpus, size


def _comment(blueprint: Blueprint, *, has_postgres: bool) -> str:
    cpus, size = machine_of(blueprint)
    lines = [
        f"{blueprint.name}: everything on one machine with at least {cpus:.3g} processors and {size / 1e9:.3g} GB.",
        "Start it with LOOPWRIGHT_SERVING_TOKEN" + (" and POSTGRES_PASSWORD" if has_postgres else "") + " set:",
        "  docker compose up --build --detach",
    ]
    lines += [f"  docker compose run --rm job-{slug(job.name)}   # by cron: {job.schedule}" for job in blueprint.jobs]
    return "\n".join(lines)


def _server(blueprint: Blueprint, fleet: Fleet, image: str) -> Service:
    found = _worker(
        blueprint, image, ["up", "--only", "server"], cpus=fleet.node_vcpus, memory_bytes=fleet.node_memory_bytes,
        replicas=fleet.max_nodes,
    )  # fmt: skip
    start_s = max(30, round(10 * fleet.load_s))
    found["healthcheck"] = {
        "test": ["CMD", "python", "-c", HEALTH.format(port=HTTP_PORT)],
        "interval": "10s",
        "timeout": "3s",
        "retries": 3,
        "start_period": f"{start_s}s",
    }
    if fleet.is_gpu:
        devices: list[dict[str, object]] = [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
        found["deploy"] = limits(fleet.node_vcpus, fleet.node_memory_bytes, replicas=fleet.max_nodes, devices=devices)
    return found


def _worker(
    blueprint: Blueprint, image: str, command: list[str], *, cpus: float, memory_bytes: float, replicas: int = 1
) -> Service:
    """Return a container of the project's image; all of them share one folder of state, as processes of ``up`` do."""
    has_postgres = blueprint.database != "embedded"
    workers = 1 if blueprint.fleet is None else blueprint.fleet.workers_per_node
    variables = settings_of(blueprint, workers=workers) | {"LOOPWRIGHT_STORE_URL": f"{HOME}/store"}
    variables["LOOPWRIGHT_SERVING_TOKEN"] = _TOKEN
    if blueprint.streams:
        variables["LOOPWRIGHT_STREAM_URL"] = "${LOOPWRIGHT_STREAM_URL:?such as kafka://broker:9092/project}"
    needed: dict[str, object] = {}
    if has_postgres:
        variables["LOOPWRIGHT_METADATA_URL"] = (
            "postgresql://loopwright:${POSTGRES_PASSWORD:?set it}@postgres/loopwright"
        )
        needed["postgres"] = {"condition": "service_healthy"}
    if blueprint.has_online_store:
        needed["redis"] = {"condition": "service_healthy"}
    found: Service = {
        "image": image,
        "build": {"context": "${PROJECT:-..}", "dockerfile": "${DEPLOY:-deploy}/Dockerfile"},
        "command": command,
        "init": True,
        "restart": "unless-stopped",
        "stop_grace_period": f"{DRAIN_S + 4:g}s",
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108 - inside a container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "environment": variables,
        "volumes": [f"state:{HOME}"],
        "healthcheck": {"disable": True},
        "deploy": limits(cpus, memory_bytes, replicas=replicas),
    }
    return found | ({"depends_on": needed} if needed else {})


def _job(blueprint: Blueprint, image: str, job: Job) -> Service:
    """Return a job: it is run by hand or by cron, and ends."""
    words = [word if name is None else f"${{{name}:-{word}}}" for word, name in command_of(job)]
    found = _worker(blueprint, image, words, cpus=job.machine.vcpus, memory_bytes=job.machine.memory_bytes)
    found["profiles"] = ["jobs"]
    found["restart"] = "no"
    variables = found["environment"]
    assert isinstance(variables, dict)  # noqa: S101 - made above
    variables |= settings_of_job(job)
    return found

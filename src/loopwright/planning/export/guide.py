"""The README of an export: what was planned, what the files have, what to give, and how to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.planning.export.artefact import Artefact
from loopwright.planning.export.compose import machine_of
from loopwright.planning.export.doors import FRIEND
from loopwright.planning.export.kubernetes import bucket_name, secret_names
from loopwright.planning.export.terraform import secret_names as terraform_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.planning.export.blueprint import Blueprint
    from loopwright.planning.export.fleet import Fleet
    from loopwright.planning.export.target import Target


def guide(blueprint: Blueprint, target: Target, *, image: str) -> Artefact:
    """Return the README."""
    steps = {"compose": _compose, "kubernetes": _kubernetes, "terraform": _terraform}[target](blueprint, image)
    lines = [
        f"# {blueprint.name}: {target}",
        "",
        f"Made from a plan for {blueprint.provider} {blueprint.region}, about ${blueprint.usd_per_month:,.2f} a month.",
        "Make it anew when the plan changes: these numbers are the plan's, and alerts watch whether they still hold.",
        "",
        *_numbers(blueprint),
        *([*(f"- {note}" for note in blueprint.notes), ""] if blueprint.notes else []),
        *steps,
    ]
    return Artefact("README.md", "\n".join(lines) + "\n")


def _numbers(blueprint: Blueprint) -> Iterator[str]:
    rows = [("| what | planned |"), ("|---|---|")]
    fleet = blueprint.fleet
    if fleet is not None:
        rows += [f"| {what} | {value} |" for what, value in _fleet(fleet)]
    for job in blueprint.jobs:
        what = "training" if job.kind == "training" else f"scoring '{job.name}'"
        machine = f"{job.machines} x {job.machine.type or 'a machine of your own'}"
        rows.append(
            f"| {what} | {job.runs_per_month:.3g} a month (`{job.schedule}` UTC), {job.hours:.2g} h on {machine} |"
        )
    rows += [f"| stream '{one.name}' | {one.sized_per_s:,.0f} events/s |" for one in blueprint.streams]
    rows.append(f"| facts | {blueprint.database} database, {blueprint.database_gb:g} GB |")
    yield from (*rows, "")


def _fleet(fleet: Fleet) -> Iterator[tuple[str, str]]:
    yield "peak, bursts included", f"{fleet.sized_rps:g} requests/s within {1000 * fleet.limit_s:g} ms"
    yield "one worker carries", f"{fleet.worker_rps:.3g} requests/s ({fleet.service})"
    yield "needed at the peak", f"{fleet.servers_needed} workers"
    yield (
        "machines",
        f"{fleet.min_nodes} to {fleet.max_nodes} x {fleet.instance_type}, {fleet.workers_per_node} workers each",
    )
    yield "workers", f"{fleet.min_replicas} to {fleet.max_replicas}, spare ones included"
    yield "one more is due at", f"{fleet.target_in_flight:.3g} requests in flight in each"


def _build(image: str) -> list[str]:
    return [
        "Build the image in the project's folder, with this folder inside it as `deploy`:",
        "",
        "```",
        f"docker build -f deploy/Dockerfile -t {image} .",
        "```",
        "",
    ]


def _compose(blueprint: Blueprint, image: str) -> list[str]:
    cpus, size = machine_of(blueprint)
    names = ["LOOPWRIGHT_SERVING_TOKEN", *(["POSTGRES_PASSWORD"] if blueprint.database != "embedded" else [])]
    names += ["LOOPWRIGHT_STREAM_URL"] if blueprint.streams else []
    return [
        "## Start",
        "",
        f"Everything runs on one machine with at least {cpus:.3g} processors and {size / 1e9:.3g} GB of memory.",
        "Jobs come on top while they run. Requests go to port 8080. `deploy/` is this folder; `DEPLOY` names another.",
        "",
        *_build(image),
        "```",
        *(f"export {name}=...   # a secret" for name in names),
        "docker compose -f deploy/compose.yaml up --detach",
        "docker compose -f deploy/compose.yaml run --rm control run   # the first turn: a model to serve",
        *_cron(blueprint),
        "```",
    ]


def _cron(blueprint: Blueprint) -> Iterator[str]:
    for job in blueprint.jobs:
        yield f"# cron: {job.schedule}   docker compose -f deploy/compose.yaml run --rm job-{job.name}"


def _kubernetes(blueprint: Blueprint, image: str) -> list[str]:
    known = secret_names(blueprint)
    options = " \\\n".join(f"  --from-literal={name}='{what}'" for name, what in known.items())
    found = [
        "## Start",
        "",
        f"The lake is in the bucket `{bucket_name(blueprint)}` (`LOOPWRIGHT_STORE_URL` in settings.yaml). The account",
        "`loopwright` needs the right to read and write it, which your cloud binds to it. Kubernetes must be 1.29 or",
        "later: the log is carried by a sidecar container.",
        "",
        *_build(image),
        "```",
        f"kubectl create namespace {blueprint.name}",
        f"kubectl create secret generic loopwright --namespace {blueprint.name} \\\n{options}",
        "kubectl apply -k deploy/kubernetes",
        f"kubectl exec --namespace {blueprint.name} deploy/control -- loopwright run   # the first turn",
        "kubectl apply -k deploy/kubernetes/monitoring   # where prometheus-operator is installed",
        "```",
        "",
    ]
    if blueprint.fleet is not None:
        found += [
            f"Namespaces that call (ingress controller, Prometheus) need the label `{FRIEND}=true`. The autoscaler's",
            "metric comes from prometheus-adapter with `monitoring/adapter-values.yaml`. Outcomes and pushed rows go",
            "to `control`, beside whose disk the event log lies; the Ingress knows.",
            "",
        ]
    return [
        *found,
        "Each CronJob has the machine and the time of the plan. A schedule that `loop.py` declares runs in `control`,",
        "with its resources: declare it in one of the two places.",
    ]


def _terraform(blueprint: Blueprint, image: str) -> list[str]:
    known = terraform_secrets(blueprint)
    found = [
        "## Start",
        "",
        *_build(image),
        "Push it where the machines find it, and put these secrets into your cloud's store:",
        "",
    ]
    found += [f"- `{name}`: {what}" for name, what in known.items()]
    found += [
        "",
        "```",
        "cd deploy/terraform",
        "terraform init",
        "terraform plan   # asks for networks and image",
        "```",
        "",
    ]
    if blueprint.provider == "azure" and blueprint.fleet is not None:
        found += ["Outcomes and pushed rows go to `control_address`, beside whose disk the event log lies.", ""]
    if blueprint.jobs:
        found += ["Trainings and scorings are not in these files: run them by cron on machines of the plan:", ""]
        found += [f"- `{job.schedule}`: {job.name}, on {job.machine.type}" for job in blueprint.jobs]
    return found

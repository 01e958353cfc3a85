"""Kubernetes: everything that the plan has, as objects that `kubectl apply -k` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.planning.export.alerts import rules
from loopwright.planning.export.artefact import Artefact
from loopwright.planning.export.cron_jobs import cron_jobs
from loopwright.planning.export.dockerfile import dockerfile, dockerignore
from loopwright.planning.export.doors import http_route, ingress, network_policies, service
from loopwright.planning.export.environment import cloud_settings, extras_of, score_names, settings_of, stream_name
from loopwright.planning.export.pods import labels
from loopwright.planning.export.scaling import autoscaler, disruption_budget
from loopwright.planning.export.stateful import postgres, redis
from loopwright.planning.export.watching import adapter_values, prometheus_rule, service_monitor
from loopwright.planning.export.workloads import STATE_GB, claim, control, servers, stream
from loopwright.planning.export.yaml_text import yaml_documents, yaml_text

if TYPE_CHECKING:
    from loopwright.planning.export.blueprint import Blueprint
    from loopwright.planning.export.pods import Made

_FOLDER = "kubernetes"


def kubernetes(blueprint: Blueprint, *, image: str, bucket: str = "", host: str = "") -> tuple[Artefact, ...]:
    """Return the files for a cluster.

    Args:
        blueprint: What is made.
        image: The project's image, where the cluster finds it.
        bucket: Of the lake; named after the project by default.
        host: The name under which the Ingress answers; empty for any, without encryption.
    """
    fleet = blueprint.fleet
    files: dict[str, list[Made]] = {
        "settings.yaml": [_account(blueprint), _settings(blueprint, bucket or bucket_name(blueprint))],
        "control.yaml": [
            claim("control-state", STATE_GB),
            control(blueprint, image),
            *([service(blueprint, "control")] if fleet is not None else []),
        ],
        "network.yaml": network_policies(blueprint),
    }
    if fleet is not None:
        files["server.yaml"] = [servers(blueprint, fleet, image), service(blueprint, "server")]
        scaled = [autoscaler(blueprint, fleet)] if fleet.is_autoscaled else []
        files["scaling.yaml"] = [*scaled, disruption_budget(blueprint, fleet)]
        files["ingress.yaml"] = [ingress(blueprint, host)]
    if blueprint.streams:
        files["streams.yaml"] = [stream(blueprint, one, image) for one in blueprint.streams]
    if blueprint.jobs:
        files["jobs.yaml"] = list(cron_jobs(blueprint, image))
    if blueprint.database != "managed":
        files["postgres.yaml"] = postgres(blueprint)
    if blueprint.has_online_store:
        files["redis.yaml"] = redis(blueprint)
    made = [Artefact(f"{_FOLDER}/{name}", yaml_documents(values)) for name, values in sorted(files.items())]
    made.append(_kustomization(_FOLDER, sorted(files), namespace=blueprint.name))
    watched = [prometheus_rule(blueprint), *([service_monitor(blueprint)] if fleet is not None else [])]
    made.append(Artefact(f"{_FOLDER}/monitoring/prometheus.yaml", yaml_documents(watched)))
    made.append(_kustomization(f"{_FOLDER}/monitoring", ["prometheus.yaml"], namespace=blueprint.name))
    if fleet is not None:
        comment = "Values for the chart of prometheus-adapter: the autoscaler's metric."
        made.append(Artefact(f"{_FOLDER}/monitoring/adapter-values.yaml", yaml_text(adapter_values(), comment=comment)))
        comment = "Instead of ingress.yaml, where a gateway is there: name it under parentRefs."
        made.append(Artefact(f"{_FOLDER}/gateway/route.yaml", yaml_text(http_route(blueprint, host), comment=comment)))
    extras = extras_of(has_postgres=True, blueprint=blueprint)
    return (*made, rules(blueprint), dockerfile(extras), dockerignore())


def bucket_name(blueprint: Blueprint) -> str:
    """Return what the bucket is called where nobody says; storage accounts take letters and digits only."""
    if blueprint.provider == "azure":
        return f"{blueprint.name.replace('-', '')[:20]}lake"
    return f"{blueprint.name}-lake"


def secret_names(blueprint: Blueprint) -> dict[str, str]:
    """Return the keys of the Secret ``loopwright``, which no file holds, with what each is."""
    address = "postgresql://loopwright:PASSWORD@postgres/loopwright"
    found = {"LOOPWRIGHT_METADATA_URL": address}
    if blueprint.database == "managed":
        found["LOOPWRIGHT_METADATA_URL"] = "postgresql://USER:PASSWORD@HOST/DATABASE of the managed PostgreSQL"
    else:
        found["POSTGRES_PASSWORD"] = "the same PASSWORD"  # noqa: S105 - a description
    if blueprint.fleet is not None:
        found["LOOPWRIGHT_SERVING_TOKEN"] = "a long random text, which callers present"  # noqa: S105 - a description
    if blueprint.streams:
        found["LOOPWRIGHT_STREAM_URL"] = "kafka://BROKER:9092/PREFIX"
    return found


def _account(blueprint: Blueprint) -> Made:
    """Return the account of the pods, to which the cloud's identity with access to the bucket is bound."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "loopwright", "labels": labels(blueprint, "control")},
        "automountServiceAccountToken": False,
    }


def _settings(blueprint: Blueprint, bucket: str) -> Made:
    data = settings_of(blueprint, workers=1) | cloud_settings(blueprint, bucket)
    for job in blueprint.jobs:
        if job.kind == "batch":
            data |= dict.fromkeys(score_names(job), job.name)
    data |= {stream_name(one): one.name for one in blueprint.streams}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "labels": labels(blueprint, "control")},
        "data": data,
    }


def _kustomization(folder: str, names: list[str], *, namespace: str) -> Artefact:
    value = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": names,
    }
    return Artefact(f"{folder}/kustomization.yaml", yaml_text(value))

"""Loopwright's settings inside containers: what is no secret as variables, and the names of the secrets.

Every name here is one that ``core/settings.py`` reads; a test loads them back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loopwright.planning.export.quantity import slug

if TYPE_CHECKING:
    from loopwright.planning.export.blueprint import Blueprint, Job, Stream

HTTP_PORT = 8642
GRPC_PORT = 8001
PROJECT = "/srv/project"
HOME = f"{PROJECT}/.loopwright"
USER_ID = 10001
DRAIN_S = 41.0
"""From SIGTERM to a server's end at most: half a second for balancers, 30 s of work in flight, 10 s to flush."""

_SCHEMES = {"aws": "s3", "gcp": "gs", "azure": "az"}


def settings_of(blueprint: Blueprint, *, workers: int) -> dict[str, str]:
    """Return the settings of every container of a project, without secrets and without the place of the lake.

    Args:
        blueprint: What is made.
        workers: Processes of one server.
    """
    found = {
        "LOOPWRIGHT_SERVING_HOST": "0.0.0.0",  # noqa: S104 - in a container; the server asks for a token there
        "LOOPWRIGHT_SERVING_PORT": str(HTTP_PORT),
        "LOOPWRIGHT_SERVING_GRPC_PORT": str(GRPC_PORT),
        "LOOPWRIGHT_SERVING_WORKERS": str(workers),
        "LOOPWRIGHT_SERVING_DOCS": "false",
        "LOOPWRIGHT_SERVING_ERROR_DETAIL": "false",
    }
    if blueprint.has_online_store:
        found["LOOPWRIGHT_ONLINE_URL"] = "redis://redis:6379/0"
    if blueprint.fleet is not None:
        threads = str(blueprint.fleet.threads)
        found |= {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return found


def settings_of_job(job: Job) -> dict[str, str]:
    """Return what a job is bounded by: the memory of its machine, and its time."""
    gigabytes = max(1, math.floor(job.machine.memory_bytes / 1e9))
    hours = max(1, math.ceil(job.limit_s / 3600))
    return {"LOOPWRIGHT_TRAINING_MEMORY": f"{gigabytes}GB", "LOOPWRIGHT_TRAINING_TIME": f"{hours}h"}


def cloud_settings(blueprint: Blueprint, bucket: str) -> dict[str, str]:
    """Return where the lake is: a prefix in a bucket, or in the container ``lake`` of a storage account.

    Args:
        blueprint: What is made.
        bucket: The bucket, or the storage account.
    """
    found = {"LOOPWRIGHT_STORE_URL": bucket_url(blueprint, "lake" if blueprint.provider == "azure" else bucket)}
    if blueprint.provider == "aws":
        return found | {"AWS_REGION": blueprint.region}
    return found | {"AZURE_STORAGE_ACCOUNT_NAME": bucket} if blueprint.provider == "azure" else found


def bucket_url(blueprint: Blueprint, bucket: str) -> str:
    """Return the address of the lake in a bucket; a place in the project where the provider has none."""
    scheme = _SCHEMES.get(blueprint.provider)
    return f"{HOME}/store" if scheme is None else f"{scheme}://{bucket}/loopwright"


def extras_of(*, has_postgres: bool, blueprint: Blueprint) -> tuple[str, ...]:
    """Return the extras of the package that these settings need."""
    found = ["grpc", *(["kafka"] if blueprint.streams else []), *(["postgres"] if has_postgres else [])]
    return (*found, *(["redis"] if blueprint.has_online_store else []))


def command_of(job: Job) -> list[tuple[str, str | None]]:
    """Return a job's words; those that belong to the project come with the variable that may replace them."""
    if job.kind == "training":
        return [("run", None)]
    model, dataset = score_names(job)
    return [
        ("score", None),
        (job.name, model),
        ("--dataset", None),
        (job.name, dataset),
        ("--to", None),
        ("lake", None),
    ]


def stream_name(stream: Stream) -> str:
    """Return the variable that names the model of a stream."""
    return f"STREAM_{_word(stream.name)}_MODEL"


def score_names(job: Job) -> tuple[str, str]:
    """Return the variables that name the model and the dataset of a scoring.

    >>> from loopwright.planning.export.blueprint import Job, Machine
    >>> score_names(Job("nightly", "batch", 30, "0 2 * * *", 1, 3600, Machine("", "spot", 1, 1e9)))
    ('SCORE_NIGHTLY_MODEL', 'SCORE_NIGHTLY_DATASET')
    """
    word = _word(job.name)
    return f"SCORE_{word}_MODEL", f"SCORE_{word}_DATASET"


def _word(name: str) -> str:
    return slug(name).replace("-", "_").upper()

"""What runs by schedule in Kubernetes: trainings and scorings, on the machines and within the time of the plan."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loopwright.planning.export.environment import command_of, settings_of_job
from loopwright.planning.export.pods import container, labels, machine_pod, resources
from loopwright.planning.export.quantity import slug
from loopwright.planning.export.workloads import claim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.planning.export.blueprint import Blueprint, Job
    from loopwright.planning.export.pods import Made

_TRIES_ON_SPOT, _TRIES = 10, 2
_TRAINING_DISK_GB = 50


def cron_jobs(blueprint: Blueprint, image: str) -> Iterator[Made]:
    """Return each job, and the disk of the training: checkpoints must outlive a machine that is taken away."""
    for job in blueprint.jobs:
        if job.kind == "training":
            yield claim(f"{job_name(job)}-state", _TRAINING_DISK_GB)
        yield _cron_job(blueprint, job, image)


def job_name(job: Job) -> str:
    """Return what a job is called in the cluster."""
    return job.name if job.kind == "training" else f"score-{slug(job.name)}"


def _cron_job(blueprint: Blueprint, job: Job, image: str) -> Made:
    name, machine = job_name(job), job.machine
    args = [word if variable is None else f"$({variable})" for word, variable in command_of(job)]
    needs = resources(machine.vcpus, machine.memory_bytes, accelerators=machine.accelerators)
    variables = [{"name": key, "value": value} for key, value in settings_of_job(job).items()]
    threads = str(max(1, math.floor(machine.vcpus)))
    variables += [{"name": "OMP_NUM_THREADS", "value": threads}] if job.kind == "training" else []
    state: Made = {"emptyDir": {"sizeLimit": "10Gi"}}
    if job.kind == "training":
        state = {"persistentVolumeClaim": {"claimName": f"{name}-state"}}
    spec = machine_pod(
        [container(name, image, args, needs, extra={"env": variables})],
        machine,
        blueprint.provider,
        state,
        {"restartPolicy": "Never"},
    )
    own = labels(blueprint, name)
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": own},
        "spec": {
            "schedule": job.schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": _TRIES_ON_SPOT if machine.purchase == "spot" else _TRIES,
                    "activeDeadlineSeconds": math.ceil(job.limit_s),
                    # A machine that is taken away is no failure: the next pod goes on where this one ended.
                    "podFailurePolicy": {
                        "rules": [
                            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
                        ]
                    },
                    "template": {"metadata": {"labels": own}, "spec": spec},
                }
            },
        },
    }

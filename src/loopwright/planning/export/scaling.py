"""How many servers there are: the autoscaler's bounds and targets, and how many may go at once.

The metric is the number of requests in flight in each worker, from the plan: a server that batches is busy long before
it is full, so the load of its GPU or processor would have it scale far too early. Where a worker takes one request at a
time, the processor is a second metric, so that something scales where nobody serves custom metrics; the highest of both
counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.planning.export.pods import labels
from loopwright.planning.export.quantity import value

if TYPE_CHECKING:
    from loopwright.planning.export.blueprint import Blueprint
    from loopwright.planning.export.fleet import Fleet
    from loopwright.planning.export.pods import Made

METRIC = "loopwright_inflight"


def autoscaler(blueprint: Blueprint, fleet: Fleet) -> Made:
    """Return the HorizontalPodAutoscaler of the servers."""
    target = {"type": "AverageValue", "averageValue": value(fleet.target_in_flight)}
    metrics: list[Made] = [{"type": "Pods", "pods": {"metric": {"name": METRIC}, "target": target}}]
    if not fleet.is_gpu and fleet.largest_batch == 1:
        busy = cpu_target(fleet)
        metrics.append(
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": busy}},
            }
        )
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "server", "labels": labels(blueprint, "server")},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "server"},
            "minReplicas": fleet.min_replicas,
            "maxReplicas": fleet.max_replicas,
            "metrics": metrics,
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "selectPolicy": "Max",
                    "policies": [
                        {"type": "Percent", "value": 100, "periodSeconds": 15},
                        {"type": "Pods", "value": 4, "periodSeconds": 15},
                    ],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": round(fleet.scale_down_s),
                    "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
                },
            },
        },
    }


def cpu_target(fleet: Fleet) -> int:
    """Return the percentage of the requested processors that its threads use when a worker is as busy as planned."""
    return max(10, min(95, round(100 * fleet.target_busy * min(1.0, fleet.threads / fleet.vcpus))))


def disruption_budget(blueprint: Blueprint, fleet: Fleet) -> Made:
    """Return how many servers may be taken away at once: the spare ones of the plan, and one at least."""
    most = max(1, fleet.spare_nodes * fleet.workers_per_node)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "server", "labels": labels(blueprint, "server")},
        "spec": {
            "maxUnavailable": most,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": labels(blueprint, "server")},
        },
    }

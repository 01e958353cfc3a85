"""What an autoscaler does to latency: how long it takes to react, and what a step in traffic costs meanwhile.

The reaction time is the sum of what lies between the rise and a ready replica: the metric's window, the control loop's
period, scheduling, pulling the image, loading the model, the readiness probe, and a node's boot where none is free. A
smooth day leaves it time enough; a step does not. So headroom comes from a burst model, never from the day curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loopwright.planning.simulation import poisson_arrivals, simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

HPA_SYNC_S = 15.0  # kube-controller-manager's --horizontal-pod-autoscaler-sync-period
HPA_TOLERANCE = 0.1
SCALE_DOWN_S = 300.0  # HPA v2's default stabilisation window
_WARM_UP_S = 60.0


@dataclass(frozen=True)
class Reaction:
    """What lies between a rise in traffic and a replica that serves it, in seconds each."""

    metric_window_s: float = 15.0
    sync_s: float = HPA_SYNC_S
    schedule_s: float = 2.0
    image_pull_s: float = 20.0
    model_load_s: float = 5.0
    readiness_s: float = 5.0
    node_boot_s: float = 0.0

    @property
    def seconds(self) -> float:
        """The whole of it."""
        parts = (self.metric_window_s, self.sync_s, self.schedule_s, self.image_pull_s, self.model_load_s)
        return sum(parts) + self.readiness_s + self.node_boot_s


def desired_replicas(current: int, metric: float, target: float, *, tolerance: float = HPA_TOLERANCE) -> int:
    """Return what a HorizontalPodAutoscaler asks for: ceil(current · metric / target), unless within its tolerance.

    >>> desired_replicas(2, 25, 10), desired_replicas(4, 10.5, 10)
    (5, 4)
    """
    ratio = metric / target
    return current if abs(ratio - 1) <= tolerance else max(1, math.ceil(current * ratio))


def headroom_rps(steepest_rps_per_minute: float, step_rps: float, reaction_s: float) -> float:
    """Return the requests per second that must be free already: what the day, or a burst, adds while it reacts.

    >>> headroom_rps(0.254, 0, 150)
    0.635
    """
    return max(steepest_rps_per_minute / 60 * reaction_s, step_rps)


def step_misses(
    service_s: NDArray[np.float64],
    *,
    before_rps: float,
    after_rps: float,
    servers: int,
    wanted: int,
    ready_after_s: float,
    limit_s: float,
    window_s: float = 500.0,
    rng: np.random.Generator,
) -> float:
    """Return the share of requests over a limit in the time after a step in traffic.

    Args:
        service_s: Measured service times, in seconds; drawn from with replacement.
        before_rps: Requests per second before the step.
        after_rps: Requests per second from the step on.
        servers: How many work at the step.
        wanted: How many the autoscaler asks for.
        ready_after_s: When these are ready, after the step.
        limit_s: The limit on the response.
        window_s: How long is looked at, from the step on.
        rng: The randomness.
    """
    before = poisson_arrivals(before_rps, max(1, int(before_rps * _WARM_UP_S)), rng)
    step = float(before[-1])
    after = step + poisson_arrivals(after_rps, int(after_rps * window_s), rng)
    arrivals = np.concatenate([before, after])
    added = [step + ready_after_s] * max(0, wanted - servers)
    found = simulate(arrivals, rng.choice(service_s, len(arrivals)), servers, free_at_s=added)
    return float((found.response_s[len(before) :] > limit_s).mean())

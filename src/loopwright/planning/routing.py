"""Requests through machines that each have a queue of their own, behind a balancer: what one common queue leaves out.

A group of machines behind a balancer has no common queue. One that sends each request to the machine with the least
work comes near it; one that draws a machine at random, as kube-proxy does, splits a Poisson stream into independent
queues, each of which waits as one server does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from loopwright.core.errors import DeclarationError
from loopwright.planning.simulation import Simulated

if TYPE_CHECKING:
    from numpy.typing import NDArray

Policy = Literal["random", "round_robin", "least_loaded"]


def simulate_routed(
    arrivals_s: NDArray[np.float64],
    service_s: NDArray[np.float64],
    machines: int,
    policy: Policy,
    rng: np.random.Generator,
    *,
    workers: int = 1,
    lost: int = 0,
    lost_at_s: float = 0.0,
) -> Simulated:
    """Send requests through a balancer to machines, each with workers that share its queue.

    Args:
        arrivals_s: When they come, in order.
        service_s: How long each takes.
        machines: How many.
        policy: How the balancer chooses; the least loaded is the one that could begin soonest.
        rng: The randomness of the balancer.
        workers: Of each machine.
        lost: How many machines take nothing new from ``lost_at_s`` on: a failure, or a zone's spot machines taken back.
        lost_at_s: When they are lost.

    Raises:
        DeclarationError: If no machine is left.
    """
    if machines - lost < 1 or workers < 1:
        raise DeclarationError(f"{machines} machines with {workers} workers, {lost} of them lost, answer nobody.")
    free = [[0.0] * workers for _ in range(machines)]
    draws = rng.random(len(arrivals_s)).tolist()
    starts = np.empty(len(arrivals_s))
    pairs = zip(arrivals_s.tolist(), service_s.tolist(), strict=True)
    for number, (arrival, service) in enumerate(pairs):
        up = machines - lost if arrival >= lost_at_s else machines
        if policy == "random":
            chosen = free[int(draws[number] * up)]
        elif policy == "round_robin":
            chosen = free[number % up]
        else:
            chosen = min(free[:up], key=min)
        worker = chosen.index(min(chosen))
        start = max(chosen[worker], arrival)
        chosen[worker] = start + service
        starts[number] = start
    observed = max(float(arrivals_s[-1] - arrivals_s[0]), 1e-12) * machines * workers
    return Simulated(arrivals_s, starts - arrivals_s, service_s, min(1.0, float(service_s.sum()) / observed))

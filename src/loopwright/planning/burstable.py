"""Burstable machines: what share of their processors they may use all the time.

They earn credits while they run idle and spend them above the baseline. A machine that is started for a job has earned
none, so that a job is taken to run at the baseline; one that serves all day is held against its mean use.

Sources: AWS, "Key concepts for burstable performance instances" (baseline utilisation per vCPU); Google Cloud,
"Shared-core machine types"; Azure, "B-series burstable virtual machine sizes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopwright.planning.prices.instance import Instance

_BASELINES = {
    "t3.medium": 0.2,
    "t3.large": 0.3,
    "t4g.medium": 0.2,
    "t4g.large": 0.3,
    "e2-medium": 0.5,
    "Standard_B2s": 0.2,
    "Standard_B2als_v2": 0.3,
    "Standard_B2as_v2": 0.4,
}
_USUAL_BASELINE = 0.2


def baseline_of(instance: Instance) -> float:
    """Return the share of its processors that a machine may use all the time; 1 for machines that are not burstable."""
    return _BASELINES.get(instance.type, _USUAL_BASELINE) if instance.is_burstable else 1.0

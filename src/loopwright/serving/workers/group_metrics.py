"""What the supervisor itself counts, beside the sums over its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.serving.workers.merging import Family

if TYPE_CHECKING:
    from loopwright.serving.models.promotion import Promotion


def families_of(*, restarts: int, workers: int, promotion: Promotion) -> list[Family]:
    """Return the supervisor's own metrics."""
    return [
        _family("loopwright_worker_restarts", "counter", "Workers replaced, as they died or were silent.", restarts),
        _family("loopwright_workers_ready", "gauge", "Workers in which every required model is in force.", workers),
        _family("loopwright_promotions", "counter", "Targets put in force in all workers.", promotion.turns),
        _family("loopwright_promotions_refused", "counter", "Targets aborted in all workers.", promotion.refusals),
        _family(
            "loopwright_promotion_skew_seconds",
            "gauge",
            "Between the first and the last worker's commit, last time.",
            promotion.last_skew_s or 0.0,
        ),
    ]


def _family(name: str, kind: str, text: str, value: float) -> Family:
    return Family(name, text, kind, {f"{name}_total" if kind == "counter" else name: [((), float(value))]})

"""One evaluation: what was measured of one model on one holdout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from loopwright.evaluation.estimate import Estimate
from loopwright.evaluation.loss import ReferenceLoss
from loopwright.evaluation.slices import SliceResult

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Evaluation:
    """Hold the figures of one model on one holdout.

    Attributes:
        id: Its name in the facts.
        subject: Ref of the model.
        holdout: Digest of the holdout.
        kind: Kind of the model's outputs.
        rows: Rows of the holdout.
        metrics: The true figures by metric, with their errors: what gates and records read.
        released: The answers of the holdout ledger by metric: what may guide the making of further models.
        slices: Figures on parts of the rows.
        reference: The loss on the holdout that monitoring holds live losses against.
        outputs: Digest of the model's answers, kept for paired comparisons.
        seed: Of the resamples.
    """

    id: str
    subject: str
    holdout: str
    kind: str
    rows: int
    metrics: Mapping[str, Estimate]
    released: Mapping[str, float | None]
    slices: tuple[SliceResult, ...]
    reference: ReferenceLoss
    outputs: str
    seed: int

    def to_json(self) -> dict[str, object]:
        """Write the evaluation as plain JSON values."""
        return {
            "id": self.id,
            "subject": self.subject,
            "holdout": self.holdout,
            "kind": self.kind,
            "rows": self.rows,
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "released": dict(self.released),
            "slices": [result.to_json() for result in self.slices],
            "reference": self.reference.to_json(),
            "outputs": self.outputs,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Evaluation:
        """Read what `to_json` wrote."""
        metrics = cast("dict[str, dict[str, object]]", data["metrics"])
        slices = cast("list[dict[str, object]]", data["slices"])
        return cls(
            id=str(data["id"]),
            subject=str(data["subject"]),
            holdout=str(data["holdout"]),
            kind=str(data["kind"]),
            rows=cast("int", data["rows"]),
            metrics={name: Estimate.from_json(estimate) for name, estimate in metrics.items()},
            released=cast("dict[str, float | None]", data["released"]),
            slices=tuple(SliceResult.from_json(result) for result in slices),
            reference=ReferenceLoss.from_json(cast("dict[str, object]", data["reference"])),
            outputs=str(data["outputs"]),
            seed=cast("int", data["seed"]),
        )

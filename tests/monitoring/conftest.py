"""A small served model: predictions written to the lake as the server's compactor does, without a server."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from loopwright.data.lake import Lake
from loopwright.evaluation.loss import reference_loss, row_losses
from loopwright.evaluation.outputs import Outputs
from loopwright.features.field import Field
from loopwright.monitoring.monitor import Monitor
from loopwright.monitoring.reference import ReferenceProfile, freeze
from loopwright.monitoring.served import summarise
from loopwright.monitoring.watch import Monitoring, monitoring
from loopwright.monitoring.watched import WatchedModel
from loopwright.serving.log.compactor import predictions_table
from loopwright.serving.log.prediction_record import PredictionRecord, features_json, to_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.core.clock import ManualClock
    from loopwright.core.storage.stores import Stores

MODEL = "digits"
FIELDS = (
    Field("x", "float64"),
    Field("city", "category", categories=("Bergen", "Oslo")),
    Field("pixels", "float32", shape=(4,)),
)


def training_table(rows: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(rng.normal(size=rows * 4).astype(np.float32)), 4)
    return pa.table(
        {"x": rng.normal(size=rows), "city": rng.choice(["Bergen", "Oslo"], rows, p=[0.4, 0.6]), "pixels": pixels}
    )


def make_profile(version: int = 1, error: float = 0.1, rows: int = 5_000, holdout: int = 2_000) -> ReferenceProfile:
    rng = np.random.default_rng(100 + version)
    answers = rng.choice(["0", "1"], holdout)
    wrong = rng.random(holdout) < error
    labels = np.where(wrong, "other", answers)
    sure = rng.uniform(0.6, 1.0, holdout)
    outputs = Outputs("binary", answers, np.column_stack([sure, 1 - sure]), ("0", "1"))
    losses = row_losses("binary", answers.tolist(), labels.tolist())
    return freeze(
        model=MODEL,
        version=f"{MODEL}/{version}",
        table=training_table(rows),
        fields=FIELDS,
        outputs=outputs,
        labels=labels.tolist(),
        loss=reference_loss("binary", losses),
    )


def served_rows(pixels: np.ndarray, xs: np.ndarray, cities: list[str]) -> list[dict[str, object]]:
    """Lay features out as `loopwright.features.columns.served_rows` does."""
    summaries = {name: values.tolist() for name, values in summarise(pixels).items()}
    return [
        {"pixels": pixels[i].tolist(), "x": float(xs[i]), "city": cities[i]}
        | {f"pixels.{name}": values[i] for name, values in summaries.items()}
        for i in range(len(pixels))
    ]


@dataclasses.dataclass
class Served:
    """Writes predictions and remembers their ids."""

    stores: Stores
    clock: ManualClock
    seed: int = 1

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def predict(
        self,
        rows: int,
        *,
        version: int = 1,
        shift: float = 0.0,
        route: str = "champion",
        at: datetime | None = None,
        spread: timedelta = timedelta(seconds=60),
        status: int = 200,
        latency_us: int = 2_000,
        keys: list[str] | None = None,
        xs: np.ndarray | None = None,
    ) -> list[str]:
        start = at or self.clock.now()
        pixels = self.rng.normal(size=(rows, 4))
        drawn = self.rng.normal(size=rows) + shift if xs is None else xs
        cities = self.rng.choice(["Bergen", "Oslo"], rows, p=[0.4, 0.6]).tolist()
        answers = self.rng.integers(0, 2, rows).tolist()
        sure = self.rng.uniform(0.6, 1.0, rows).tolist()
        records = []
        for i, features in enumerate(served_rows(pixels, drawn, cities)):
            good = status == 200
            records.append(
                PredictionRecord(
                    prediction_id=self.stores.ids.new(),
                    request_id="r",
                    ts_us=int((start + spread * i / max(rows, 1)).timestamp() * 1_000_000),
                    model=MODEL,
                    version=version,
                    route=route,
                    experiment=None,
                    propensity=1.0,
                    unit_hash=0,
                    key=None if keys is None else keys[i],
                    features=features_json(features),
                    output_number=float(answers[i]) if good else None,
                    output_text=str(answers[i]) if good else None,
                    probabilities=[sure[i], 1 - sure[i]] if good else None,
                    latency_us=latency_us,
                    batch_rows=1,
                    status=status,
                    error_class=None if good else "ModelFailedError",
                )
            )
        self.stores.tables.append(predictions_table(MODEL), to_table(records))
        self.answers = {record.prediction_id: record.output_text for record in records}
        return [record.prediction_id for record in records]


@pytest.fixture
def served(stores: Stores, clock: ManualClock) -> Served:
    return Served(stores, clock)


@pytest.fixture(scope="session")
def profile() -> ReferenceProfile:
    return make_profile()


@pytest.fixture
def watched(profile: ReferenceProfile) -> Callable[..., WatchedModel]:
    def make(declared: Monitoring | None = None, **changes: object) -> WatchedModel:
        given: dict[str, object] = {
            "model": MODEL,
            "monitoring": declared or monitoring(drift="500 rows"),
            "champion": profile.version,
            "profiles": {profile.version: profile},
        }
        return WatchedModel(**(given | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


@pytest.fixture
def monitor(stores: Stores, lake: Lake) -> Monitor:
    return Monitor(stores, lake, channels=[])

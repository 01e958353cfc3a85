"""Holdouts and models made up for the tests of evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings as hypothesis_settings

from loopwright.evaluation.holdout import Holdout, open_holdout
from loopwright.evaluation.outputs import Outputs
from loopwright.features.field import Field

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A busy machine is no failure: how long an example takes is not what these tests are about.
hypothesis_settings.register_profile("steady", deadline=None)
hypothesis_settings.load_profile("steady")

FIELDS = (Field("distance_km", "float64"), Field("city", "category", categories=("Bergen", "Oslo")))
LABEL = Field("minutes", "float64", origin="label")


@pytest.fixture
def make_holdout(tmp_path: Path) -> Callable[..., Holdout]:
    """Write a holdout of deliveries as an Arrow file and open it."""

    def make(rows: int = 600, seed: int = 0) -> Holdout:
        rng = np.random.default_rng(seed)
        distance = rng.uniform(1, 10, rows)
        table = pa.table(
            {
                "distance_km": distance,
                "city": rng.choice(["Oslo", "Bergen"], rows),
                "__label__": 4 * distance + rng.normal(0, 2, rows),
                "__key__": [f"order-{i}" for i in range(rows)],
                "__event_time__": pa.array(np.arange(rows) * 1_000_000, pa.timestamp("us", "UTC")),
            }
        )
        path = tmp_path / f"holdout-{rows}-{seed}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return open_holdout(path, FIELDS, LABEL)

    return make


@pytest.fixture
def pace() -> Callable[[float], Callable[[object], Outputs]]:
    """Make a model that takes so many minutes a kilometre; the true pace is 4."""

    def make(minutes_per_km: float) -> Callable[[object], Outputs]:
        def predict(features: object) -> Outputs:
            return Outputs("regression", np.asarray(features["distance_km"]) * minutes_per_km)  # type: ignore[index]

        return predict

    return make

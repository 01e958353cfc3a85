"""A small training set on disk, in the form in which the features room leaves one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from loopwright.core.hashing import digest_file
from loopwright.core.ref import Ref
from loopwright.features.field import Field
from loopwright.training.trainer import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores


@dataclass(frozen=True)
class SmallTrainingSet:
    """What a trainer needs of a training-set record."""

    digest: str
    path: Path
    feature_fields: tuple[Field, ...]
    label_field: Field
    snapshots: dict[str, int] = field(default_factory=lambda: {"points": 1})

    @property
    def ref(self) -> Ref:
        return Ref("training_set", self.digest)

    def train_path(self, stores: Stores) -> Path:  # noqa: ARG002
        return self.path


def write_training_set(path: Path, *, rows: int = 200, classes: int = 2, seed: int = 0) -> SmallTrainingSet:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 3))
    y = (x @ np.array([1.0, -2.0, 0.5]) + 0.1 * random.normal(size=rows) > 0).astype(np.int64) % classes
    start = datetime(2026, 1, 1, tzinfo=UTC)
    table = pa.table(
        {
            **{f"x{place}": x[:, place] for place in range(3)},
            "__label__": y,
            "__key__": [f"row {place}" for place in range(rows)],
            "__event_time__": pa.array(
                [start + timedelta(hours=place) for place in range(rows)], pa.timestamp("us", "UTC")
            ),
        }
    )
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    fields = tuple(Field(f"x{place}", "float64") for place in range(3))
    return SmallTrainingSet(digest_file(path), path, fields, Field("y", "int64", origin="label"))


@pytest.fixture
def training_set(tmp_path: Path) -> SmallTrainingSet:
    return write_training_set(tmp_path / "train.arrow")


@pytest.fixture
def trainer(stores: Stores) -> Trainer:
    return Trainer(stores)

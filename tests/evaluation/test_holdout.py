"""The sealed holdout: opened with its columns, refused when it cannot judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from loopwright.core.errors import DeclarationError, SourceError
from loopwright.evaluation.holdout import Holdout, open_holdout
from loopwright.features.field import Field

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_columns_and_targets(make_holdout: Callable[..., Holdout]) -> None:
    holdout = make_holdout(rows=20)
    assert len(holdout) == len(holdout.y) == len(holdout.X) == 20
    assert set(holdout.column("city").tolist()) <= {"Oslo", "Bergen"}
    assert make_holdout(rows=20).digest == holdout.digest != make_holdout(rows=20, seed=1).digest
    with pytest.raises(DeclarationError, match=r"no column 'town'.*distance_km, city"):
        holdout.column("town")


def test_missing_and_empty(tmp_path: Path) -> None:
    label = Field("y", "float64", origin="label")
    with pytest.raises(SourceError, match=r"gone\.arrow is missing"):
        open_holdout(tmp_path / "gone.arrow", (), label)
    table = pa.table(
        {
            "__label__": pa.array([], pa.float64()),
            "__key__": pa.array([], pa.string()),
            "__event_time__": pa.array([], pa.timestamp("us", "UTC")),
        }
    )
    path = tmp_path / "empty.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DeclarationError, match="no rows"):
        open_holdout(path, (), label)


def test_array_columns_have_no_slices(tmp_path: Path) -> None:
    table = pa.table(
        {
            "pixels": pa.FixedSizeListArray.from_arrays(pa.array([0.0, 1.0], pa.float32()), 2),
            "__label__": [1],
            "__key__": ["a"],
            "__event_time__": pa.array([0], pa.timestamp("us", "UTC")),
        }
    )
    path = tmp_path / "pixels.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    holdout = open_holdout(path, (Field("pixels", "float32", shape=(2,)),), Field("digit", "int64", origin="label"))
    assert holdout.X.shape == (1, 2)
    with pytest.raises(DeclarationError, match="holds arrays"):
        holdout.column("pixels")

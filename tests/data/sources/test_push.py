from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pytest

from loopwright.core.errors import DeclarationError, SourceError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.frame import frame
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


CLICKS = Dataset("clicks", push(), contract=[column("user", "string"), column("n", "int")])


def test_pushed_rows_are_durable_and_idempotent_by_batch(lake: Lake, stores: Stores) -> None:
    rows = [{"user": "a", "n": 1}, {"user": None, "n": "2"}, {"n": 3, "user": "c", "extra": [1, 2]}]
    first = lake.push(CLICKS, rows, batch_id="b1")
    assert (first.rows_accepted, first.rows_quarantined) == (2, 1)
    assert lake.push(CLICKS, rows, batch_id="b1") == first
    with pytest.raises(SourceError, match="before with other rows"):
        lake.push(CLICKS, rows[:1], batch_id="b1")
    assert lake.push(CLICKS, rows[:1]).rows_accepted == 1
    assert lake.push(CLICKS, rows[:1]).rows_accepted == 1
    assert lake.snapshot("clicks").rows == 4
    assert not lake.has_new(CLICKS)
    assert lake.ingest(CLICKS).rows_read == 0
    reopened = Lake(stores)
    assert reopened.read(reopened.snapshot("clicks"))["_source"].to_pylist()[:2] == ["push:b1"] * 2


def test_pushed_rows_must_be_rows(lake: Lake) -> None:
    for rows in (["text"], "text", 3):
        with pytest.raises(SourceError):
            lake.push(CLICKS, rows)  # type: ignore[arg-type]
    assert lake.push(CLICKS, []).rows_read == 0
    assert lake.push(CLICKS, [{"user": "a"}]).reasons == {"required(n)": 1}


def test_frames_of_every_kind(lake: Lake) -> None:
    for index, data in enumerate(
        [
            pd.DataFrame({"a": [1.0, None], "b": pd.Categorical(["x", "y"])}, index=[7, 8]),
            pa.table({"a": [1.0, None], "b": pa.array(["x", "y"]).dictionary_encode()}),
            {"a": [1.0, float("nan")], "b": ["x", "y"]},
            [{"a": 1.0, "b": "x"}, {"b": "y"}],
            lambda: [{"a": 1.0, "b": "x"}, {"b": "y"}],
        ]
    ):
        dataset = Dataset(f"frame{index}", frame(data), contract=[column("a", "float", required=False)])  # type: ignore[arg-type]
        assert lake.has_new(dataset)
        lake.ingest(dataset)
        assert not lake.has_new(dataset)
        assert lake.ingest(dataset).rows_read == 0
        table = lake.read(lake.snapshot(dataset.name), columns=["a", "b"])
        assert table.to_pylist() == [{"a": 1.0, "b": "x"}, {"a": None, "b": "y"}]


def test_a_function_is_asked_again(lake: Lake) -> None:
    rows = [{"id": 1}]
    dataset = Dataset("growing", frame(lambda: list(rows)), key="id")
    assert lake.ingest(dataset).rows_accepted == 1
    rows.append({"id": 2})
    report = lake.ingest(dataset)
    assert (report.rows_accepted, report.rows_duplicate) == (1, 1)


def test_a_frame_must_be_one() -> None:
    with pytest.raises(DeclarationError, match="got int"):
        frame(3)  # type: ignore[arg-type]

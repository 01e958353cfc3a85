from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopwright.data.check import expect, unique
from loopwright.data.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.files import files
from loopwright.data.frame import frame
from loopwright.data.lake import Lake

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def orders(**changes: object) -> Dataset:
    declared = {
        "name": "orders",
        "source": files("data/orders/*.csv"),
        "event_time": "placed_at",
        "key": "order_id",
        "contract": [
            column("distance_km", "float", between=(0, 200)),
            column("city", "category", among=["Oslo", "Bergen"]),
            column("minutes", "float", at_least=0, required=False),
            unique("order_id"),
            expect("minutes IS NULL OR minutes < 1000", name="minutes are sane"),
        ],
    }
    return Dataset(**(declared | changes))  # type: ignore[arg-type]


HEADER = "order_id,placed_at,city,distance_km,minutes\n"


def test_good_rows_go_in_and_bad_ones_to_the_quarantine(lake: Lake, tmp_path: Path) -> None:
    write(
        tmp_path / "data/orders/a.csv",
        HEADER + "1,2026-01-01T10:00:00,Oslo,1.5,10\n2,2026-01-01T10:05:00,Paris,x,11\n"
        "3,,Bergen,300,\n4,2026-01-01,Oslo,3,\n",
    )
    report = lake.ingest(orders())
    assert (report.rows_read, report.rows_accepted, report.rows_quarantined, report.rows_duplicate) == (4, 2, 2, 0)
    assert report.reasons == {
        "among(city)": 1,
        "between(distance_km)": 1,
        "required(placed_at)": 1,
        "type(distance_km)": 1,
    }
    assert report.snapshot is not None
    assert report.snapshot.rows == 2
    table = lake.read(report.snapshot)
    assert table["order_id"].to_pylist() == [1, 4]
    assert table["minutes"].to_pylist() == [10.0, None]
    assert table["_source"].to_pylist() == ["data/orders/a.csv"] * 2
    assert table["_source_row"].to_pylist() == [0, 3]
    bad = lake.quarantine("orders").entries()
    assert [(row.source_row, [(r.check, r.column, r.value) for r in row.reasons]) for row in bad] == [
        (1, [("among", "city", "Paris"), ("type", "distance_km", "x")]),
        (2, [("required", "placed_at", None), ("between", "distance_km", "300")]),
    ]
    assert bad[0].raw["city"] == "Paris"  # type: ignore[index]
    assert lake.quarantine("orders").reasons() == report.reasons
    again = lake.ingest(orders())
    assert (again.rows_read, again.units) == (0, 0)
    assert again.snapshot == report.snapshot


def test_frame(lake: Lake) -> None:
    data = Dataset("people", frame([{"id": 1, "age": 3.5}, {"id": 2, "age": None}]), key="id")
    report = lake.ingest(data)
    assert report.rows_accepted == 2
    assert not lake.has_new(data)
    assert lake.row("people", "id", 2).source_row == 1  # type: ignore[union-attr]

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import StoreFullError
from loopwright.data.contract.check import expect, unique
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files
from loopwright.data.sources.frame import frame

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


def test_a_full_disk_loses_nothing(lake: Lake, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data/orders/a.csv", HEADER + "1,2026-01-01,Oslo,1,1\n2,2026-01-01,Rome,1,1\n")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("loopwright.data.ingest.stage.IN_MEMORY_BYTES", 0)
        patch.setattr("loopwright.data.ingest.stage.pa.ipc.new_file", full)
        with pytest.raises(StoreFullError, match="nothing of it was stored"):
            lake.ingest(orders())
    assert lake.history("orders") == []
    append = stores.tables.append

    def refusing(table: str, *args: object, **options: object) -> int:
        if table.startswith("datasets/"):
            raise StoreFullError("No space is left.")
        return append(table, *args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(stores.tables, "append", refusing)
        with pytest.raises(StoreFullError):
            lake.ingest(orders())
    assert lake.has_new(orders())
    report = lake.ingest(orders())
    assert (report.rows_accepted, report.rows_quarantined) == (1, 1)
    assert (lake.snapshot("orders").rows, lake.quarantine("orders").rows) == (1, 1)


def test_quarantine_is_filtered(lake: Lake, tmp_path: Path) -> None:
    assert lake.quarantine("orders").rows == 0
    assert lake.quarantine("orders").entries() == []
    assert lake.quarantine("orders").reasons() == {}
    assert lake.quarantine("orders").table().num_rows == 0
    write(tmp_path / "data/orders/a.csv", HEADER + "1,2026-01-01,Rome,1,1\n2,2026-01-01,Oslo,-1,1\n")
    write(tmp_path / "data/orders/b.csv", HEADER + "3,2026-01-01,Rome,-1,1\n")
    lake.ingest(orders())
    view = lake.quarantine("orders")
    assert (view.rows, view.table().num_rows) == (3, 3)
    assert [row.raw["order_id"] for row in view.entries(check="among")] == ["1", "3"]  # type: ignore[index]
    assert [row.raw["order_id"] for row in view.entries(column="distance_km")] == ["2", "3"]  # type: ignore[index]
    assert [row.source_row for row in view.entries(source="data/orders/b.csv")] == [0]
    assert len(view.entries(limit=1)) == 1


def test_a_dataset_of_bad_rows_has_a_quarantine_and_no_snapshot(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "data/orders/a.csv", HEADER + "1,2026-01-01,Rome,1,1\n")
    report = lake.ingest(orders())
    assert (report.rows_read, report.rows_quarantined, report.snapshot) == (1, 1, None)
    assert lake.names() == []
    assert lake.history("orders") == []
    write(tmp_path / "data/orders/b.csv", HEADER + "2,2026-01-01,Oslo,1,1\n")
    assert lake.ingest(orders()).rows_accepted == 1
    assert lake.names() == ["orders"]

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopwright.data.contract.check import fresh, unique
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.ingest.stage import IN_MEMORY_BYTES
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores


def orders() -> Dataset:
    return Dataset(
        "orders",
        files("in/*.csv"),
        event_time="at",
        arrival_time="known",
        key="id",
        contract=[
            column("id", "int"),
            column("at", "timestamp"),
            column("known", "date"),
            column("note", "string", required=False),
            unique("note"),
            fresh("30d"),
        ],
    )


@pytest.mark.parametrize("bound", [0, 1_000, IN_MEMORY_BYTES])
def test_rows_are_the_same_from_memory_and_from_files(
    bound: int, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.data.ingest.stage.IN_MEMORY_BYTES", bound)
    (tmp_path / "in").mkdir()
    rows = "".join(f"{n},2025-12-31T00:00:00Z,2026-01-01,n{n}\n" for n in range(50))
    (tmp_path / "in/a.csv").write_text("id,at,known,note\n" + rows + "x,2025-12-31,2026-01-01,bad\n")
    more = "3,2025-12-31,2026-01-01,n3\n4,2025-12-31,2026-01-01,other\n60,2025-12-31,2026-01-01,n5\n"
    (tmp_path / "in/b.csv").write_text("id,at,known,note\n" + more + "61,2025-12-31,2026-01-01,\n")
    (tmp_path / "in/c.csv").write_text("id,at,note\n70,2025-12-31,lacks a column\n")
    lake = Lake(stores)
    report = lake.ingest(orders())
    assert report.rows_read == 55
    assert (report.rows_accepted, report.rows_quarantined, report.rows_duplicate) == (51, 3, 1)
    assert list(report.refused) == ["in/c.csv"]
    assert report.warnings == ()
    stored = lake.read(lake.snapshot("orders")).to_pylist()
    if bound == IN_MEMORY_BYTES:
        assert [row["id"] for row in stored] == [*range(50), 61]  # small ingests keep the rows' order
    stored.sort(key=lambda row: (row["_source"], row["_source_row"]))
    assert [row["id"] for row in stored] == [*range(50), 61]
    assert stored[50]["note"] is None
    assert {row["_arrived_at"].isoformat() for row in stored} == {"2026-01-01T00:00:00+00:00"}
    assert {row["_source"] for row in stored} == {"in/a.csv", "in/b.csv"}
    assert [row["_source_row"] for row in stored] == [*range(50), 3]
    kept_out = {(row.source, row.source_row): row.reasons[0].label for row in lake.quarantine("orders").entries()}
    assert kept_out == {
        ("in/a.csv", 50): "type(id)",
        ("in/b.csv", 1): "key(id)",
        ("in/b.csv", 2): "unique(note)",
        ("in/c.csv", -1): "unit()",
    }
    assert not (tmp_path / ".loopwright/ingest/orders").exists()

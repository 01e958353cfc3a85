from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import UnknownNameError, UsageError
from loopwright.core.storage.duck import connect, to_arrow
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from loopwright.core.clock import ManualClock
    from loopwright.core.storage.stores import Stores

ITEMS = Dataset("items", push(), key="id", on_duplicate="upsert", contract=[column("id", "int")])


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def fill(lake: Lake, clock: ManualClock) -> None:
    lake.push(ITEMS, [{"id": 1, "x": 1.0, "c": "a"}, {"id": 2, "x": 2.0, "c": "a"}, {"id": "bad", "x": 0, "c": ""}])
    clock.advance(timedelta(days=1))
    lake.push(ITEMS, [{"id": 2, "x": 20.0, "c": "b"}, {"id": 3, "x": None, "c": "b", "new": True}])
    clock.advance(timedelta(days=1))


def test_snapshots_stay_as_they_were(lake: Lake, clock: ManualClock) -> None:
    start = clock.now()
    fill(lake, clock)
    second, first = lake.history("items")
    assert (str(first.ref), first.rows, second.rows) == ("snapshot:items@1", 2, 3)
    assert first.schema_digest != second.schema_digest
    assert lake.snapshot("items") == second
    assert lake.snapshot("items", version=1) == first
    assert lake.snapshot("items", at=start + timedelta(hours=23)) == first
    assert lake.snapshot("items", at=start + timedelta(hours=25)) == second
    assert lake.read(first, columns=["id", "x"]).to_pylist() == [{"id": 1, "x": 1.0}, {"id": 2, "x": 2.0}]
    assert lake.read(second, columns=["x"], where="id = 2").to_pylist() == [{"x": 20.0}]
    with connect() as con:
        assert to_arrow(con.sql(f"SELECT count(*) AS n FROM ({lake.scan_sql(second)})")).to_pylist() == [{"n": 3}]


def test_what_is_not_there_is_said(lake: Lake, clock: ManualClock) -> None:
    with pytest.raises(UnknownNameError, match="no dataset with rows 'items'"):
        lake.snapshot("items")
    start = clock.now()
    fill(lake, clock)
    with pytest.raises(UnknownNameError, match=r"items@7.*items@1, items@2"):
        lake.snapshot("items", version=7)
    with pytest.raises(UnknownNameError, match="no snapshot"):
        lake.snapshot("items", at=start - timedelta(days=1))
    assert lake.row("items", "id", 99) is None


def test_diff_by_key(lake: Lake, clock: ManualClock) -> None:
    fill(lake, clock)
    second, first = lake.history("items")
    found = lake.diff(first, second)
    assert (found.rows_before, found.rows_after) == (2, 3)
    assert (found.rows_added, found.rows_removed, found.rows_changed) == (1, 0, 1)
    assert (found.columns_added, found.columns_removed) == (("new",), ())
    x = next(one for one in found.columns if one.name == "x")
    assert x.before is not None
    assert x.after is not None
    assert (x.before.mean, x.after.mean, x.after.null_share) == (1.5, 10.5, pytest.approx(1 / 3))
    c = next(one for one in found.columns if one.name == "c")
    assert c.before is not None
    assert c.after is not None
    assert (c.before.top, c.after.top) == ((("a", 2),), (("b", 2), ("a", 1)))


def test_diff_without_a_key_counts_rows(lake: Lake) -> None:
    data = Dataset("log", push())
    lake.push(data, [{"a": 1}, {"a": 1}])
    lake.push(data, [{"a": 1}, {"a": 2}])
    second, first = lake.history("log")
    found = lake.diff(first, second)
    assert (found.rows_added, found.rows_removed, found.rows_changed) == (2, 0, None)
    other = Dataset("other", push())
    lake.push(other, [{"a": 1}])
    with pytest.raises(UsageError, match="different datasets"):
        lake.diff(first, lake.snapshot("other"))


def test_reports_and_lineage_are_on_record(lake: Lake, stores: Stores, clock: ManualClock) -> None:
    fill(lake, clock)
    newest, oldest = lake.ingests("items")
    assert (oldest.rows_accepted, oldest.rows_quarantined, oldest.reasons) == (2, 1, {"type(id)": 1})
    assert newest.snapshot == lake.snapshot("items")
    assert {edge.source.kind for edge in stores.lineage.ancestors(lake.snapshot("items").ref)} == {"dataset", "ingest"}

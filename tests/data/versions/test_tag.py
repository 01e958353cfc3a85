from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import (
    AliasConflictError,
    DeclarationError,
    RefusedError,
    UnknownNameError,
    UsageError,
)
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.data.versions.reference import SnapshotName

if TYPE_CHECKING:
    from loopwright.core.clock import ManualClock
    from loopwright.core.storage.stores import Stores

ITEMS = Dataset("items", push(), key="id")


@pytest.fixture
def lake(stores: Stores, clock: ManualClock) -> Lake:
    made = Lake(stores)
    for number in range(3):
        made.push(ITEMS, [{"id": number}])
        clock.advance(timedelta(days=1))
    return made


def test_names_of_snapshots() -> None:
    noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    assert SnapshotName.parse("a@2026-01-05T12:00") == SnapshotName("a", at=noon)
    assert SnapshotName.parse("a@2026-01-05T13:00+01:00") == SnapshotName("a", at=noon)
    assert SnapshotName.parse("snapshot:a@7") == SnapshotName("a", version=7)
    for wrong in ("a@", "a@-1", "a@2026-13-01", "a@2026-01-05Tnoon", "a@two words", "a@x/y"):
        with pytest.raises(UsageError, match="names no snapshot"):
            SnapshotName.parse(wrong)


def test_every_verb_takes_a_name(lake: Lake) -> None:
    lake.tag("items@1", "first", by="ann")
    assert [lake.snapshot(f"items@{which}").version for which in ("1", "first", "latest", "2026-01-02")] == [1, 1, 3, 2]
    assert lake.snapshot("items", tag="first") == lake.snapshot("items@1")
    assert lake.read("items@first")["id"].to_pylist() == [0]
    assert lake.diff("items@first", "items").rows_added == 2
    assert lake.row("items@first", "id", 0) is not None
    assert lake.row("items@first", "id", 1) is None
    with pytest.raises(UsageError, match="in two ways"):
        lake.snapshot("items@1", version=2)
    with pytest.raises(UnknownNameError, match=r"tag 'items@firts'.*items@first"):
        lake.snapshot("items@firts")


def test_moves_are_on_record(lake: Lake) -> None:
    lake.tag("items@1", "good", by="ann", reason="checked")
    lake.tag("items@1", "good", by="bob")  # nothing to do, nothing to record
    lake.tag("items", "good", by="bob", reason="newer")
    lake.tags.remove("items", "good", by="eve", reason="wrong")
    found = [(one.version_before, one.version_after, one.moved_by) for one in lake.tags.moves("items", "good")]
    assert found == [(3, None, "eve"), (1, 3, "bob"), (None, 1, "ann")]
    assert lake.tags.all("items") == []
    lake.tag("items@2", "good", by="ann")
    assert lake.tags.moves("items", "good")[0].number == 4


def test_what_is_refused(lake: Lake) -> None:
    lake.tag("items@1", "audit", by="ann", immutable=True)
    with pytest.raises(RefusedError, match="immutable"):
        lake.tag("items@2", "audit", by="ann")
    with pytest.raises(RefusedError, match="immutable"):
        lake.tags.remove("items", "audit", by="ann")
    assert lake.tag("items@1", "audit", by="ann").immutable
    lake.tag("items@1", "good", by="ann")
    with pytest.raises(AliasConflictError, match="names version 1"):
        lake.tags.set("items", "good", 3, by="bob", expected=2)
    for name in ("latest", "3", "2026-01-05", "a b", ""):
        with pytest.raises(DeclarationError, match="no name for a tag"):
            lake.tag("items", name, by="ann")
    with pytest.raises(DeclarationError, match="on record"):
        lake.tag("items", "good", by=" ")
    with pytest.raises(UnknownNameError):
        lake.tag("items@9", "good", by="ann")

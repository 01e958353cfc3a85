"""Collections: what a snapshot in use, a tag or a hold needs survives any of them; what went can be brought back."""

from __future__ import annotations

import hashlib
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.clock import ManualClock
from loopwright.core.errors import RefusedError, UnknownNameError
from loopwright.core.ref import Ref
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.core.storage.trash import Trash
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.data.versions.policy import RetentionPolicy

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores

DAY = timedelta(days=1)
ITEMS = Dataset("items", push(), key="id", on_duplicate="upsert", contract=[column("id", "int")])


def keeping(days: float) -> RetentionPolicy:
    return RetentionPolicy(keep=days * DAY, quarantine=days * DAY)


def collect(stores: Stores, days: float) -> str:
    trash = Trash(stores)
    identity = trash.begin(restore_window=7 * DAY)
    Lake(stores).retention.collect(keeping(days), trash, identity)
    return identity


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "_delta_log" not in path.parts
    }


@pytest.fixture
def lake(stores: Stores, clock: ManualClock) -> Lake:
    made = Lake(stores)
    for number in range(4):
        if number == 3:
            stores.tables.compact("datasets/items")
        made.push(ITEMS, [{"id": number, "x": 1.0}, {"id": f"bad {number}", "x": 0.0}])
        clock.advance(DAY)
    return made


def test_only_what_nothing_needs_is_found(lake: Lake, stores: Stores) -> None:
    assert lake.retention.collectable(keeping(30)) == []
    table, quarantine = lake.retention.collectable(keeping(0.5))
    assert (table.table, len(table.files), table.snapshots) == ("datasets/items", 3, (1, 2, 3))
    assert table.size_bytes == sum(table.sizes.values()) > 0
    assert (quarantine.table, quarantine.rows) == ("quarantine/items", 4)
    lake.tag("items@2", "kept", by="ann")
    found = lake.retention.collectable(keeping(0.5))[0]
    assert (len(found.files), found.snapshots) == (1, (3,))
    stores.lineage.link(Ref("snapshot", "items@3"), Ref("training_set", "t"), "read")
    assert [one.table for one in lake.retention.collectable(keeping(0.5))] == ["quarantine/items"]
    lake.holds.place("case", Ref("dataset", "items"), reason="law", by="legal")
    assert lake.retention.collectable(keeping(0.5)) == []


def test_what_went_comes_back_byte_for_byte(lake: Lake, stores: Stores, clock: ManualClock, tmp_path: Path) -> None:
    store = tmp_path / ".loopwright/store"
    before = {name: digest for name, digest in content(store).items() if "datasets" in name}
    first = lake.read("items@1").to_pylist()
    identity = collect(stores, 0.5)
    assert lake.quarantine("items").rows == 0
    assert sorted(lake.read("items")["id"].to_pylist()) == [0, 1, 2, 3]
    (kept,) = Trash(stores).all()
    assert (kept.status, kept.items, kept.restore_until) == ("kept", 3, clock.now() + 7 * DAY)
    Trash(stores).restore(identity)
    Trash(stores).restored(identity)
    assert {name: digest for name, digest in content(store).items() if "datasets" in name} == before
    assert lake.read("items@1").to_pylist() == first
    assert lake.quarantine("items").rows == 0  # rows past their time left by a commit, whose files the next look finds
    again = collect(stores, 0.5)
    assert Trash(stores).over() == []
    clock.advance(8 * DAY)
    assert [one.id for one in Trash(stores).over()] == [again]
    Trash(stores).empty(again)
    assert not list((store / "trash").rglob("*.parquet"))
    with pytest.raises(RefusedError, match="emptied"):
        Trash(stores).restore(again)
    with pytest.raises(UnknownNameError):
        Trash(stores).restore("nothing")


def test_an_erasure_reaches_into_the_trash(lake: Lake, stores: Stores, tmp_path: Path) -> None:
    collect(stores, 0.5)
    assert list((tmp_path / ".loopwright/store/trash").rglob("*.parquet"))
    lake.erase("items", "id", [2], reason="asked", by="ann")
    assert not list((tmp_path / ".loopwright/store/trash").rglob("*.parquet"))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["compact", "tag", "hold", "use", "untag", "release"]), st.integers(0, 5)),
        st.tuples(st.just("collect"), st.integers(0, 4)),
    ),
    min_size=4,
    max_size=10,
)


@settings(max_examples=8)
@given(steps=STEPS)
def test_what_is_needed_survives_any_sequence(steps: list[tuple[str, int]]) -> None:
    """Needed at the moment of each collection is needed: tagged, held, used, young or newest."""
    with tempfile.TemporaryDirectory() as folder:
        clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        stores = open_stores(Settings.load(Path(folder), environ={}), clock=clock)
        lake = Lake(stores)
        expected: dict[int, list[dict[str, object]]] = {}
        lost: set[int] = set()
        needed: dict[str, set[int]] = {"tag": set(), "hold": set(), "use": set()}
        for number, (step, argument) in enumerate([("push", 0), *steps]):
            clock.advance(DAY)
            alive = sorted(expected.keys() - lost)
            if step == "push":
                report = lake.push(ITEMS, [{"id": argument, "x": float(number)}])
                assert report.snapshot is not None
                expected[report.snapshot.version] = lake.read(report.snapshot).to_pylist()
            elif step == "compact":
                stores.tables.compact("datasets/items")
            elif step in {"tag", "hold", "use"}:
                version = alive[argument % len(alive)]
                needed[step].add(version)
                if step == "tag":
                    lake.tag(f"items@{version}", f"t{version}", by="ann")
                elif step == "hold":
                    lake.holds.place(f"h{version}", Ref("snapshot", f"items@{version}"), reason="r", by="ann")
                else:
                    stores.lineage.link(Ref("snapshot", f"items@{version}"), Ref("training_set", f"{number}"), "read")
            elif step == "untag" and needed["tag"]:
                version = needed["tag"].pop()
                lake.tags.remove("items", f"t{version}", by="ann")
            elif step == "release" and needed["hold"]:
                lake.holds.release(f"h{needed['hold'].pop()}", by="ann")
            elif step == "collect":
                found = lake.retention.collectable(keeping(argument + 0.5))
                gone = {version for one in found for version in one.snapshots}
                young = {
                    one.version
                    for one in lake.history("items")
                    if one.created_at > clock.now() - (argument + 0.5) * DAY
                }
                assert not gone & (young | needed["tag"] | needed["hold"] | needed["use"] | {max(expected)})
                lost |= gone
                collect(stores, argument + 0.5)
            for version in expected.keys() - lost:
                rows = lake.read(f"items@{version}").to_pylist()
                assert sorted(rows, key=str) == sorted(expected[version], key=str)
        for one in Trash(stores).all():
            Trash(stores).restore(one.id)
        stores.tables.forget("datasets/items")
        for version, rows in expected.items():
            assert sorted(lake.read(f"items@{version}").to_pylist(), key=str) == sorted(rows, key=str)
        stores.close()

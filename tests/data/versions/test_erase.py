"""Erasures: the rows go from everywhere, the others stay, and every snapshot stays readable by anybody."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
import sqlalchemy as sa
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.clock import ManualClock
from loopwright.core.errors import RefusedError, UnknownNameError, UsageError
from loopwright.core.ref import Ref
from loopwright.core.settings import Settings
from loopwright.core.storage.duck import connect, to_arrow
from loopwright.core.storage.stores import open_stores
from loopwright.core.storage.tables import TableStore
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.ingest.records import ingests
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopwright.core.storage.stores import Stores

START = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "person-7f3a9"
PEOPLE = Dataset(
    "people",
    push(),
    key="id",
    on_duplicate="upsert",
    contract=[
        column("id", "int"),
        column("who", "string"),
        column("note", "text", required=False),
        column("x", "float"),
    ],
)


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def fill(lake: Lake, clock: ManualClock) -> None:
    for day in range(4):
        rows = [{"id": n, "who": f"other-{n}", "note": f"note {n} {day}", "x": day} for n in range(day, day + 3)]
        rows.append({"id": 100 + day % 2, "who": KEY, "note": f"about {KEY} {day}", "x": day})
        rows.append({"id": 900, "who": f" {KEY}", "note": f"kept out {KEY}", "x": "no number"})
        lake.push(PEOPLE, rows)
        clock.advance(timedelta(days=1))


def holding(folder: Path, text: bytes) -> list[str]:
    """Return the files below a folder that hold a text, Parquet files by their rows too."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        if text in path.read_bytes():
            found.append(path.name)
        elif path.suffix == ".parquet" and "_delta_log" not in path.parts:
            with connect() as con:
                rows = to_arrow(con.sql(f"SELECT to_json(t)::VARCHAR AS j FROM read_parquet('{path}') AS t"))["j"]
            found += [path.name] if any(text.decode() in row for row in rows.to_pylist()) else []
    return found


def test_nothing_of_the_key_is_left(lake: Lake, stores: Stores, clock: ManualClock, tmp_path: Path) -> None:
    fill(lake, clock)
    stores.tables.compact("datasets/people")
    stores.tables.checkpoint("datasets/people")
    home = tmp_path / ".loopwright"
    assert len(holding(home / "store", KEY.encode())) > 8
    before = {one.version: one for one in lake.history("people")}
    done = lake.erase("people", "who", [KEY], reason="asked for it", by="ann")
    assert (done.status, done.keys, done.asked_by) == ("done", 1, "ann")
    report = done.report
    assert (report.rows, report.snapshots, report.quarantined_rows, report.payloads) == (2, 4, 4, 4)
    assert report.stored_rows == 8  # four, and again in what the compaction wrote
    assert holding(home, KEY.encode()) == []
    for version, old in before.items():
        now = lake.snapshot("people", version=version)
        assert now.rows == old.rows - (1 if version == 1 else 2) == lake.read(now).num_rows
    assert lake.quarantine("people").rows == 0
    with connect() as con:
        lake.attach(con, "rows", lake.snapshot("people"))
        notes = to_arrow(con.sql("SELECT note FROM rows"))["note"].to_pylist()
    assert all(stores.payloads.get(ref).startswith(b"note") for ref in notes)
    assert lake.erasures("people") == [done]
    kinds = {edge.source.kind for edge in stores.lineage.ancestors(lake.snapshot("people").ref)}
    assert kinds == {"dataset", "ingest", "erasure"}
    with sqlite3.connect(home / "loop.db") as facts:
        assert KEY not in "\n".join(facts.iterdump())


def test_every_version_opens_elsewhere(lake: Lake, stores: Stores, clock: ManualClock, tmp_path: Path) -> None:
    fill(lake, clock)
    lake.erase("people", "who", [KEY], reason="asked", by="ann")
    place = str(tmp_path / ".loopwright/store/tables/datasets/people")
    for version in range(1, 5):
        table = DeltaTable(place, version=version)
        theirs = pl.read_delta(place, version=version)
        assert table.count() == theirs.height == stores.tables.count("datasets/people", version)
        assert KEY not in theirs["who"].to_list()
    lake.push(PEOPLE, [{"id": 1, "who": "new", "x": 1.0}])
    assert lake.read("people", where="id = 1")["who"].to_pylist() == ["new"]


def test_what_a_row_superseded_does_not_come_back(lake: Lake) -> None:
    lake.push(PEOPLE, [{"id": 1, "who": "before", "x": 1.0}, {"id": 2, "who": KEY, "x": 1.0}])
    lake.push(PEOPLE, [{"id": 1, "who": KEY, "x": 2.0}, {"id": 2, "who": "after", "x": 2.0}])
    done = lake.erase("people", "who", [KEY], reason="asked", by="ann")
    assert lake.read("people")["who"].to_pylist() == ["after"]
    assert done.report.rows == 1
    assert [one.rows for one in lake.history("people")] == [1, 0]


def test_keys_are_compared_as_values(lake: Lake) -> None:
    lake.push(
        PEOPLE, [{"id": 7, "who": "a", "x": 1.0}, {"id": "07", "who": "a", "x": "bad"}, {"id": 70, "who": "a", "x": 1}]
    )
    done = lake.erase("people", "id", ["7"], reason="asked", by="ann")
    assert (done.report.rows, done.report.quarantined_rows) == (1, 1)
    assert lake.read("people")["id"].to_pylist() == [70]
    with pytest.raises(UsageError, match="no BIGINT"):
        lake.erase("people", "id", ["x"], reason="asked", by="ann")
    with pytest.raises(UnknownNameError, match="whom"):
        lake.erase("people", "whom", ["x"], reason="asked", by="ann")
    with pytest.raises(UsageError, match="at least one value"):
        lake.erase("people", "id", [], reason="asked", by="ann")
    assert [one.status for one in lake.erasures("people")] == ["done"]


def test_a_hold_is_in_the_way(lake: Lake, clock: ManualClock) -> None:
    fill(lake, clock)
    lake.holds.place("case-12", Ref("snapshot", "people@2"), reason="law suit", by="legal")
    with pytest.raises(RefusedError, match=r"case-12.*legal.*people@2.*law suit"):
        lake.erase("people", "who", [KEY], reason="asked", by="ann")
    lake.holds.release("case-12", by="legal")
    assert lake.erase("people", "who", [KEY], reason="asked", by="ann").report.rows == 2


def test_a_key_erased_for_ever_does_not_come_back(lake: Lake, clock: ManualClock) -> None:
    fill(lake, clock)
    lake.erase("people", "who", [KEY], reason="asked", by="ann", forever=True)
    report = lake.push(
        PEOPLE,
        [
            {"id": 5, "who": KEY, "note": KEY, "x": 1.0},
            {"id": 6, "who": KEY, "x": "bad"},
            {"id": 7, "who": "b", "x": "bad"},
            {"id": 8, "who": "b", "x": 1.0},
        ],
    )
    assert (report.rows_read, report.rows_accepted, report.rows_quarantined) == (2, 1, 1)
    assert report.warnings == ("2 rows of erased keys were left out",)
    assert KEY not in lake.read("people")["who"].to_pylist()
    assert [json.loads(str(raw))["id"] for raw in lake.quarantine("people").table()["raw"].to_pylist()] == [7]


def test_what_remains_is_named(lake: Lake, stores: Stores, clock: ManualClock) -> None:
    fill(lake, clock)
    other = Dataset("visits", push())
    lake.push(other, [{"who": KEY, "page": 1}, {"who": "b", "page": 2}])
    stores.lineage.link(Ref("snapshot", "people@2"), Ref("training_set", "t" * 64), "read")
    stores.lineage.link(Ref("training_set", "t" * 64), Ref("run", "r"), "trained on")
    stores.lineage.link(Ref("run", "r"), Ref("model", "eta/3"), "registered as")
    remains = lake.erase("people", "who", [KEY], reason="asked", by="ann").report.remains
    assert [(one.kind, one.name) for one in remains] == [
        ("training_set", "t" * 64), ("model", "eta/3"), ("table", "datasets/visits: 1 rows")
    ]  # fmt: skip
    assert "data erase visits --key who" in remains[-1].close


def test_lines_that_were_not_taken_apart_are_searched_as_text(lake: Lake, stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    lines = ["id,who", "1,ann", f"2,{KEY},3,4", "3,ann Lee;x,5,6", f"7,x{KEY}y,5,6", "8,b,12,9", "9,b,c,120"]
    (tmp_path / "in/a.csv").write_text("\n".join([*lines, ""]))
    (tmp_path / "in/b.jsonl").write_text(
        '{"id":1,"who":"b"}\n{"who":"' + KEY + '", broken\n{"whom":"' + KEY + '","id":"x"}\n'
    )
    wide = [column("id", "int"), column("who", "string", required=False)]
    tables = {
        "a": Dataset("a", files("in/a.csv"), contract=wide),
        "b": Dataset("b", files("in/b.jsonl"), contract=wide),
    }
    for one in tables.values():
        lake.ingest(one)

    def left(name: str) -> list[str]:
        return sorted(str(row.raw) for row in lake.quarantine(name).entries())

    assert lake.erase("a", "who", [KEY], reason="asked", by="ann").report.quarantined_rows == 1
    assert left("a") == ["3,ann Lee;x,5,6", f"7,x{KEY}y,5,6", "8,b,12,9", "9,b,c,120"]
    assert lake.erase("a", "who", ["ann Lee"], reason="asked", by="ann").report.quarantined_rows == 1
    assert lake.erase("a", "id", ["12"], reason="asked", by="ann").report.quarantined_rows == 1
    assert left("a") == [f"7,x{KEY}y,5,6", "9,b,c,120"]
    assert lake.erase("b", "who", [KEY], reason="asked", by="ann").report.quarantined_rows == 2
    assert left("b") == []


ROWS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=6)
STEPS = st.tuples(ROWS, st.lists(st.one_of(ROWS, st.just("compact")), max_size=5)).map(lambda both: [both[0], *both[1]])


@settings(max_examples=12)
@given(steps=STEPS, erased=st.lists(st.sampled_from("abcd"), min_size=1, max_size=2), upsert=st.booleans())
def test_every_snapshot_is_what_it_was_without_the_key(steps: list[object], erased: list[str], *, upsert: bool) -> None:
    policy = {"key": "id", "on_duplicate": "upsert"} if upsert else {}
    data = Dataset("d", push(), contract=[column("id", "int")], **policy)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        clock = ManualClock(START)
        stores = open_stores(Settings.load(Path(folder), environ={}), clock=clock)
        lake = Lake(stores)
        stored: list[tuple[int, str, int, int]] = []  # id, who, x, and the order in which they came
        expected: dict[int, list[tuple[int, str, int]]] = {}
        for step in steps:
            clock.advance(60)
            if step == "compact":
                if stored:
                    stores.tables.compact("datasets/d")
                continue
            report = lake.push(data, [{"id": i, "who": w, "x": x} for i, w, x in step])  # type: ignore[attr-defined]
            newest = {one[0]: one for one in stored}
            for i, w, x in step:  # type: ignore[attr-defined]
                if upsert and i in newest and newest[i][1:3] == (w, x):
                    continue
                newest[i] = (i, w, x, len(stored))
                stored.append(newest[i])
            if report.rows_accepted and report.snapshot is not None:
                expected[report.snapshot.version] = list(stored)  # type: ignore[arg-type]
        lake.erase("d", "who", erased, reason="asked", by="ann")
        last = {one[0]: one[3] for one in stored if one[1] in erased} if upsert else {}
        for version, rows in expected.items():
            left = [one for one in rows if one[1] not in erased and one[3] > last.get(one[0], -1)]  # type: ignore[misc]
            if upsert:
                left = list({one[0]: one for one in left}.values())
            snapshot = lake.snapshot("d", version=version)
            found = lake.read(snapshot, columns=["id", "who", "x"]).to_pylist()
            assert sorted((r["id"], r["who"], r["x"]) for r in found) == sorted(one[:3] for one in left)
            assert snapshot.rows == len(left)
        with stores.facts.read() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(ingests)).scalar() == len(
                [step for step in steps if step != "compact"]
            )
        stores.close()


ERASING = Path(__file__).parent / "erasing.py"
DEATHS = ["asked", "planned", "file", "file", "file", "replaced", "settled", "quarantined", "payloads"]


@pytest.fixture(scope="module")
def killed() -> Iterator[Callable[[Path, str, int], None]]:
    """Erase in a child that dies when it reaches a stage for that time."""
    command = [sys.executable, str(ERASING)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(project: Path, stage: str, number: int) -> None:
            print(json.dumps([str(project), stage, number]), file=process.stdin, flush=True)
            assert int(process.stdout.readline()) == -signal.SIGKILL

        yield run
        process.stdin.close()


def test_killed_at_every_stage(
    stores: Stores, clock: ManualClock, tmp_path: Path, killed: Callable[[Path, str, int], None]
) -> None:
    """One request, killed at stage after stage; each time the snapshots are readable, by others too."""
    lake = Lake(stores)
    fill(lake, clock)
    stores.tables.compact("datasets/people")
    others = {one.version: [n for n in lake.read(one)["id"].to_pylist() if n < 100] for one in lake.history("people")}
    place = str(tmp_path / ".loopwright/store/tables/datasets/people")
    for stage in DEATHS:
        killed(tmp_path, stage, 1)
        fresh = TableStore(tmp_path / ".loopwright/store")
        for version, ids in others.items():
            rows = fresh.read("datasets/people", version=version)
            assert {n for n in rows["id"].to_pylist() if n < 100} == set(ids)
            assert {n for n in pl.read_delta(place, version=version)["id"].to_list() if n < 100} == set(ids)
    assert [one.status for one in lake.erasures("people")] == ["planned"]
    stores.tables.forget("datasets/people")
    lake.push(PEOPLE, [{"id": 50, "who": "new", "x": 1.0}])  # what is pending is completed before anything is added
    (done,) = lake.erasures("people")
    assert (done.status, done.report.rows, done.report.stored_rows) == ("done", 2, 8)
    assert holding(tmp_path / ".loopwright", KEY.encode()) == []
    for version, ids in others.items():
        snapshot = lake.snapshot("people", version=version)
        assert sorted(lake.read(snapshot)["id"].to_pylist()) == sorted(ids)
        assert snapshot.rows == len(ids)


@pytest.mark.parametrize("times", [1, 3])
def test_a_dataset_without_a_key_is_erased_once(
    times: int, stores: Stores, tmp_path: Path, killed: Callable[[Path, str, int], None]
) -> None:
    lake = Lake(stores)
    log = Dataset("people", push())
    for number in range(4):
        lake.push(log, [{"who": KEY, "n": number}, {"who": "b", "n": number}])
    killed(tmp_path, "file", times)
    lake.erase("people", "who", ["nobody"], reason="asked", by="ann")
    assert [one.rows for one in lake.history("people")] == [4, 3, 2, 1]
    assert lake.read("people")["who"].to_pylist() == ["b"] * 4

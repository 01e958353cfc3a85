"""Collecting, restoring and erasing in a store on S3: moto's server on the loopback address."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url
from tests.servers import s3_bucket

from loopwright.core.clock import ManualClock
from loopwright.core.errors import CollectedError
from loopwright.core.storage.duck import connect, to_arrow
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.sources.push import push
from loopwright.loop.collect import Collector
from loopwright.loop.erase import erase_rows
from loopwright.loop.restore import restore_collection
from loopwright.workspace import Workspace

KEY = "person-7f3a9"
DAY = timedelta(days=1)
PEOPLE = Dataset(
    "people",
    push(),
    key="id",
    on_duplicate="upsert",
    contract=[column("id", "int"), column("who", "string"), column("note", "text"), column("x", "float")],
)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket() as url:
        yield url


@pytest.fixture
def url(bucket: str) -> str:
    return f"{bucket}/{uuid.uuid4()}"


@pytest.fixture
def workspace(url: str, tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "loopwright.toml").write_text(f'[store]\nurl = "{url}"\n')
    clock = ManualClock(datetime.now(UTC))
    with Workspace.open(tmp_path, clock=clock) as opened:
        for day in range(3):
            rows = [{"id": n, "who": f"other-{n}", "note": f"note {n} {day}", "x": 1.0} for n in range(day, day + 3)]
            rows.append({"id": 100, "who": KEY, "note": f"about {KEY} {day}", "x": float(day)})
            rows.append({"id": 900, "who": KEY, "note": "kept out", "x": "no number"})
            opened.data.push(PEOPLE, rows)
            clock.advance(DAY)
            if day == 1:
                opened.stores.tables.compact("datasets/people")
        yield opened


def content(url: str) -> dict[str, bytes]:
    """Return every object of the store."""
    store = from_url(url)
    names = [str(meta["path"]) for batch in obstore.list(store) for meta in batch]
    return {name: bytes(obstore.get(store, name).bytes()) for name in names}


def holding(objects: dict[str, bytes], scratch: Path) -> list[str]:
    found = []
    for number, (name, data) in enumerate(objects.items()):
        if KEY.encode() in data:
            found.append(name)
        elif name.endswith(".parquet") and "_delta_log" not in name:
            path = scratch / f"{number}.parquet"
            path.write_bytes(data)
            with connect() as con:
                rows = to_arrow(con.sql(f"SELECT to_json(t)::VARCHAR AS j FROM read_parquet('{path}') AS t"))["j"]
            found += [name] if any(KEY in row for row in rows.to_pylist()) else []
            path.unlink()
    return found


def test_what_is_collected_comes_back(workspace: Workspace, url: str) -> None:
    before = {name: data for name, data in content(url).items() if "datasets/people/part" in name}
    first = workspace.data.read("people@1").to_pylist()
    made = Collector(workspace, DAY / 2).collect()
    assert any(one.kind == "table files" and one.name == "datasets/people" for one in made.found)
    after = content(url)
    assert len([name for name in before if name in after]) < len(before)
    with pytest.raises(CollectedError, match=made.id):
        workspace.data.read("people@1")
    assert workspace.data.read("people").num_rows == 6
    restore_collection(workspace, made.id)
    assert {name: data for name, data in content(url).items() if name in before} == before
    assert workspace.data.read("people@1").to_pylist() == first


def test_what_is_erased_is_nowhere(workspace: Workspace, url: str, tmp_path: Path) -> None:
    made = Collector(workspace, DAY / 2).collect()
    for version in (snapshot.version for snapshot in workspace.data.history("people") if not snapshot.is_collected):
        workspace.data.read(f"people@{version}")  # what this machine keeps copies of
    assert len(holding(content(url), tmp_path)) > 3
    report = erase_rows(workspace, "people", "who", [KEY], reason="asked", by="ann").report
    assert (report.rows, report.payloads) == (1, 3)
    assert holding(content(url), tmp_path) == []
    local = tmp_path / ".loopwright"
    assert holding({str(path): path.read_bytes() for path in local.rglob("*") if path.is_file()}, tmp_path) == []
    restore_collection(workspace, made.id)
    assert holding(content(url), tmp_path) == []
    assert sorted(workspace.data.read("people")["id"].to_pylist()) == [0, 1, 2, 3, 4]
    workspace.data.push(PEOPLE, [{"id": 50, "who": "new", "note": "n", "x": 1.0}])
    assert workspace.data.read("people").num_rows == 6

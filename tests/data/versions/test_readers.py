"""What other programs see of a dataset: the same rows in every snapshot, after all that can be done to its table."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from loopwright.core.clock import ManualClock
    from loopwright.core.storage.stores import Stores

ITEMS = Dataset(
    "items",
    push(),
    key="id",
    on_duplicate="upsert",
    contract=[column("id", "int"), column("who", "string"), column("x", "float", required=False)],
)
COLUMNS = ["id", "who", "x", "_source_row"]
SPARK = """
import json, sys
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.shuffle.partitions", "1")
    .getOrCreate()
)
columns = json.loads(sys.argv[1])
for files in json.loads(sys.argv[2]):
    rows = spark.read.parquet(*files).select(*columns).collect()
    print("ROWS " + json.dumps([list(row) for row in rows]))
spark.stop()
"""


@pytest.fixture
def place(stores: Stores, clock: ManualClock, tmp_path: Path) -> Path:
    """The table of a dataset after ingests, upserts, two compactions and an erasure."""
    lake = Lake(stores)
    for day in range(6):
        rows = [{"id": n, "who": f"p{n % 5}", "x": None if n % 4 == 0 else n / 3 + day} for n in range(day, day + 8)]
        lake.push(ITEMS, rows)
        clock.advance(timedelta(days=1))
        if day in {2, 4}:
            stores.tables.compact("datasets/items")
    stores.tables.checkpoint("datasets/items")
    lake.erase("items", "who", ["p3"], reason="asked", by="ann")
    lake.push(ITEMS, [{"id": 99, "who": "new", "x": 1.5}])
    return tmp_path / ".loopwright/store/tables/datasets/items"


def stored(stores: Stores, version: int) -> list[list[object]]:
    rows = stores.tables.read("datasets/items", version=version, columns=COLUMNS).to_pylist()
    return sorted([list(row.values()) for row in rows], key=str)


def test_every_reader_sees_the_same_rows_in_every_version(stores: Stores, place: Path) -> None:
    versions = range(1, stores.tables.version("datasets/items") + 1)
    assert len(versions) == 9
    for version in versions:
        expected = stored(stores, version)
        assert expected
        assert not any("p3" in row for row in expected)
        theirs = DeltaTable(str(place), version=version)
        assert sorted(map(list, pl.read_delta(str(place), version=version).select(COLUMNS).rows()), key=str) == expected
        through_arrow = theirs.to_pyarrow_table(columns=COLUMNS).to_pylist()
        assert sorted([[row[name] for name in COLUMNS] for row in through_arrow], key=str) == expected
        with duckdb.connect() as con:
            rows = con.read_parquet(theirs.file_uris()).project(", ".join(f'"{name}"' for name in COLUMNS)).fetchall()
        assert sorted(map(list, rows), key=str) == expected
        lazily = pl.scan_delta(str(place), version=version).filter(pl.col("x") > 3).select("id").collect()
        assert sorted(lazily["id"]) == sorted(row[0] for row in expected if row[2] is not None and row[2] > 3)


def test_an_export_has_the_rows_that_count(stores: Stores, place: Path, tmp_path: Path) -> None:
    lake = Lake(stores)
    for snapshot in lake.history("items"):
        target = tmp_path / f"export-{snapshot.version}"
        assert lake.export(snapshot, target) == snapshot.rows
        theirs = pl.read_delta(str(target))
        ours = lake.read(snapshot, columns=theirs.columns).to_pylist()
        assert sorted(theirs.rows(), key=str) == sorted((tuple(row.values()) for row in ours), key=str)
        assert theirs["id"].n_unique() == theirs.height


@pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed")
def test_spark_sees_the_same_rows(stores: Stores, place: Path) -> None:
    pytest.importorskip("pyspark", reason="the package 'pyspark' is not installed")
    versions = (3, 6, 9)
    files = [DeltaTable(str(place), version=version).file_uris() for version in versions]
    command = [sys.executable, "-c", SPARK, json.dumps(COLUMNS), json.dumps(files)]
    said = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | {"SPARK_LOCAL_IP": "127.0.0.1"}
    )
    assert said.returncode == 0, said.stderr[-2000:]
    found = [json.loads(line.removeprefix("ROWS ")) for line in said.stdout.splitlines() if line.startswith("ROWS ")]
    assert [sorted(rows, key=str) for rows in found] == [stored(stores, version) for version in versions]

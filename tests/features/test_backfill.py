from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.features.test_incremental import START, dataset, everybody, rank_of_all, rows, together, trailing

from loopwright.core.errors import FeatureError
from loopwright.core.storage.duck import connect
from loopwright.data.lake import Lake
from loopwright.features.backfill import backfill, features_table, rows_sql
from loopwright.features.engine_duckdb import DuckEngine
from loopwright.features.materialize import inputs_of
from loopwright.features.view import feature_view

HOUR = timedelta(hours=1)


def kept(stores, view):
    with connect() as desk:
        return sorted(desk.sql(rows_sql(stores, view)).fetchall(), key=str)


def computed(stores, lake, view, snapshots, since, before):
    with DuckEngine().open(inputs_of(stores, lake, view, snapshots)) as session:
        found = session.stream(session.compute(view), since=since, before=before, batch=1000).read_all()
    return sorted((tuple(row.values()) for row in found.to_pylist()), key=str)


def rounded(found):
    return [tuple(round(value, 9) if isinstance(value, float) else value for value in row) for row in found]


@pytest.mark.parametrize(
    ("function", "entity", "how"),
    [(trailing, "who", "touched"), (rank_of_all, "who", "all"), (everybody, "town", "touched")],
)
def test_kept_rows_are_those_of_a_full_run_whatever_arrives(stores, function, entity, how):
    rng, lake, engine = np.random.default_rng(3), Lake(stores), DuckEngine()
    source = dataset("events", on_duplicate="upsert")
    view = feature_view(function, source, entity=entity, event_time="at", name="v")
    snapshots = {"events": lake.push(source, rows(rng, 0, 60, hours=6)).snapshot}

    def fill(first, last, part=HOUR):
        return backfill(stores, lake, engine, view, snapshots, since=START + first * HOUR, before=START + last * HOUR,
                        part=part)  # fmt: skip

    def check(first, last):
        expected = computed(stores, lake, view, snapshots, START + first * HOUR, START + last * HOUR)
        assert rounded(kept(stores, view)) == rounded(expected)

    report = fill(1, 4)
    assert (report.parts_written, report.parts_done, report.refreshed) == (3, 0, "nothing")
    check(1, 4)
    again = fill(1, 4)
    assert (again.rows_written, again.rows_computed, again.parts_done) == (0, 0, 1)
    assert fill(3, 8).parts_written == 4
    check(1, 8)
    late = rows(rng, 60, 4, hours=7)
    moved = late.slice(0, 2).set_column(0, "id", pa.array([5, 6]))  # two rows move to another entity and moment
    snapshots = {"events": lake.push(source, pa.concat_tables([late.slice(2), moved])).snapshot}
    refreshed = fill(0, 8)
    assert (refreshed.refreshed, refreshed.parts_written) == (how, 1)
    check(0, 8)
    if how == "touched":
        assert "rows of" not in refreshed.because
    snapshots = {"events": lake.push(source, rows(rng, 100, 3, hours=7)).snapshot}
    fill(0, 8)
    check(0, 8)


def test_an_empty_range_is_refused(stores):
    source = dataset("events")
    view = feature_view(together, source, source, entity="who", name="v")
    with pytest.raises(FeatureError, match="is empty"):
        backfill(stores, Lake(stores), DuckEngine(), view, {}, since=START, before=START)


KILLED = """
import os, signal, sys
from pathlib import Path
from datetime import timedelta
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.lake import Lake
from loopwright.features import backfill as module
from loopwright.features.engine_duckdb import DuckEngine
from loopwright.features.view import feature_view
from tests.features.test_incremental import START, dataset, trailing

stores = open_stores(Settings.load(Path(sys.argv[1]), {}))
lake, source = Lake(stores), dataset("events")
view = feature_view(trailing, source, entity="who", name="v")
left, append = int(sys.argv[2]), stores.tables.append

def counted(*args, **options):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return append(*args, **options)

stores.tables.append = counted
hours = [START + timedelta(hours=hour) for hour in (0, 9)]
module.backfill(stores, lake, DuckEngine(), view, {"events": lake.snapshot("events")}, since=hours[0], before=hours[1],
                part=timedelta(hours=1))
"""


def test_killed_at_any_commit_it_goes_on(stores):
    rng, lake = np.random.default_rng(3), Lake(stores)
    source = dataset("events")
    view = feature_view(trailing, source, entity="who", name="v")
    snapshots = {"events": lake.push(source, rows(rng, 0, 80, hours=8)).snapshot}
    project = stores.settings.project
    parts = 0
    for after in (2, 3):
        done = subprocess.run([sys.executable, "-c", KILLED, str(project), str(after)], cwd=Path.cwd(), check=False)
        assert done.returncode == -signal.SIGKILL
        parts += after
        found = kept(stores, view)
        assert rounded(found) == rounded(computed(stores, lake, view, snapshots, START, START + parts * HOUR))
    report = backfill(stores, lake, DuckEngine(), view, snapshots, since=START, before=START + 9 * HOUR, part=HOUR)
    assert report.parts_written == 9 - parts
    assert rounded(kept(stores, view)) == rounded(computed(stores, lake, view, snapshots, START, START + 9 * HOUR))
    assert stores.tables.count(features_table(view)) == 80

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.forks import Forks

from loopwright.core.errors import FeatureError, UnknownNameError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.sources.push import push
from loopwright.features.build import TrainingSetBuilder
from loopwright.features.examples import from_table, read_training_set
from loopwright.features.field import Field
from loopwright.features.label import label
from loopwright.features.split import entities, fraction
from loopwright.features.training_set import find_record, list_records
from loopwright.features.training_spec import training_set_spec
from loopwright.features.view import feature_view

START = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = pa.timestamp("us", tz="UTC")


def visits(**options):
    contract = [
        column("id", "int"),
        column("at", "timestamp", required=False),
        column("known", "timestamp", required=False),
    ]
    contract += [
        column("x", "float"),
        column("kind", "category", required=False),
        column("y", "category", required=False),
    ]
    return Dataset("visits", push(), event_time="at", key="id", contract=contract, **options)


def visit_table(rows=20, first=0, known_after=3, **columns):
    table = {
        "id": range(first, first + rows),
        "at": pa.array([START + timedelta(hours=index) for index in range(rows)], MOMENT),
        "known": pa.array([START + timedelta(hours=index + known_after) for index in range(rows)], MOMENT),
        "x": [float(index) for index in range(rows)],
        "kind": ["ab"[index % 2] for index in range(rows)],
        "y": ["no" if index % 3 else "yes" for index in range(rows)],
    }
    return pa.table({**table, **columns})


def spec_of(dataset, holdout=None, **options):
    return training_set_spec(
        "m",
        label=label(dataset.y, arrives_after="2h"),
        features=[dataset["x", "kind"]],
        holdout=holdout or fraction(0.4),
        **options,
    )


def keys(stores, record):
    parts = [record.train_path(stores), record.holdout_path(stores)]
    found = [read_training_set(path, record.feature_fields, record.label_field).keys.tolist() for path in parts]
    assert not set(found[0]) & set(found[1])
    return sorted(int(key) for part in found for key in part)


def test_only_known_labels_are_examples(stores, lake):
    dataset = visits()
    labels = pa.array([None if index == 4 else "yes" for index in range(20)])
    moments = pa.array([None if index == 5 else START + timedelta(hours=index) for index in range(20)], MOMENT)
    snapshot = lake.add(dataset, visit_table(y=labels, known=moments))
    spec = spec_of(dataset, event_time="known")
    record = TrainingSetBuilder(stores, lake).build(spec, {"visits": snapshot}, START + timedelta(hours=12))
    assert keys(stores, record) == [0, 1, 2, 3, 6, 7, 8, 9, 10]
    assert record.warnings == ("1 labelled rows of 'visits' have no 'known' and are left out.",)
    assert (record.first_event, record.last_event) == (START, START + timedelta(hours=10))


def test_a_row_that_had_not_arrived_is_no_example(stores, lake):
    dataset = visits(arrival_time="known")
    snapshot = lake.add(dataset, visit_table(known_after=5))
    record = TrainingSetBuilder(stores, lake).build(spec_of(dataset), {"visits": snapshot}, START + timedelta(hours=12))
    assert keys(stores, record) == list(range(8))
    assert record.known_at == {"visits": "arrival_time"}


def test_the_last_row_of_a_key_counts(stores, lake, clock):
    dataset = visits(on_duplicate="upsert")
    lake.add(dataset, visit_table())
    clock.advance(60)
    snapshot = lake.add(dataset, visit_table(x=[float(index + 100) for index in range(20)]))
    record = TrainingSetBuilder(stores, lake).build(spec_of(dataset), {"visits": snapshot}, START + timedelta(days=9))
    assert keys(stores, record) == list(range(20))
    train = read_training_set(record.train_path(stores), record.feature_fields, record.label_field)
    assert train.X["x"].tolist() == [int(key) + 100.0 for key in train.keys]


def test_a_label_that_arrived_before_its_event_leaks(stores, lake):
    dataset = visits(arrival_time="known")
    snapshot = lake.add(dataset, visit_table(known_after=-1))
    with pytest.raises(FeatureError, match="leaks: in 20 rows it arrived before its event"):
        TrainingSetBuilder(stores, lake).build(spec_of(dataset), {"visits": snapshot}, START + timedelta(days=9))


def test_no_example_is_said_with_the_numbers(stores, lake):
    dataset = visits()
    snapshot = lake.add(dataset, visit_table())
    with pytest.raises(
        FeatureError, match="of 20 rows of 'visits', 20 have a value in 'y', and none of these is mature"
    ):
        TrainingSetBuilder(stores, lake).build(spec_of(dataset), {"visits": snapshot}, START)


def test_what_the_data_lacks_is_named(stores, lake):
    dataset = visits()
    builder = TrainingSetBuilder(stores, lake)
    snapshots = {"visits": lake.add(dataset, visit_table())}
    as_of = START + timedelta(days=9)
    with pytest.raises(FeatureError, match="reads visits, of which there is no snapshot"):
        builder.build(spec_of(dataset), {}, as_of)
    spec = training_set_spec("m", label=label(dataset.y), features=[dataset.kynd], holdout=fraction(0.4))
    with pytest.raises(UnknownNameError, match="Did you mean 'kind'"):
        builder.build(spec, snapshots, as_of)
    with pytest.raises(UnknownNameError, match=r"There is no column '.*' in 'visits'"):
        builder.build(spec_of(dataset, entities(0.4, by="nobody")), snapshots, as_of)
    view = feature_view(lambda visits: visits.select("at", "x", who=visits.kind), dataset, entity="who", name="v")
    spec = training_set_spec("m", label=label(dataset.y), features=[view], holdout=fraction(0.4))
    with pytest.raises(FeatureError, match="is keyed by 'who', which the examples"):
        builder.build(spec, snapshots, as_of)


def test_an_empty_holdout_writes_nothing(stores, lake):
    dataset = visits()
    snapshots = {"visits": lake.add(dataset, visit_table())}
    with pytest.raises(FeatureError, match="would be empty"):
        TrainingSetBuilder(stores, lake).build(spec_of(dataset, fraction(0.0001)), snapshots, START + timedelta(days=9))
    assert list_records(stores) == []
    assert not list((stores.local / "training_sets").glob("*/*"))


def test_the_record_is_a_fact_with_lineage(stores, lake):
    dataset = visits()
    snapshot = lake.add(dataset, visit_table())
    record = TrainingSetBuilder(stores, lake).build(spec_of(dataset), {"visits": snapshot}, START + timedelta(days=9))
    assert find_record(stores, record.digest) == record
    assert list_records(stores, "m") == [record]
    assert snapshot.ref in [edge.source for edge in stores.lineage.ancestors(record.ref)]
    assert record.label_field.categories == ("no", "yes")
    assert [field.name for field in record.inputs] == ["x", "kind"]


def table_of(labels):
    return pa.table(
        {
            "x": [float(index) for index in range(len(labels))],
            "__label__": labels,
            "__key__": [str(index) for index in range(len(labels))],
            "__event_time__": pa.array([START] * len(labels), MOMENT),
        }
    )


@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_split_loses_and_doubles_nothing(rows, share, seed):
    whole = from_table(table_of(list(range(rows))), (Field("x", "float64"),), Field("y", "int64"))
    first, second = whole.split(share, seed)
    assert sorted([*first.y.tolist(), *second.y.tolist()]) == list(range(rows))
    assert len(second) >= 1
    assert len(first) >= 1
    again, _ = whole.split(share, seed)
    assert again.y.tolist() == first.y.tolist()


def test_targets():
    fields = (Field("x", "float64"),)
    texts = from_table(table_of(["b", "a"]), fields, Field("y", "category"))
    assert texts.y.tolist() == ["b", "a"]
    assert texts.y.dtype.kind == "U"
    assert from_table(table_of([True, False]), fields, Field("y", "bool")).y.dtype == np.bool_
    assert texts.event_times[0] == np.datetime64("2026-01-01")
    with pytest.raises(FeatureError, match="between 0 and 1"):
        texts.split(1.5)
    with pytest.raises(FeatureError, match="lacks the columns z"):
        from_table(table_of([1]), (Field("z", "float64"),), Field("y", "int64"))


KILLED = """
import os, signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from loopwright.core.clock import ManualClock
from loopwright.core.settings import Settings
from loopwright.core.storage.blobs import BlobStore
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.features.build import TrainingSetBuilder
from loopwright.features.label import label
from loopwright.features.on_demand import on_demand
from loopwright.features.split import fraction
from loopwright.features.training_set import list_records
from loopwright.features.training_spec import training_set_spec

calls = []

def die(stage):
    if stage == STAGE:
        os.kill(os.getpid(), signal.SIGKILL)

def twice(x):
    calls.append(len(x))
    if len(calls) == 5:
        die("transform")
    return x * 2

put_file = BlobStore.put_file

def dying_put(self, path):
    done = put_file(self, path)
    die("blob" if ".train." in path.name else "second blob")
    return done

def main(folder, stage):
    global STAGE
    STAGE = stage
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    stores = open_stores(Settings.load(Path(folder), environ={}), clock=clock)
    rows = Dataset("rows", push(), key="id", contract=[column("id", "int"), column("x", "float"), column("y", "float")])
    lake = Lake(stores)
    lake.push(rows, pa.table({"id": range(100), "x": np.arange(100.0), "y": np.arange(100.0)}))
    BlobStore.put_file = dying_put
    insert = stores.lineage.link

    def dying_link(*arguments, **named):
        die("fact")
        insert(*arguments, **named)

    object.__setattr__(stores.lineage, "link", dying_link)
    feature = on_demand(twice, rows.x, batch_rows=10)
    spec = training_set_spec("m", label=label(rows.y), features=[feature], holdout=fraction(0.3))
    builder = TrainingSetBuilder(stores, lake)
    record = builder.build(spec, {"rows": lake.snapshot("rows")}, datetime(2026, 1, 2, tzinfo=UTC))
    die("end")
    return [len(list_records(stores)), record.rows_train + record.rows_holdout, record.train_digest]
"""


def test_killed_anywhere_the_next_build_is_whole(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    with Forks(KILLED) as forks:
        for stage in ("transform", "blob", "fact"):
            assert forks.run(tmp_path, stage) == -signal.SIGKILL
        (first,) = forks.together((tmp_path, ""))
        (fresh,) = forks.together((other, ""))
    assert first[:2] == [1, 100]
    assert fresh == first

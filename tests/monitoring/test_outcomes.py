from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.storage.duck import borrowed
from loopwright.core.storage.events import Event
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.features.label import label
from loopwright.monitoring.coverage import label_coverage
from loopwright.monitoring.outcomes import OutcomeCollector, outcomes_table, outcomes_topic, record_outcome, revised
from loopwright.serving.log.compactor import predictions_table

MODEL = "digits"


@pytest.fixture
def collector(stores, lake):
    return OutcomeCollector(stores, lake)


def outcomes(stores):
    if not stores.tables.exists(outcomes_table(MODEL)):
        return []
    rows = stores.tables.read(outcomes_table(MODEL)).to_pylist()
    return sorted((row["prediction_id"], row["revision"], row["label"]) for row in rows)


def test_labels_join_before_with_and_after_their_predictions(stores, served, watched, collector):
    model = watched()
    first = served.predict(3)
    record_outcome(stores, MODEL, first[0], 1)
    record_outcome(stores, MODEL, "not-yet-known", "a")
    assert collector.collect(model).outcomes == 1
    assert collector.collect(model).outcomes == 0
    record_outcome(stores, MODEL, first[1], "b")
    record_outcome(stores, MODEL, first[2], None)
    assert collector.collect(model).outcomes == 1
    assert outcomes(stores) == sorted([(first[0], 0, "1"), (first[1], 0, '"b"')])


def test_a_label_waits_for_its_prediction(stores, served, watched, collector, ids, monkeypatch):
    model = watched()
    waiting = ids.new()
    served.predict(1)
    record_outcome(stores, MODEL, waiting, 1)
    assert collector.collect(model).outcomes == 0
    monkeypatch.setattr(stores.ids, "new", lambda: waiting)
    served.predict(1)
    assert collector.collect(model).outcomes == 1
    assert outcomes(stores) == [(waiting, 0, "1")]


def test_revisions_are_numbered_and_repetitions_are_none(stores, served, watched, collector, clock):
    model = watched()
    (one,) = served.predict(1)
    for value in (1, 1, 2):
        record_outcome(stores, MODEL, one, value)
        clock.advance(1)
    assert collector.collect(model).revisions == 1
    record_outcome(stores, MODEL, one, 2)
    assert collector.collect(model).outcomes == 0
    record_outcome(stores, MODEL, one, 3)
    assert collector.collect(model).revisions == 1
    assert outcomes(stores) == [(one, 0, "1"), (one, 1, "2"), (one, 2, "3")]


def test_shadow_and_champion_each_get_the_outcome(stores, served, watched, collector, monkeypatch):
    (one,) = served.predict(1)
    monkeypatch.setattr(stores.ids, "new", lambda: one)
    served.predict(1, version=2, route="shadow")
    record_outcome(stores, MODEL, one, 1)
    assert collector.collect(watched()).outcomes == 2


def test_what_is_no_outcome_is_kept_and_joins_nothing(stores, served, watched, collector):
    (one,) = served.predict(1)
    stores.events.append(outcomes_topic(MODEL), [Event(one, b"\xff"), Event(one, b"3"), Event(None, b"{}")])
    report = collector.collect(watched())
    assert (report.labels_read, report.outcomes) == (3, 0)


def test_labels_come_from_the_rows_of_their_dataset_late_and_revised(stores, served, watched, clock):
    images = Dataset(
        "images", source=push(), key="id", contract=[column("id", "int"), column("digit", "int", required=False)],
        on_duplicate="upsert",
    )  # fmt: skip
    lake = Lake(stores)
    collector = OutcomeCollector(stores, lake)
    model = watched(label=label(images.digit, arrives_after="1h"))
    lake.push(images, [{"id": 1, "digit": 5}, {"id": 2, "digit": None}])
    ids = served.predict(3, keys=["1", "2", "9"])
    assert collector.collect(model).outcomes == 1
    clock.advance(timedelta(hours=2))
    lake.push(images, [{"id": 2, "digit": 7}, {"id": 77, "digit": 1}])
    assert collector.collect(model).outcomes == 1
    clock.advance(1)
    lake.push(images, [{"id": 2, "digit": 8}])
    assert collector.collect(model).revisions == 1
    assert outcomes(stores) == sorted([(ids[0], 0, "5"), (ids[1], 0, "7"), (ids[1], 1, "8")])
    (later,) = served.predict(1, keys=["77"])
    assert collector.collect(model).outcomes == 1
    assert (later, 0, "1") in outcomes(stores)


def test_compaction_of_every_table_joins_nothing_twice(stores, served, watched, collector):
    model = watched()
    for _ in range(3):
        for one in served.predict(4):
            record_outcome(stores, MODEL, one, 1)
        collector.collect(model)
        for table in (predictions_table(MODEL), outcomes_table(MODEL), f"labels/{MODEL}"):
            stores.tables.compact(table)
    assert collector.collect(model).outcomes == 0
    assert len(outcomes(stores)) == 12


def test_coverage_says_how_much_should_be_there_and_is(stores, served, watched, collector, clock):
    images = Dataset("images", source=push(), key="id", contract=[column("id", "int"), column("digit", "int")])
    declared = label(images.digit, arrives_after="1h")
    ids = served.predict(4)
    clock.advance(timedelta(days=1))
    ids += served.predict(4)
    for one in ids[2:5]:
        record_outcome(stores, MODEL, one, 1)
    collector.collect(watched())
    first, second = label_coverage(stores, MODEL, declared)
    assert (first.predictions, first.share, first.mature_share) == (4, 0.5, 0.5)
    assert (second.predictions, second.share, second.mature_share) == (4, 0.25, None)


moments = st.none() | st.integers(0, 3).map(lambda day: datetime(2026, 1, 1 + day, tzinfo=UTC))
paired = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 2), st.sampled_from(["x", "y", "z"]), moments, st.integers(0, 9)),
    max_size=12,
    unique_by=lambda one: one[4],
)
known_before = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(1, 2)), st.tuples(st.integers(0, 4), st.sampled_from(["x", "y"]))
)


@settings(max_examples=60)
@given(paired, known_before)
def test_revisions_are_numbered_as_one_by_one(pairs, known):
    """The query against the same rule applied to one label after the other."""
    planned_at = datetime(2026, 2, 1, tzinfo=UTC)
    columns = ("prediction_id", "version", "label", "arrived_at", "position")
    rows = [dict(zip(columns, one, strict=True)) for one in pairs]
    fixed = {"route": "champion", "predicted_at": planned_at, "output_number": 1.0, "output_text": None, "place": 0}
    fixed["source"] = "event"
    late = datetime(2027, 1, 1, tzinfo=UTC)
    last, expected = dict(known), []
    for row in sorted(rows, key=lambda one: (one["arrived_at"] or late, one["position"])):
        revision, label = last.get((row["prediction_id"], row["version"]), (-1, None))
        if label != row["label"]:
            last[row["prediction_id"], row["version"]] = (revision + 1, row["label"])
            arrived = row["arrived_at"] or planned_at
            expected.append((row["prediction_id"], row["version"], row["label"], revision + 1, arrived))
    micros = pa.timestamp("us", tz="UTC")
    types = {"prediction_id": pa.string(), "version": pa.int64(), "label": pa.string(), "arrived_at": micros}
    types |= {"position": pa.int64(), "route": pa.string(), "predicted_at": micros, "output_number": pa.float64()}
    types |= {"output_text": pa.string(), "place": pa.int64(), "source": pa.string()}
    known_rows = [
        {"prediction_id": name, "version": version, "route": "champion", "revision": revision, "label": label}
        for (name, version), (revision, label) in known.items()
    ]
    known_types = {"prediction_id": pa.string(), "version": pa.int64(), "route": pa.string(), "revision": pa.int64()}
    with borrowed() as con:
        con.register("pairs", pa.Table.from_pylist([row | fixed for row in rows], schema=pa.schema(types)))
        con.register("known", pa.Table.from_pylist(known_rows, schema=pa.schema(known_types | {"label": pa.string()})))
        found = revised(con, 7, planned_at).to_pylist()
    assert [
        (row["prediction_id"], row["version"], row["label"], row["revision"], row["arrived_at"]) for row in found
    ] == expected
    assert {row["batch"] for row in found} <= {7}

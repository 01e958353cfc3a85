"""Computing what is touched gives what computing everything gives, whatever arrives in whatever order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.features.engine_duckdb import DuckEngine
from loopwright.features.label import label
from loopwright.features.materialize import materialize, view_key
from loopwright.features.online import MemoryOnlineStore
from loopwright.features.view import feature_view

START = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = pa.timestamp("us", tz="UTC")


def dataset(name, **options):
    contract = [column("id", "int"), column("who", "int"), column("town", "category"), column("at", "timestamp")]
    contract.append(column("x", "float", required=False))
    return Dataset(name, push(), event_time="at", key="id", contract=contract, **options)


def by_who(**bounds):
    return ibis.window(group_by="who", order_by="at", **bounds)


def trailing(t):
    return t.select("who", "at", m=t.x.mean().over(by_who(preceding=3, following=-1)), town=t.town)


def within_an_hour(t):
    return t.select("who", "at", n=t.x.count().over(by_who(preceding=ibis.interval(hours=1), following=0)))


def hourly(t):
    hours = t.mutate(at=t["at"].truncate("h") + ibis.interval(hours=1))
    return hours.group_by("who", "at").agg(n=hours.count(), s=hours.x.sum())


def compound(t):
    both = ibis.window(group_by=["who", "town"], order_by="at", preceding=2, following=0)
    return t.select("who", "town", "at", m=t.x.max().over(both))


def filtered(t):
    big = t.filter(t.x > 0.3)
    return big.select("who", "at", before=big.x.lag().over(by_who()))


def together(t, u):
    joined = t.left_join(u, [t.who == u.who, t["at"] > u["at"]])
    return joined.group_by("who", "at").agg(n=ibis._.x_right.count(), m=ibis._.x_right.mean())


def everybody(t):
    hours = t.mutate(at=t["at"].truncate("h") + ibis.interval(hours=1))
    return hours.group_by("town", "at").agg(n=hours.count(), first=hours.who.min())


def rank_of_all(t):
    return t.select("who", "at", rank=ibis.row_number().over(ibis.window(order_by="at")))


VIEWS = {
    "trailing": (trailing, "who", 1, "touched"),
    "within_an_hour": (within_an_hour, "who", 1, "touched"),
    "hourly": (hourly, "who", 1, "touched"),
    "compound": (compound, ("who", "town"), 1, "touched"),
    "filtered": (filtered, "who", 1, "touched"),
    "together": (together, "who", 2, "touched"),
    "everybody": (everybody, "town", 1, "touched"),
    "rank_of_all": (rank_of_all, "who", 1, "all"),
}


def rows(rng, first, count, hours):
    """Rows of one push: events anywhere in the hours so far, so that many are late; no two at one moment."""
    micros = rng.integers(0, int(hours * 3600), count) * 1_000_000 + np.arange(first, first + count)
    return pa.table(
        {
            "id": range(first, first + count),
            "who": rng.integers(0, 8, count),
            "town": rng.choice(["Oslo", "Bergen"], count).tolist(),
            "at": pa.array([START + timedelta(microseconds=int(one)) for one in micros], MOMENT),
            "x": [None if rng.random() < 0.1 else float(rng.random()) for _ in range(count)],
        }
    )


def content(online, view):
    key = view_key(view)
    return online._rows.get(key, {})


def pushed(lake, source, table, snapshots):
    snapshots[source.name] = lake.push(source, table).snapshot or snapshots[source.name]


def same(left, right):
    assert left.keys() == right.keys()
    for key, row in left.items():
        other = right[key]
        assert (row.event_time, row.available_at) == (other.event_time, other.available_at)
        assert row.values == pytest.approx(other.values)


@pytest.mark.parametrize("name", VIEWS)
@settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 10_000), late_h=st.sampled_from([0, 3]))
def test_touched_entities_give_what_everything_gives(stores, name, seed, late_h):
    function, entity, reads, expected = VIEWS[name]
    rng, suffix = np.random.default_rng(seed), f"{name}_{seed}_{late_h}"
    lake, engine, online = Lake(stores), DuckEngine(), MemoryOnlineStore()
    sources = [dataset(f"{part}_{suffix}", on_duplicate="upsert") for part in ("t", "u")[:reads]]
    view = feature_view(function, *sources, entity=entity, event_time="at", name=suffix)
    labels = [label(sources[0].x, arrives_after=f"{late_h}h")] if late_h else []
    snapshots, first, stored, seen = {}, 0, {}, []
    for step in range(3):
        for source in sources:
            fresh = rows(rng, first, int(rng.integers(1, 12)) if step else 40, hours=6 + step)
            first += fresh.num_rows
            if step == 2:  # and values that are corrected
                corrected = stored[source.name].take(rng.choice(40, 3, replace=False))
                x = corrected.column_names.index("x")
                fresh = pa.concat_tables([fresh, corrected.set_column(x, "x", pa.array(rng.random(3)))])
            stored.setdefault(source.name, fresh)
            pushed(lake, source, fresh, snapshots)
        until = START + timedelta(hours=6 + step)
        whole = MemoryOnlineStore()
        seen.append(materialize(stores, lake, online, engine, view, snapshots, labels=labels, until=until))
        everything = materialize(stores, lake, whole, engine, view, snapshots, labels=labels, until=until)
        same(content(online, view), content(whole, view))
        assert seen[-1].rows_computed <= everything.rows_computed
    assert [report.how for report in seen] == ["all", expected, expected]


def test_only_what_can_have_changed_is_computed(stores):
    source = dataset("events")
    lake, engine, online = Lake(stores), DuckEngine(), MemoryOnlineStore()
    view = feature_view(trailing, source, entity="who", name="v")
    late = [label(source.x, arrives_after="2h")]
    rng = np.random.default_rng(1)

    def fill(hours):
        return materialize(
            stores, lake, online, engine, view, snapshots, labels=late, until=START + timedelta(hours=hours)
        )

    snapshots = {"events": lake.push(source, rows(rng, 0, 300, hours=6)).snapshot}
    first = fill(5)
    assert (first.how, first.rows_computed, first.because) == ("all", 300, "")
    waiting = fill(5.5)
    assert waiting.how == "waiting"
    assert fill(5.5).how == "nothing"
    assert fill(10).how == "waiting"
    assert fill(20).how == "nothing"
    one = rows(rng, 300, 1, hours=6)
    snapshots = {"events": lake.push(source, one).snapshot}
    touched = fill(21)
    assert touched.how == "touched"
    who = one.column("who")[0].as_py()
    stored = lake.read(snapshots["events"]).column("who").to_pylist()
    assert touched.rows_computed == stored.count(who)


def test_removed_rows_are_said(stores):
    source = dataset("events")
    lake, engine, online = Lake(stores), DuckEngine(), MemoryOnlineStore()
    view = feature_view(trailing, source, entity="who", name="v")
    rng = np.random.default_rng(1)
    snapshots = {"events": lake.push(source, rows(rng, 0, 50, hours=6)).snapshot}
    materialize(stores, lake, online, engine, view, snapshots, until=START + timedelta(hours=9))
    stores.tables.delete("datasets/events", "who = 1")
    snapshots = {"events": lake.push(source, rows(rng, 50, 5, hours=6)).snapshot}
    report = materialize(stores, lake, online, engine, view, snapshots, until=START + timedelta(hours=9))
    assert (report.how, report.because) == ("all", "rows of 'events' were removed")

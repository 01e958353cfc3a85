"""What differs between two snapshots equals what comparing all their rows in Python finds."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from loopwright.core.clock import ManualClock
    from loopwright.core.storage.stores import Stores

ROWS = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(0, 8), "x": st.one_of(st.none(), st.integers(0, 3)), "c": st.sampled_from("ab")},
        optional={"new": st.integers(0, 1)},
    ),
    min_size=1,
    max_size=8,
)
PUSHES = st.lists(st.one_of(ROWS, ROWS, st.just("compact")), max_size=6)


def content(row: dict[str, object]) -> tuple[object, ...]:
    return tuple(row.get(name) for name in ("x", "c", "new"))


@settings(max_examples=15)
@given(first=ROWS, pushes=PUSHES, policy=st.sampled_from(["upsert", "quarantine", None]), data=st.data())
def test_equals_the_oracle(
    first: list[dict[str, object]], pushes: list[object], policy: str | None, data: st.DataObject
) -> None:
    keyed = {"key": "id", "on_duplicate": policy} if policy else {}
    dataset = Dataset("d", push(), contract=[column("id", "int"), column("x", "int", required=False)], **keyed)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        stores = open_stores(Settings.load(Path(folder), environ={}))
        lake = Lake(stores)
        for rows in (first, *pushes):
            if rows == "compact":
                stores.tables.compact("datasets/d")
            else:
                lake.push(dataset, rows)  # type: ignore[arg-type]
        history = lake.history("d")
        older, newer = data.draw(st.sampled_from(history)), data.draw(st.sampled_from(history))
        found = lake.diff(older, newer)
        before, after = lake.read(older).to_pylist(), lake.read(newer).to_pylist()
        assert (found.rows_before, found.rows_after) == (len(before), len(after))
        if policy is None:
            old, new = (Counter((row["id"], *content(row)) for row in rows) for rows in (before, after))
            assert (found.rows_added, found.rows_removed) == ((new - old).total(), (old - new).total())
            assert found.rows_changed is None
        else:
            old, new = ({row["id"]: row for row in rows} for rows in (before, after))
            changed = {key for key in old.keys() & new.keys() if content(old[key]) != content(new[key])}
            assert (found.rows_added, found.rows_removed) == (
                len(new.keys() - old.keys()),
                len(old.keys() - new.keys()),
            )
            assert found.rows_changed == len(changed)
            for one in found.columns:
                if one.name != "id":
                    differ = sum(old[key].get(one.name) != new[key].get(one.name) for key in changed)
                    assert one.rows_changed == differ
            for example in found.examples:
                key = example.key["id"]
                assert {"added": key not in old, "removed": key not in new, "changed": key in changed}[example.kind]
                for name, (was, now) in example.values.items():
                    assert (was, now) == (old.get(key, {}).get(name), new.get(key, {}).get(name))
        for one in found.columns:
            for summary, rows in ((one.before, before), (one.after, after)):
                if summary is not None:
                    values = [row.get(one.name) for row in rows]
                    assert summary.null_share == pytest.approx(values.count(None) / len(values))
        stores.close()


def test_an_append_reads_what_was_appended(stores: Stores, clock: ManualClock) -> None:
    lake = Lake(stores)
    data = Dataset("d", push(), key="id")
    lake.push(data, [{"id": n, "x": float(n)} for n in range(5000)])
    clock.advance(1)
    lake.push(data, [{"id": n, "x": float(n)} for n in range(5000, 5010)])
    found = lake.diff("d@1", "d@2", sample_rows=0)
    assert (found.rows_added, found.rows_compared, found.sampled_rows) == (10, 10, 0)
    assert all(one.before is None and one.psi is None for one in found.columns)
    back = lake.diff("d@2", "d@1")
    assert (back.rows_removed, back.rows_added) == (10, 0)


def test_distributions_that_moved_are_seen(stores: Stores, clock: ManualClock) -> None:
    lake = Lake(stores)
    data = Dataset("d", push(), key="id", on_duplicate="upsert")
    chance = np.random.default_rng(0)
    rows = [{"id": n, "same": float(chance.normal()), "moved": float(chance.normal()), "c": "a"} for n in range(2000)]
    lake.push(data, rows)
    clock.advance(1)
    lake.push(data, [row | {"moved": float(row["moved"]) + 1.0, "c": "ab"[n % 2]} for n, row in enumerate(rows)])
    found = {one.name: one for one in lake.diff("d@1", "d@2").columns}
    assert (found["same"].rows_changed, found["moved"].rows_changed, found["c"].rows_changed) == (0, 2000, 1000)
    psi = {name: one.psi or 0.0 for name, one in found.items()}
    assert psi["same"] == pytest.approx(0.0, abs=1e-12)
    assert min(psi["moved"], psi["c"]) > 0.5
    before, after = found["moved"].before, found["moved"].after
    assert before is not None
    assert after is not None
    assert [b + 1.0 for b in before.quantiles] == pytest.approx(after.quantiles)
    sampled = lake.diff("d@1", "d@2", sample_rows=500)
    assert 300 < sampled.sampled_rows < 800
    again = {one.name: one for one in lake.diff("d@1", "d@2", sample_rows=500).columns}
    for one in sampled.columns:  # the same rows, in whatever order
        assert one.psi == again[one.name].psi

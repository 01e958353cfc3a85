from __future__ import annotations

import dataclasses
import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.core.statistics.binning import CategoryBins, NumericBins, freeze_category, freeze_numeric
from loopwright.core.storage.duck import connect
from loopwright.evaluation.loss import reference_loss
from loopwright.evaluation.outputs import Outputs
from loopwright.features.field import Field
from loopwright.monitoring.reference import (
    CONFIDENCE,
    OUTPUT,
    ReferenceProfile,
    ReferenceProfiles,
    count_cells,
    freeze,
    independent_share,
    load_profiles,
)

if TYPE_CHECKING:
    import duckdb


LOSS = reference_loss("regression", [0.5, 1.0, 2.0])


@pytest.fixture(scope="module")
def con():
    with connect() as opened:
        yield opened


def duck_numeric(con: duckdb.DuckDBPyConnection, bins: NumericBins, values: pa.Array) -> list[int]:
    con.register("t", pa.table({"v": values}))
    edges = bins.edges
    inner = [(low, high) for low, high in itertools.pairwise(edges)]
    shown = [f"v < {edges[0]!r}::DOUBLE"]
    shown += [f"v >= {low!r}::DOUBLE AND v < {high!r}::DOUBLE" for low, high in inner[:-1]]
    low = inner[-1][0] if inner else edges[0]
    shown += [f"v >= {low!r}::DOUBLE AND v <= {edges[-1]!r}::DOUBLE", f"v > {edges[-1]!r}::DOUBLE", "v IS NULL"]
    listed = ", ".join(f"count(*) FILTER ({condition})" for condition in shown)
    return list(con.execute(f"SELECT {listed} FROM t").fetchall()[0])


_finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@settings(max_examples=80)
@given(
    reference=st.lists(_finite, min_size=1, max_size=60), data=st.lists(st.none() | _finite, min_size=1, max_size=60)
)
def test_numbers_are_counted_as_duckdb_counts_them(con, reference, data):
    bins = freeze_numeric(reference, bins=10)
    values = pa.array([*data, *reference], pa.float64())
    counted = count_cells(bins, values)
    assert counted.tolist() == duck_numeric(con, bins, values)
    split = len(data) // 2
    assert (count_cells(bins, values[:split]) + count_cells(bins, values[split:]) == counted).all()


@settings(max_examples=80)
@given(
    reference=st.lists(st.sampled_from("abcd"), min_size=1),
    data=st.lists(st.none() | st.sampled_from("abcdefg"), min_size=1),
)
def test_classes_are_counted_as_duckdb_counts_them(con, reference, data):
    bins = freeze_category(reference, top=3)
    counted = count_cells(bins, pa.array(data, pa.string()))
    con.register("t", pa.table({"v": pa.array(data, pa.string())}))
    tally = dict(con.execute("SELECT v, count(*) FROM t GROUP BY v").fetchall())
    expected = [tally.pop(name, 0) for name in bins.categories]
    missing = tally.pop(None, 0)
    assert counted.tolist() == [*expected, sum(tally.values()), missing]


def test_a_profile_survives_json_and_the_store(profile, stores):
    assert ReferenceProfile.from_json(json.loads(json.dumps(profile.to_json()))) == profile
    profiles = ReferenceProfiles(stores)
    assert profiles.put(profile) == profiles.put(profile)
    assert profiles.get(profile.version) == profile
    assert load_profiles(stores, profile.model) == {profile.version: profile}
    assert profiles.get("digits/9") is None
    with pytest.raises(DeclarationError, match="never changes"):
        profiles.put(dataclasses.replace(profile, rows=1))


def test_a_profile_watches_inputs_by_their_kind_and_the_answers(profile):
    by_name = {reference.name: reference for reference in profile.watched}
    assert set(by_name) == {"x", "city", "pixels.mean", "pixels.std", "pixels.min", "pixels.max", OUTPUT, CONFIDENCE}
    assert by_name["city"].bins == CategoryBins(("Oslo", "Bergen"))
    assert sum(by_name["x"].counts) == profile.rows
    assert len(by_name["x"].bins.cells) == 13
    assert profile.loss.mean == pytest.approx(0.1, abs=0.02)


def test_a_regression_profile_has_numbers_as_answers():
    table = pa.table({"x": [1.0, 2.0, 3.0], "gone": pa.array([None, None, None], pa.float64())})
    outputs = Outputs("regression", np.array([1.0, 2.0, 4.0]))
    fields = (Field("x", "float64"), Field("gone", "float64"))
    made = freeze(
        model="m", version="m/1", table=table, fields=fields, outputs=outputs, labels=[1.5, 3.0, 2.0], loss=LOSS
    )
    assert [one.name for one in made.watched] == ["x", OUTPUT]
    assert made.calibration is None
    assert made.loss == LOSS


def test_what_has_no_rows_has_no_reference():
    outputs = Outputs("regression", np.array([1.0, 2.0]))
    table = pa.table({"x": pa.array([], pa.float64())})
    with pytest.raises(DeclarationError, match="training rows"):
        freeze(model="m", version="m/1", table=table, fields=(), outputs=outputs, labels=[1, 2], loss=LOSS)
    with pytest.raises(DeclarationError, match="1 labels"):
        freeze(
            model="m", version="m/1", table=pa.table({"x": [1.0]}), fields=(), outputs=outputs, labels=[1.0], loss=LOSS
        )


def test_dependence_is_seen_and_a_sudden_change_is_not_mistaken_for_it():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=2000)
    assert independent_share(noise) > 0.8
    step = noise + np.where(np.arange(2000) < 700, 0.0, 3.0)
    assert independent_share(step) > 0.8
    walk = np.zeros(2000)
    for i in range(1, 2000):
        walk[i] = 0.9 * walk[i - 1] + noise[i]
    assert independent_share(walk) < 0.12

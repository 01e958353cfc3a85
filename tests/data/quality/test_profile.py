from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import ContractError, SourceError, UnknownNameError, UsageError
from loopwright.core.statistics.binning import CategoryBins, NumericBins
from loopwright.core.storage.duck import connect
from loopwright.data.quality import profile_run
from loopwright.data.quality.profile import Profile
from loopwright.data.quality.profile_drift import compare
from loopwright.data.quality.profile_findings import findings
from loopwright.data.quality.profile_page import page
from loopwright.data.quality.profile_pairs import cramers_v
from loopwright.data.quality.profile_run import measure

if TYPE_CHECKING:
    from pathlib import Path


def profiled(table: pa.Table, **options: object) -> Profile:
    with connect(threads=1) as con:
        con.register("given", table)
        return measure(con, "given", "given", **options)  # type: ignore[arg-type]


NUMBERS = st.lists(
    st.one_of(st.none(), st.floats(width=32), st.sampled_from([0.0, 1.0, math.inf])), min_size=1, max_size=60
)
TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=3), st.sampled_from(["a", "b", ""])), min_size=1, max_size=60)


@settings(max_examples=25)
@given(values=NUMBERS)
def test_numbers_are_counted_as_the_bins_say(values: list[float | None]) -> None:
    profile = profiled(pa.table({"x": pa.array(values, pa.float64())}))
    one = profile.column("x")
    clean = np.array([math.nan if v is None else v for v in values])
    assert one.nulls == int(np.isnan(clean).sum())
    finite = clean[np.isfinite(clean)]
    if len(finite):
        assert isinstance(one.bins, NumericBins)
        assert list(one.counts) == one.bins.count(clean).tolist()
        assert one.numbers is not None
        assert (one.numbers.minimum, one.numbers.maximum) == (finite.min(), finite.max())
        assert one.histogram is not None
        assert sum(one.histogram.counts) == len(finite)
        assert one.numbers.infinite == int(np.isinf(clean).sum())
    assert Profile.from_json(json.dumps(profile.to_json())) == profile


@settings(max_examples=25)
@given(values=TEXTS)
def test_texts_are_counted_by_value(values: list[str | None]) -> None:
    one = profiled(pa.table({"x": pa.array(values, pa.string())})).column("x")
    there = [value for value in values if value is not None]
    assert (one.nulls, one.distinct) == (len(values) - len(there), len(set(there)))
    if there:
        assert isinstance(one.bins, CategoryBins)
        assert sum(one.counts) == len(values)
        if len(set(there)) <= profile_run.TOP:
            assert dict(one.top) == {value: there.count(value) for value in set(there)}


def test_large_tables_are_estimated_and_counted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_run, "EXACT_ROWS", 1000)
    values = np.random.default_rng(1).normal(size=20_000)
    profile = profiled(pa.table({"x": values}))
    one = profile.column("x")
    assert profile.is_estimated
    assert profile.duplicate_rows is None
    assert not one.is_distinct_exact
    assert one.distinct == pytest.approx(20_000, rel=0.15)
    assert isinstance(one.bins, NumericBins)
    assert list(one.counts) == one.bins.count(values).tolist()
    assert max(one.counts) < 1.5 * 20_000 / 20


def test_all_kinds_and_an_empty_table() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    table = pa.table(
        {
            "when": pa.array([start + timedelta(hours=n) for n in range(200)], pa.timestamp("us", tz="UTC")),
            "day": pa.array([(start + timedelta(hours=n)).date() for n in range(200)]),
            "flag": [n % 3 == 0 for n in range(200)],
            "empty": pa.nulls(200, pa.float64()),
            "one": ["x"] * 200,
            "listed": [[1, 2]] * 200,
            "bytes": [b"ab"] * 200,
            "gap": [None if n < 100 else float(n) for n in range(200)],
        }
    )
    profile = profiled(table, key=["one"])
    assert profile.time_column == "when"
    assert sum(profile.rows_by_time) == 200
    assert profile.duplicate_keys == 199
    gap = profile.column("gap").timeline
    assert gap is not None
    assert gap.nulls[0] == profile.rows_by_time[0]
    assert sum(gap.nulls) == 100
    said = {one.kind: one.column for one in findings(profile)}
    assert said["missing"] == "gap"
    assert said["duplicates"] == "one"
    html = page(profile)
    assert html.count("<svg") >= 5
    assert "<script" not in html
    nothing = profiled(table.slice(0, 0))
    assert nothing.rows == 0
    assert Profile.from_json(nothing.to_json()) == nothing
    assert "No value in any row" in page(nothing)


def test_the_page_escapes_what_comes_from_data() -> None:
    evil = "<script>alert(1)</script>'\"\\"
    profile = profiled(pa.table({evil: [evil, evil, "b", None], "n" * 300: [1, 2, 3, 4]}))
    html = page(profile, target=evil)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_two_profiles_are_compared_on_the_bins_of_the_first() -> None:
    rng = np.random.default_rng(2)
    before = profiled(pa.table({"x": rng.normal(size=5000), "c": ["a", "b"] * 2500, "same": rng.normal(size=5000)}))
    now = pa.table(
        {"x": rng.normal(1, 1, 4000), "c": ["a", "z"] * 2000, "same": rng.normal(size=4000), "new": [1] * 4000}
    )
    change = compare(before, profiled(now, like=before))
    assert {one.name for one in change.columns if one.drift and one.drift.drifted} == {"x", "c"}
    assert (change.added, change.removed) == (("new",), ())
    assert "drifted" in page(before, change=change)


def test_real_data_say_what_is_wrong_with_them(shared_data: Path) -> None:
    with connect() as con:
        churn = measure(con, f"'{shared_data / 'telco_churn.parquet'}'", "churn")
        sms = measure(con, f"'{shared_data / 'sms_spam.parquet'}'", "sms")
    assert {(one.kind, one.column) for one in findings(churn)} == {
        ("text_numbers", "TotalCharges"),
        ("same_as", "PhoneService"),
    }
    assert [one.text for one in findings(sms) if one.kind == "repeats"] == [
        "text: 403 texts came before; take them out before a random split."
    ]


def test_cramers_v() -> None:
    rng = np.random.default_rng(3)
    assert cramers_v(rng.integers(0, 5, 5000), rng.integers(0, 7, 5000)) == pytest.approx(0.0, abs=0.03)
    assert cramers_v([0, 1, 2] * 40, [2, 0, 1] * 40) == pytest.approx(1.0)
    assert cramers_v([0] * 40, [0, 1] * 20) is None
    assert cramers_v([-1] * 40, [0, 1] * 20) is None


def test_wrong_input() -> None:
    table = pa.table({"x": [1]})
    with pytest.raises(ContractError, match="'y'"):
        profiled(table, key=["y"])
    with pytest.raises(UsageError, match="holds no times"):
        profiled(table, time_column="x")
    with pytest.raises(UsageError, match="no columns"):
        profiled(table, leave_out=["x"])
    with pytest.raises(UnknownNameError):
        profiled(table).column("y")
    for wrong in ("[]", "{}", "nonsense", '{"schema": "loopwright.profile/1"}', {"schema": "loopwright.profile/99"}):
        with pytest.raises(SourceError):
            Profile.from_json(wrong)

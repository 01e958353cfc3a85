from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.monitoring.watch import DriftWindows, LossWatch, drift_windows, kpi, monitoring


@given(st.integers(50, 10_000_000))
def test_windows_by_rows_are_read_back(rows):
    assert drift_windows(f"{rows:,} rows").rows == rows
    assert drift_windows(f"every {rows} rows") == drift_windows(rows)


@pytest.mark.parametrize(
    ("text", "every", "alpha"),
    [("daily", timedelta(days=1), 0.01), ("hourly", timedelta(hours=1), 0.001), ("6h", timedelta(hours=6), 0.001)],
)
def test_windows_in_time_have_the_budget_of_their_length(text, every, alpha):
    windows = drift_windows(text)
    assert (windows.every, windows.alpha) == (every, alpha)


@pytest.mark.parametrize("text", ["often", "1m", "7 rows", "rows", "", "-5 rows"])
def test_what_is_no_window_is_refused_with_what_is(text):
    with pytest.raises(DeclarationError):
        drift_windows(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency_p99": "0ms"},
        {"errors": 1.5},
        {"errors": 0},
        {"business": [kpi("a", at_most=1), kpi("a", at_least=0)]},
    ],
)
def test_what_cannot_be_watched_is_refused(wrong):
    with pytest.raises(DeclarationError):
        monitoring(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a"},
        {"name": " ", "at_most": 1},
        {"name": "a", "at_most": float("nan")},
        {"name": "a", "at_most": 1, "at_least": 2},
        {"name": "a", "at_most": 1, "confidence": 1.0},
    ],
)
def test_a_business_number_needs_a_name_and_bounds_that_agree(wrong):
    with pytest.raises(DeclarationError):
        kpi(**wrong)


def test_a_false_page_must_be_rarer_than_a_false_ticket():
    with pytest.raises(DeclarationError, match="page"):
        LossWatch(rows_per_false_ticket=1e6, rows_per_false_page=1e4)
    with pytest.raises(DeclarationError):
        DriftWindows(rows=500, every=timedelta(hours=1))


def test_one_number_and_several_are_both_accepted():
    one = monitoring(business=kpi("refunds", at_most=0.02))
    assert one.kpi_named("refunds") is not None
    assert one.kpi_named("other") is None
    assert monitoring(drift=None).drift is None

"""Bins: every value lands in exactly one cell, and counts add."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.statistics.binning import (
    CategoryBins,
    NumericBins,
    bins_from_json,
    freeze_category,
    freeze_numeric,
)

numbers = st.lists(st.one_of(st.floats(), st.none().map(lambda _: math.nan)), max_size=60)
finite = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)
names = st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=40)


@given(finite, numbers, numbers, st.integers(1, 12))
def test_counts_of_parts_add_up_to_the_whole(
    reference: list[float], left: list[float], right: list[float], bins: int
) -> None:
    frozen = freeze_numeric(reference, bins=bins)
    whole = frozen.count(left + right)
    assert whole.sum() == len(left) + len(right)
    assert np.array_equal(whole, frozen.count(left) + frozen.count(right))
    assert len(whole) == len(frozen.cells)


@given(finite, numbers, st.integers(1, 12))
def test_each_value_lies_in_the_cell_its_edges_say(reference: list[float], values: list[float], bins: int) -> None:
    frozen = freeze_numeric(reference, bins=bins)
    last = len(frozen.cells) - 1
    for value, cell in zip(values, frozen.index(values).tolist(), strict=True):
        if math.isnan(value):
            assert cell == last
        elif value < frozen.edges[0]:
            assert cell == 0
        elif value > frozen.edges[-1]:
            assert cell == last - 1
        elif len(frozen.edges) > 1:
            low, high = frozen.edges[cell - 1], frozen.edges[cell]
            assert low <= value < high or (value == high == frozen.edges[-1])
        else:
            assert cell == 1


@given(finite, st.integers(1, 12))
def test_the_reference_itself_neither_overflows_nor_underflows(reference: list[float], bins: int) -> None:
    counts = freeze_numeric(reference, bins=bins).count(reference)
    assert counts[0] == counts[-1] == counts[-2] == 0


@given(names, names, names, st.integers(1, 6))
def test_category_counts_add_and_missing_is_not_a_name(
    reference: list[str | None], left: list[str | None], right: list[str | None], top: int
) -> None:
    frozen = freeze_category(reference, top=top)
    assert len(frozen.categories) <= top
    whole = frozen.count(left + right)
    assert whole[-1] == sum(value is None for value in left + right)
    assert np.array_equal(whole, frozen.count(left) + frozen.count(right))


@given(finite, names)
def test_bins_survive_json_exactly(reference: list[float], categories: list[str | None]) -> None:
    for bins in (freeze_numeric(reference), freeze_category(categories)):
        assert bins_from_json(json.loads(json.dumps(bins.to_json()))) == bins


def test_deciles_hold_equal_counts() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    counts = freeze_numeric(values, bins=10).count(values)
    assert np.all(np.abs(counts[1:11] - 1000) <= 1)


def test_constant_zero_inflated_and_integer_features_get_usable_bins() -> None:
    assert freeze_numeric([3.0] * 10).count([3.0, 2.0, 4.0]).tolist() == [1, 1, 1, 0]
    inflated = freeze_numeric([0.0] * 90 + list(range(1, 11)), bins=10)
    assert inflated.count([0.0] * 90)[1] == 90
    assert freeze_category(np.array([1, 2, 2])).count(np.array([2, 3])).tolist() == [1, 0, 1, 0]
    assert freeze_category(np.array([True, False])).categories == ("False", "True")


def test_a_feature_without_a_value_has_no_reference() -> None:
    with pytest.raises(ValueError, match="no finite value"):
        freeze_numeric([math.nan, math.inf])
    with pytest.raises(ValueError, match="strictly increasing"):
        NumericBins((1.0, 1.0))
    with pytest.raises(ValueError, match="differ"):
        CategoryBins(("a", "a"))
    with pytest.raises(ValueError, match="bins need type"):
        bins_from_json({"type": "other"})

from __future__ import annotations

import dataclasses
import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError, UnknownNameError
from loopwright.core.prices.object_storage import break_even_months, storage_classes
from loopwright.planning.cost import total
from loopwright.planning.storage import cheapest, storage_lines, storage_options, storage_stage
from loopwright.planning.stored_data import FOR_EVER_DAYS, StoredData

TODAY = date(2026, 11, 23)
IMAGES = StoredData("raw", 1_000_000, 100_000, 365, must_read_at_once=False)
"""One million images of 100 kB a day, kept for a year."""

COUNTS = st.floats(0, 1e7)
SIZES = st.floats(1, 1e10)
DAYS = st.floats(1, 4000)
PROVIDERS = st.sampled_from(["aws", "gcp", "azure"])


@pytest.mark.parametrize(
    ("size", "months"),
    [(50e3, None), (100e3, 14.3), (128e3, 7.4), (250e3, 3.8), (500e3, 1.9), (1e6, 0.95), (10e6, 0.1)],
)
def test_break_even_of_a_transition_by_size(size: float, months: float | None) -> None:
    hot, cold, *_ = storage_classes("aws")
    found = break_even_months(hot, cold, size)
    if months is None:
        assert found is None
    else:
        assert found == pytest.approx(months, abs=0.005 if months == 0.95 else 0.05)


def test_thirty_days_of_images() -> None:
    """Writing 30.4 million objects costs twice as much as storing them for 30 days."""
    (hot, *_) = storage_classes("aws")
    writes, stored = storage_lines(dataclasses.replace(IMAGES, kept_days=30), ((0.0, hot),), today=TODAY)
    assert round(writes.usd_per_month) == 152
    assert round(stored.usd_per_month) == 69


def test_the_transition_itself() -> None:
    hot, cold, *_ = storage_classes("aws")
    lines = storage_lines(IMAGES, ((0.0, hot), (30.0, cold)), today=TODAY)
    (move,) = [line for line in lines if "moves into" in line.item]
    assert round(move.usd_per_month) == 304


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("keep", 992),
        ("to standard_ia after 30 days", 1061),
        ("to glacier_deep_archive after 30 days", 1788),
        ("pack into shards of 128 MB, then to standard_ia", 488),
        ("pack into shards of 128 MB, then to glacier_instant_retrieval", 204),
        ("pack into shards of 128 MB, then to glacier_deep_archive", 103),
    ],
)
def test_a_year_of_images(name: str, usd: int) -> None:
    options = {one.name: one for one in storage_options(IMAGES, "aws", today=TODAY)}
    assert round(options[f"raw: {name}"].usd_per_month) == usd


def test_reading_back_and_leaving_early_are_billed() -> None:
    hot, cold, *_ = storage_classes("aws")
    data = StoredData("raw", 10, 1e9, 45, cold_read_share=0.5, hot_reads=2)
    lines = {line.item: line for line in storage_lines(data, ((0.0, hot), (30.0, cold)), today=TODAY)}
    assert lines["raw read back from standard_ia"].usd_per_month == pytest.approx(0.5 * 10 * 15 * 0.01)
    assert lines["raw leaving standard_ia early"].usd_per_month == pytest.approx(10 * 15 * 0.0125)
    assert lines["raw reads"].quantity == pytest.approx(10 * 730 / 24 * 2 / 1000)


def test_letting_go_and_encoding_change_what_is_kept() -> None:
    data = dataclasses.replace(IMAGES, needed_days=120, reencoded_share=0.4)
    options = storage_options(data, "aws", today=TODAY)
    strategies = {str(one.settings["strategy"]) for one in options}
    expected = {"keep", "move", "pack", "pack and move", "expire", "encode", "encode and move", "encode and pack"}
    assert expected <= strategies
    for one in options:
        changes = str(one.settings["strategy"]).startswith(("expire", "encode"))
        assert one.settings["keeps_everything"] is not changes
    best = cheapest(options)
    assert best.settings["keeps_everything"]
    assert best.usd_per_month > options[0].usd_per_month


def test_what_must_be_read_at_once_goes_to_no_archive() -> None:
    options = storage_options(dataclasses.replace(IMAGES, must_read_at_once=True), "aws", today=TODAY)
    assert not any("deep_archive" in one.name or "glacier_flexible" in one.name for one in options)


def test_options_say_what_a_move_is_worth_and_what_has_no_source() -> None:
    options = {one.name: one for one in storage_options(IMAGES, "aws", today=TODAY)}
    assert "pays for itself after 14.3 months" in options["raw: to standard_ia after 30 days"].notes[0]
    small = dataclasses.replace(IMAGES, object_bytes=50_000, may_be_packed=False)
    found = {one.name: one for one in storage_options(small, "aws", today=TODAY)}
    assert "never pays" in found["raw: to standard_ia after 30 days"].notes[0]
    instant = options["raw: to glacier_instant_retrieval after 30 days"]
    assert any("no source" in note for note in instant.notes)


def test_the_stage_takes_each_kind_in_its_cheapest_way() -> None:
    kinds = [IMAGES, StoredData("models", 1 / 30, 1e8, 730), StoredData("logs", 24, 2e7, 30)]
    best, *rest = storage_stage(kinds, "aws", today=TODAY)
    assert best.name == "each kind in its cheapest way"
    assert [round(one.usd_per_month) for one in rest] == sorted(round(one.usd_per_month) for one in rest)
    assert best.settings["raw_strategy"] == "pack and move"
    assert best.usd_per_month == pytest.approx(
        sum(cheapest(storage_options(one, "aws", today=TODAY)).usd_per_month for one in kinds)
    )


def test_for_ever_is_priced_after_three_years_and_said() -> None:
    data = StoredData("lake", 10, 1e8, math.inf)
    assert data.priced_days == FOR_EVER_DAYS
    assert any("grows without end" in note for note in storage_options(data, "gcp", today=TODAY)[0].notes)


def test_a_stock_is_there_at_any_moment() -> None:
    data = StoredData.of_stock("lake", 100e9, 50e6)
    assert data.stored_bytes == pytest.approx(100e9)
    keep = next(one for one in storage_options(data, "aws", today=TODAY) if one.name == "lake: keep")
    assert keep.usd_per_month == pytest.approx(2.30, abs=0.01)


def test_lines_follow_what_they_grow_with() -> None:
    options = {
        one.name: one for one in storage_options(dataclasses.replace(IMAGES, may_be_packed=True), "aws", today=TODAY)
    }

    def drivers(name: str, part: str) -> set[str]:
        (line,) = [line for line in options[f"raw: {name}"].lines if part in line.item]
        return {driver for driver, _ in line.drivers}

    moved = "to standard_ia after 30 days"
    assert drivers("keep", "writes") == drivers(moved, "moves") == {"volume"}
    assert drivers("keep", "in standard") == {"volume", "object_bytes"}
    assert drivers(moved, "in standard_ia") == {"volume"}  # below the minimum, size changes nothing
    assert drivers("pack into shards of 128 MB", "writes") == {"volume", "object_bytes"}


@pytest.mark.parametrize(
    "wrong",
    [{"objects_per_day": -1}, {"object_bytes": math.inf}, {"kept_days": 0}, {"cold_read_share": 2}, {"hot_days": -1},
     {"reencoded_share": 0}],
)  # fmt: skip
def test_figures_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DeclarationError):
        dataclasses.replace(IMAGES, **wrong)


def test_a_cloud_without_prices() -> None:
    with pytest.raises(UnknownNameError, match="aws, azure, gcp"):
        storage_stage([IMAGES], "hetzner", today=TODAY)


@given(COUNTS, COUNTS, SIZES, DAYS, PROVIDERS)
def test_more_objects_never_cost_less(first: float, second: float, size: float, days: float, provider: str) -> None:
    costs = [
        {one.name: one.usd_per_month for one in storage_options(data, provider, today=TODAY)}
        for data in (StoredData("raw", count, size, days) for count in sorted((first, second)))
    ]
    assert all(costs[0][name] <= costs[1][name] + 1e-9 for name in costs[0])


@given(COUNTS, SIZES, SIZES, DAYS, PROVIDERS)
def test_larger_objects_never_cost_less(count: float, first: float, second: float, days: float, provider: str) -> None:
    small, large = sorted((first, second))
    steps = tuple((30.0 * number, one) for number, one in enumerate(storage_classes(provider)) if 30 * number < days)
    costs = [total(storage_lines(StoredData("raw", count, size, days), steps, today=TODAY)) for size in (small, large)]
    assert costs[0] <= costs[1] * (1 + 1e-12)


@given(COUNTS, SIZES, DAYS, st.floats(0, 1), PROVIDERS)
def test_no_line_is_negative_and_sums_are_equal(
    count: float, size: float, days: float, read: float, provider: str
) -> None:
    data = StoredData(
        "raw", count, size, days, cold_read_share=read, hot_reads=read, needed_days=10, reencoded_share=0.5
    )
    for one in storage_options(data, provider, today=TODAY):
        assert all(line.quantity > 0 and line.usd_per_month >= 0 for line in one.lines)
        assert one.usd_per_month == pytest.approx(total(one.lines))
    stage = storage_stage([data, data], provider, today=TODAY)
    best = cheapest(storage_options(data, provider, today=TODAY))
    assert stage[0].usd_per_month <= 2 * best.usd_per_month * (1 + 1e-12) + 1e-12

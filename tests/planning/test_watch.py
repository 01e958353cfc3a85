"""What a plan assumed, held against what is seen: bands, intervals, and an edge that neither alarms nor ends one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.statistics.histogram import LatencyHistogram
from loopwright.planning.held import Held, count_interval, within
from loopwright.planning.plan import Plan
from loopwright.planning.seen import Seen
from loopwright.planning.simulation import lognormal, poisson_arrivals, simulate
from loopwright.planning.watch import CHECKS, broken, hold

MADE = datetime(2026, 8, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


def hourly_of(plan: Plan, times: float = 1.0, days: int = 7) -> tuple[int, ...]:
    """Return a week that runs as the plan's day does, with Poisson's randomness."""
    rates = [np.mean([point.rps for point in plan.day if int(point.hour) == hour]) for hour in range(24)]
    mean = 1e6 / 24 / np.mean(rates)
    rng = np.random.default_rng(1)
    return tuple(int(value) for value in rng.poisson(np.tile(np.array(rates) * mean * times, days)))


def as_planned(plan: Plan, *, slower: float = 1.0, times: float = 1.0) -> Seen:
    service = plan.stages["serving"].chosen.settings
    mean, cv2 = float(service["service_mean_s"]) * slower, float(service["service_cv2"])
    rng = np.random.default_rng(2)
    arrivals = poisson_arrivals(20.0, 20_000, rng)
    took = simulate(arrivals, lognormal(mean, cv2, 20_000, rng), 3).response_s
    return Seen(
        since=MADE,
        until=MADE + WEEK,
        hourly=hourly_of(plan, times),
        busiest_rps=49.0 * times,
        busiest_requests=round(49 * 300 * times),
        latency=LatencyHistogram.of(1000 * took),
        arrived_bytes=7 * 100e9,
        trainings=2,
        training_days=60,
        usd_per_month=plan.total.p50_usd,
    )


def states(held: tuple[Held, ...]) -> dict[str, str]:
    return {one.check: one.state for one in held}


def test_a_week_as_planned_holds_in_everything(image_plan: Plan) -> None:
    held = hold(image_plan, as_planned(image_plan))
    assert [one.check for one in held] == list(CHECKS)
    assert set(states(held).values()) == {"holds"}
    assert broken(held) == ()


def test_twice_the_traffic_breaks_rate_and_peak_and_says_how_to_plan_anew(image_plan: Plan) -> None:
    found = {one.check: one for one in broken(hold(image_plan, as_planned(image_plan, times=2.0)))}
    assert set(found) == {"requests", "peak"}
    assert found["requests"].seen == pytest.approx(2e6, rel=0.01)
    assert found["requests"].high == pytest.approx(1e6 * np.exp(1.645 * 0.15))
    assert "loopwright plan --per-day 2" in found["requests"].advice
    assert "--peak 98" in found["peak"].advice


def test_a_slower_and_a_faster_model_are_told_apart(image_plan: Plan) -> None:
    slow = {one.check: one for one in hold(image_plan, as_planned(image_plan, slower=3.0))}
    assert slow["service_time"].state == "broken"
    assert "Measure the model where it runs" in slow["service_time"].advice
    assert slow["latency"].state in {"holds", "near its edge"}
    fast = {one.check: one for one in hold(image_plan, as_planned(image_plan, slower=0.3))}
    assert "faster than planned" in fast["service_time"].advice
    late = {one.check: one for one in hold(image_plan, as_planned(image_plan, slower=6.0))}
    assert late["latency"].state == "broken"


def test_the_clock_may_be_off_but_not_the_shape(image_plan: Plan) -> None:
    seen = as_planned(image_plan)
    later = replace(seen, hourly=seen.hourly[5:] + seen.hourly[:5], first_hour=0)
    assert states(hold(image_plan, later))["day_curve"] == "holds"
    flat = replace(seen, hourly=(sum(seen.hourly) // 168,) * 168)
    (found,) = broken(hold(image_plan, flat))
    assert found.check == "day_curve"
    assert found.seen is not None
    assert found.seen > 0.15


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"arrived_bytes": 7 * 250e9}, "data_arrival"),
        ({"trainings": 20}, "trainings"),
        ({"usd_per_month": 5000.0}, "cost"),
        ({"busiest_rps": 20.0, "busiest_requests": 6000}, "peak"),
    ],
)
def test_each_assumption_breaks_alone(image_plan: Plan, change: dict[str, object], check: str) -> None:
    (found,) = broken(hold(image_plan, replace(as_planned(image_plan), **change)))
    assert found.check == check
    assert found.advice


def test_too_little_is_said_and_alarms_nobody(image_plan: Plan) -> None:
    held = hold(image_plan, Seen(MADE, MADE + timedelta(hours=3), hourly=(9, 9, 9), usd_per_month=None))
    assert set(states(held).values()) == {"not known"}
    assert all(one.text for one in held)


def test_growth_that_was_planned_breaks_nothing(image_plan: Plan) -> None:
    grows = [replace(one, value=1.0) if one.name == "growth_per_year" else one for one in image_plan.assumptions]
    plan = replace(image_plan, assumptions=tuple(grows))
    later = replace(as_planned(plan, times=2.0), since=MADE + timedelta(days=358), until=MADE + timedelta(days=365))
    assert states(hold(plan, later))["requests"] == "holds"
    assert states(hold(image_plan, later))["requests"] == "broken"


def test_hours_of_a_day_begin_at_midnight() -> None:
    seen = Seen(MADE, MADE + timedelta(hours=30), hourly=tuple(range(24)), first_hour=6)
    assert seen.hours_of_day[6] == 0
    assert seen.hours_of_day[5] == 23


@given(value=st.floats(1.0, 400.0))
def test_between_the_bands_nothing_is_said(value: float) -> None:
    held = within("x", 100.0, 50.0, 200.0, (value, value, value), "", 0, "", "do")
    if value < 50 or value > 200:
        assert (held.state, held.advice) == ("broken", "do")
    elif 60 < value < 170:
        assert held.state == "holds"
    elif value < 57 or value > 175:
        assert held.state == "near its edge"


@given(count=st.integers(0, 10**9))
def test_an_interval_holds_its_count(count: int) -> None:
    low, high = count_interval(count)
    assert 0 <= low <= count <= high


def test_the_interval_of_a_count_covers_its_mean() -> None:
    rng = np.random.default_rng(0)
    for mean in (5, 50, 500):
        ends = [count_interval(int(value)) for value in rng.poisson(mean, 4000)]
        assert np.mean([low <= mean <= high for low, high in ends]) > 0.87

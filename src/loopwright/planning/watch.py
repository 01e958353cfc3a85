"""Holds what a plan assumed against what is seen, and says which assumptions no longer hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from loopwright.core.statistics.histogram import EDGES_MS
from loopwright.planning.cost import DAYS_PER_MONTH
from loopwright.planning.held import Held, Z, count_interval, judge, too_little, within

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from loopwright.planning.assumption import Assumption
    from loopwright.planning.option import Option
    from loopwright.planning.plan import Plan
    from loopwright.planning.seen import Seen

CHECKS: Final = ("requests", "peak", "day_curve", "service_time", "latency", "data_arrival", "trainings", "cost")
_LEAST_HOURS: Final = 24
_LEAST_ANSWERS: Final = 200
_MOVED_SHARE: Final = 0.15
_TRAINING_SPREAD: Final = 0.4
_LEAST_TRAINING_DAYS: Final = 28.0
_VOLUME_SPREAD: Final = 0.15


def hold(plan: Plan, seen: Seen) -> tuple[Held, ...]:
    """Return each assumption of a plan that can be seen, and whether it holds."""
    known = {one.name: one for one in plan.assumptions}
    found: list[Held] = []
    serving = plan.stages["serving"].chosen if "serving" in plan.stages else None
    if "requests_per_day" in known:
        found += [_requests(known, plan, seen), _peak(known, plan, seen)]
        found += [] if not plan.day else [_day_curve(plan, seen)]
    if serving is not None and plan.latency_s:
        found += [_service_time(known, plan, serving, seen), _latency(known, serving, seen)]
    raw = _raw_bytes_per_day(plan)
    if raw > 0:
        found.append(_data_arrival(raw, seen))
    if "trainings_per_month" in known:
        found.append(_trainings(_number(known, "trainings_per_month"), seen))
    found.append(_cost(plan, seen))
    return tuple(found)


def broken(held: tuple[Held, ...]) -> tuple[Held, ...]:
    """Return those that no longer hold."""
    return tuple(one for one in held if one.state == "broken")


def _requests(known: Mapping[str, Assumption], plan: Plan, seen: Seen) -> Held:
    planned = _number(known, "requests_per_day") * _grown(known, plan, seen.until.date())
    if len(seen.hourly) < _LEAST_HOURS:
        return too_little("requests", planned, "a day", f"{len(seen.hourly)} whole hours seen, and a day is needed")
    per_day = 24 / len(seen.hourly)
    low, high = count_interval(seen.requests)
    figures = (seen.requests * per_day, low * per_day, high * per_day)
    return judge(
        "requests", planned, known["requests_per_day"].spread, figures, "requests a day", seen.requests, "There come",
        f"Plan anew: loopwright plan --per-day {float(f'{figures[0]:.3g}'):.0f}",
    )  # fmt: skip


def _peak(known: Mapping[str, Assumption], plan: Plan, seen: Seen) -> Held:
    planned = _number(known, "peak_rps") * _grown(known, plan, seen.until.date())
    reach = math.exp(Z * known["peak_rps"].spread)
    if seen.busiest_requests == 0:
        return too_little("peak", planned, "requests/s", "no request seen")
    scale = seen.busiest_rps / seen.busiest_requests
    low, high = (one * scale for one in count_interval(seen.busiest_requests))
    whole = len(seen.hourly) >= 7 * _LEAST_HOURS  # a low peak says nothing before a week has its busiest hour
    return within(
        "peak", planned, planned / reach if whole else 0.0, planned * reach, (seen.busiest_rps, low, high),
        "requests/s", seen.busiest_requests, "In the busiest five minutes there come",
        f"Plan anew: loopwright plan --peak {seen.busiest_rps:.3g}",
    )  # fmt: skip


def _day_curve(plan: Plan, seen: Seen) -> Held:
    """Compare the hours of the day, the busiest first: machines do not mind at which hour by the clock it is."""
    hours = seen.hours_of_day
    planned = [0.0] * 24
    for point in plan.day:
        planned[min(23, int(point.hour))] += point.rps
    if not hours or sum(hours) == 0 or sum(planned) == 0:
        return too_little("day_curve", 0.0, "of the requests", "a whole day is needed to see how it runs")
    mine = sorted((one / sum(planned) for one in planned), reverse=True)
    theirs = sorted((one / sum(hours) for one in hours), reverse=True)
    moved = sum(abs(a - b) for a, b in zip(mine, theirs, strict=True)) / 2
    noise = sum(math.sqrt(share * (1 - share) / max(1, seen.requests)) for share in mine) / 2
    return within(
        "day_curve", 0.0, 0.0, _MOVED_SHARE, (moved, max(0.0, moved - Z * noise), moved + Z * noise),
        "of a day's requests", seen.requests,
        "Hours sorted from the busiest on, apart from the plan's curve are",
        "Give the 24 rates that are seen as [requests] hourly, and plan anew",
    )  # fmt: skip


def _service_time(known: Mapping[str, Assumption], plan: Plan, serving: Option, seen: Seen) -> Held:
    """Hold the median answer against what the service takes alone, below, and what it takes at the peak, above."""
    settings = serving.settings
    name = str(settings["service"])
    mean, cv2 = float(settings["service_mean_s"]), float(settings["service_cv2"])
    network = _number(known, "network_s") if "network_s" in known else 0.0
    alone = mean / math.sqrt(1 + cv2)
    at_peak = max(alone, _at_share(plan.latency_s, 0.5) - network)
    spread = known[f"service_time.{name}"].spread if f"service_time.{name}" in known else 0.15
    reach = math.exp(Z * spread)
    if seen.latency.rows < _LEAST_ANSWERS:
        text = f"{seen.latency.rows} answers measured, and {_LEAST_ANSWERS} are needed"
        return too_little("service_time", 1000 * alone, "ms", text)
    upper = seen.latency.quantile_ms(0.5)
    lower = _edge_below(upper)
    middle = upper if not math.isfinite(upper) or lower <= 0 else math.sqrt(lower * upper)
    slower = lower > 1000 * at_peak * reach
    advice = (
        "Measure the model where it runs, and plan anew with its profile"
        if slower
        else "The model is faster than planned: fewer or smaller machines may do; plan anew with its profile"
    )
    return within(
        "service_time", 1000 * alone, 1000 * alone / reach, 1000 * at_peak * reach, (middle, lower, upper), "ms",
        seen.latency.rows, f"Half of the answers of '{name}' take up to", advice,
    )  # fmt: skip


def _latency(known: Mapping[str, Assumption], serving: Option, seen: Seen) -> Held:
    network = _number(known, "network_s") if "network_s" in known else 0.0
    limit_ms = 1000 * (float(serving.settings["limit_s"]) - network)
    allowed = 1 - float(serving.settings["percentile"])
    rows = seen.latency.rows
    if rows < _LEAST_ANSWERS:
        text = f"{rows} answers measured, and {_LEAST_ANSWERS} are needed"
        return too_little("latency", allowed, "of the answers", text)
    edge = next((one for one in EDGES_MS if one >= limit_ms), EDGES_MS[-1])
    slow = seen.latency.share_above(edge)
    low, high = (one / rows for one in count_interval(slow * rows))
    return within(
        "latency", allowed, 0.0, allowed, (slow, low, high), "of the answers", rows,
        f"Over {limit_ms:.4g} ms in the server take",
        "Too few machines for what comes, or a slower model: see requests, peak and service time, and plan anew",
    )  # fmt: skip


def _data_arrival(planned: float, seen: Seen) -> Held:
    if seen.arrived_bytes is None or seen.days < 1:
        why = "no source tells its size" if seen.arrived_bytes is None else "a whole day is needed"
        return too_little("data_arrival", planned, "bytes a day", why)
    value = seen.arrived_bytes / seen.days
    return judge(
        "data_arrival", planned, _VOLUME_SPREAD, (value, value, value), "bytes a day", 0, "There arrive",
        "Correct [data.raw] per_day, and plan anew: storage and processing follow it",
    )  # fmt: skip


def _trainings(planned: float, seen: Seen) -> Held:
    if seen.training_days < _LEAST_TRAINING_DAYS:
        text = f"{seen.training_days:.0f} days seen, and {_LEAST_TRAINING_DAYS:.0f} are needed"
        return too_little("trainings", planned, "a month", text)
    per_month = DAYS_PER_MONTH / seen.training_days
    low, high = (one * per_month for one in count_interval(seen.trainings))
    figures = (seen.trainings * per_month, low, high)
    advice = f"Write [training] runs_per_month = {figures[0]:.3g}, and plan anew"
    if planned == 0:
        return within("trainings", 0.0, 0.0, 0.5, figures, "a month", seen.trainings, "Trainings:", advice)
    return judge(
        "trainings", planned, _TRAINING_SPREAD, figures, "a month", seen.trainings, "There are", advice
    )  # fmt: skip


def _cost(plan: Plan, seen: Seen) -> Held:
    middle = plan.total.p50_usd
    if seen.usd_per_month is None:
        return too_little("cost", middle, "US dollars a month", "no bill was told")
    value = seen.usd_per_month
    return within(
        "cost", middle, plan.total.p5_usd, plan.total.p95_usd, (value, value, value), "US dollars a month", 0,
        "The bill comes to", "Compare the bill with the plan's lines: loopwright plan --out new.json, then plan diff",
    )  # fmt: skip


def _grown(known: Mapping[str, Assumption], plan: Plan, today: date) -> float:
    """Return by how much the plan itself expects traffic to have grown since it was made."""
    rate = _number(known, "growth_per_year") if "growth_per_year" in known else 0.0
    year, month, day = (int(part) for part in plan.created_at[:10].split("-"))
    age = max(0, (today - today.replace(year=year, month=month, day=day)).days) / 365.25
    return math.pow(1 + rate, age)


def _number(known: Mapping[str, Assumption], name: str) -> float:
    return float(known[name].value)


def _raw_bytes_per_day(plan: Plan) -> float:
    asked = plan.inputs.get("workload", {})
    data = asked.get("data", []) if isinstance(asked, dict) else []
    return sum(float(one["bytes_per_day"]) for one in data if one["kind"] == "raw")


def _at_share(points: tuple[tuple[float, float], ...], share: float) -> float:
    return min(points, key=lambda point: abs(point[0] - share))[1]


def _edge_below(edge_ms: float) -> float:
    below = [one for one in EDGES_MS if one < edge_ms]
    return below[-1] if below else 0.0

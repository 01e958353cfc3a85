"""Which form of a version answers how many rows: measured once, at registration, and kept with the version.

A version has up to three forms: ``onnx`` (the compiled graph), ``library`` (the library's shortest own way, for XGBoost
and LightGBM) and ``native`` (the estimator as it came out of training). One that wins for one row may lose for a
thousand: ONNX Runtime answers one row of 300 XGBoost trees in 10 µs where XGBoost takes 210, and 1,000 rows in 7.3 ms
where XGBoost takes 4.5. So each form is timed on 1, 32 and 1,024 rows, on one thread, in processor time, in
alternating rounds; the medians decide and stay on record, so that a version answers through the same forms on every
machine.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Form: TypeAlias = Literal["onnx", "library", "native"]
PREFERENCE: tuple[Form, ...] = ("onnx", "library", "native")
"""Earlier forms load faster and weigh less; a later one has to win by more than noise."""
MARGIN: dict[Form, float] = {"onnx": 1.0, "library": 1.25, "native": 2.0}
"""How many times faster a later form must be: the native form brings its library into the process with it."""
SIZES = (1, 32, 1024)
BUDGET_NS = 8_000_000
"""Processor time spent on one form and size, at least one call."""
ROUNDS = 9


@dataclass(frozen=True)
class FormTime:
    """Processor time of one call.

    Attributes:
        form: Which form answered.
        rows: How many rows.
        microseconds: The median of the rounds.
    """

    form: Form
    rows: int
    microseconds: float


@dataclass(frozen=True)
class FormChoice:
    """Say which form answers.

    Attributes:
        small: The form for few rows.
        large: The form for `large_from_rows` rows and more; the same as `small` where nothing is won.
        large_from_rows: Where the other one takes over; None where one form answers all.
        times: What was measured.
    """

    small: Form
    large: Form
    large_from_rows: int | None = None
    times: tuple[FormTime, ...] = ()

    def form_for(self, rows: int) -> Form:
        """Give the form that answers so many rows."""
        return self.large if self.large_from_rows is not None and rows >= self.large_from_rows else self.small

    def __str__(self) -> str:
        said = []
        for rows in sorted({one.rows for one in self.times}):
            found = ", ".join(f"{one.form} {one.microseconds:,.0f} µs" for one in self.times if one.rows == rows)
            said.append(f"{rows:,} {'row' if rows == 1 else 'rows'}: {found}")
        shared = self.large_from_rows is not None
        chosen = f"{self.small}; {self.large} from {self.large_from_rows:,} rows" if shared else self.small
        return f"{chosen} ({'; '.join(said)})" if said else chosen

    def to_json(self) -> dict[str, Any]:
        """Give the choice as plain JSON values."""
        return {**asdict(self), "times": [asdict(one) for one in self.times]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FormChoice:
        """Read what `to_json` wrote."""
        times = tuple(FormTime(one["form"], one["rows"], one["microseconds"]) for one in document["times"])
        return cls(document["small"], document["large"], document["large_from_rows"], times)


def measured(calls: Mapping[Form, Callable[[int], object]], *, sizes: tuple[int, ...] = SIZES) -> FormChoice:
    """Time each form on each number of rows, and choose.

    Args:
        calls: Per form, a call that answers so many rows.
        sizes: The numbers of rows, ascending.
    """
    times = [one for rows in sizes for one in _timed(calls, rows)]
    return chosen(times)


def chosen(times: list[FormTime]) -> FormChoice:
    """Choose by what was measured.

    The winner at the fewest rows answers few; the winner at the most rows takes over where the straight lines between
    the measured times cross.

    >>> times = [FormTime("onnx", 1, 10.0), FormTime("library", 1, 200.0)]
    >>> chosen([*times, FormTime("onnx", 1001, 7010.0), FormTime("library", 1001, 4200.0)]).large_from_rows
    65
    """
    sizes = sorted({one.rows for one in times})
    cost = {(one.form, one.rows): one.microseconds for one in times}
    small, large = _winner(cost, sizes[0]), _winner(cost, sizes[-1])
    excess = [cost[small, rows] - cost[large, rows] for rows in sizes]
    if excess[-1] <= 0:  # the same form, or one that was only left out for its margin
        return FormChoice(small, small, None, tuple(times))
    place = max(index for index, found in enumerate(excess) if found <= 0 or index == 0)
    low, high = sizes[place], sizes[place + 1]
    share = 0.0 if excess[place] >= 0 else -excess[place] / (excess[place + 1] - excess[place])
    return FormChoice(small, large, max(2, math.ceil(low + share * (high - low))), tuple(times))


def _winner(cost: Mapping[tuple[Form, int], float], rows: int) -> Form:
    best: Form | None = None
    for form in PREFERENCE:
        if (form, rows) not in cost:
            continue
        if best is None or cost[form, rows] * MARGIN[form] < cost[best, rows]:
            best = form
    return cast("Form", best)


def _timed(calls: Mapping[Form, Callable[[int], object]], rows: int) -> list[FormTime]:
    # A second call says what a call costs: the first found nothing in the caches. In the rounds, too, a call that is
    # not timed goes before those that are, so that no form pays for what its neighbour in the round has thrown out.
    once = {form: (_cost(form, call, rows, 1), _cost(form, call, rows, 1))[1] for form, call in calls.items()}
    again = {form: max(1, min(20, BUDGET_NS // ROUNDS // max(1, cost))) for form, cost in once.items()}
    spent = dict.fromkeys(calls, 0)
    rounds: dict[Form, list[float]] = {form: [] for form in calls}
    for _ in range(ROUNDS):
        for form, call in calls.items():
            if once[form] <= BUDGET_NS and spent[form] <= BUDGET_NS:
                warm = _cost(form, call, rows, 1)
                cost = _cost(form, call, rows, again[form])
                spent[form] += warm + cost
                rounds[form].append(cost / again[form])
    return [FormTime(form, rows, round(median(found or [once[form]]) / 1000, 1)) for form, found in rounds.items()]


def _cost(form: Form, call: Callable[[int], object], rows: int, times: int) -> int:
    # Processor time, so that neighbours on the machine do not count. Graph and library compute in the calling thread
    # alone; an estimator may have threads of its own, which count, and which go on spinning for a while afterwards,
    # which must not count for the others.
    clock = time.process_time_ns if form == "native" else time.thread_time_ns
    began = clock()
    for _ in range(times):
        call(rows)
    return clock() - began

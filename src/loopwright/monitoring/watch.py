"""What to watch about a deployed model: the declarations behind ``loop.monitor``.

Light on purpose: nothing here computes, and importing it costs nothing but the standard library.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from loopwright.core.durations import format_duration, parse_duration
from loopwright.core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED_WINDOWS: Final = {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(weeks=1)}
_SHORTEST_WINDOW: Final = timedelta(minutes=5)
_MATERIAL_PSI: Final = 0.05  # a shift of a quarter of a standard deviation has PSI 0.0598 on deciles (Yurdakul, 2018)
_MIN_WINDOW_ROWS: Final = 50


@dataclass(frozen=True)
class DriftWindows:
    """When and how strictly inputs and outputs are compared with training.

    Attributes:
        every: Length of a window in time, or None for windows by rows.
        rows: Length of a window in rows, or None for windows in time.
        alpha: Probability that a window without any change alarms, over all features and outputs together.
        material_psi: Smallest bias-corrected population stability index that matters.
        min_rows: A window in time with fewer rows is recorded and not tested.
        grace: How long after its end a window in time waits for late records.
    """

    every: timedelta | None = None
    rows: int | None = None
    alpha: float = 0.001
    material_psi: float = _MATERIAL_PSI
    min_rows: int = 200
    grace: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        if (self.every is None) == (self.rows is None):
            raise DeclarationError("A drift window has a length in time or in rows, one of the two.")
        if self.every is not None and self.every < _SHORTEST_WINDOW:
            raise DeclarationError(
                f"Drift windows of {format_duration(self.every)} are too short: so many tests end in false alarms.",
                hint=f"Use {format_duration(_SHORTEST_WINDOW)} or more, or windows by rows such as '500 rows'.",
            )
        if self.rows is not None and self.rows < _MIN_WINDOW_ROWS:
            raise DeclarationError(
                f"A drift window of {self.rows} rows shows nothing.", hint=f"Use {_MIN_WINDOW_ROWS} rows or more."
            )
        if not 0 < self.alpha < 0.5:
            raise DeclarationError(f"alpha is a probability between 0 and 0.5, got {self.alpha}.")
        if self.material_psi < 0:
            raise DeclarationError(f"material_psi cannot be negative, got {self.material_psi}.")
        if self.min_rows < 1:
            raise DeclarationError(f"min_rows is at least 1, got {self.min_rows}.")

    def __str__(self) -> str:
        return f"{self.rows} rows" if self.every is None else format_duration(self.every)


def drift_windows(value: str | int | timedelta | DriftWindows) -> DriftWindows:
    """Read how drift is declared: ``"daily"``, ``"hourly"``, ``"6h"``, ``"500 rows"``, a number of rows or a timedelta.

    The default false-alarm budget is at most one false ticket per model and month: 0.01 per window of a day or longer,
    0.001 for shorter ones and for windows by rows.

    Raises:
        DeclarationError: If the text is neither a duration nor a number of rows.

    >>> drift_windows("500 rows").rows, drift_windows("daily").alpha
    (500, 0.01)
    """
    if isinstance(value, DriftWindows):
        return value
    if isinstance(value, int):
        return DriftWindows(rows=value, min_rows=1)
    if isinstance(value, str):
        number, _, unit = value.strip().removeprefix("every ").partition(" ")
        digits = number.replace("_", "").replace(",", "")
        if unit.strip() in {"rows", "row"} and digits.isdigit():
            return DriftWindows(rows=int(digits), min_rows=1)
        try:
            every = _NAMED_WINDOWS.get(value.strip()) or parse_duration(value)
        except DeclarationError:
            raise DeclarationError(
                f"drift={value!r} is no window.",
                hint="Write 'daily', 'hourly', a duration such as '6h', or '500 rows'.",
            ) from None
    else:
        every = value
    return DriftWindows(
        every=every, alpha=0.01 if every >= timedelta(days=1) else 0.001, grace=min(timedelta(minutes=5), every / 12)
    )


@dataclass(frozen=True)
class Kpi:
    """A business number and the bounds it should keep; made by `kpi`."""

    name: str
    at_most: float | None = None
    at_least: float | None = None
    confidence: float = 0.99
    per_event: bool = True

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise DeclarationError("A business number needs a name.")
        if self.at_most is None and self.at_least is None:
            raise DeclarationError(
                f"The business number '{self.name}' has no bound.", hint="Give at_most=, at_least= or both."
            )
        bounds = [bound for bound in (self.at_most, self.at_least) if bound is not None]
        if not all(math.isfinite(bound) for bound in bounds):
            raise DeclarationError(f"The bounds of '{self.name}' must be finite numbers, got {bounds}.")
        if self.at_most is not None and self.at_least is not None and self.at_least > self.at_most:
            raise DeclarationError(f"'{self.name}' cannot be at least {self.at_least} and at most {self.at_most}.")
        if not 0.5 <= self.confidence < 1:
            raise DeclarationError(f"The confidence of '{self.name}' is between 0.5 and 1, got {self.confidence}.")


def kpi(
    name: str,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    confidence: float = 0.99,
    per_event: bool = True,
) -> Kpi:
    """Declare a business number; it is reported with ``loopwright kpi`` or ``workspace.monitoring.record_kpi``.

    Args:
        name: What it is called when it is reported.
        at_most: Upper bound.
        at_least: Lower bound.
        confidence: How sure to be before a bound counts as broken.
        per_event: Each reported value is one observation (a refund: 0 or 1), and the bound is on their mean, judged by
            a confidence sequence that stays valid however often it is looked at. False: each reported value is the
            number itself (a weekly rate), compared with the bound as it is.

    Raises:
        DeclarationError: If there is no bound, or the bounds contradict each other.

    >>> kpi("refund_rate", at_most=0.02).at_most
    0.02
    """
    return Kpi(name, at_most, at_least, confidence, per_event)


@dataclass(frozen=True)
class LossWatch:
    """How realised loss is watched once labels arrive.

    Attributes:
        tolerance: Share by which the mean loss may lie above the reference's upper end before it counts as harm.
        rows_per_false_ticket: Average number of labelled rows between false tickets, guaranteed (average run length).
        rows_per_false_page: The same for false pages.
        window_rows: Rows per window of the loss curve, and of the check that an incident is over.
    """

    tolerance: float = 0.0
    rows_per_false_ticket: float = 1e4
    rows_per_false_page: float = 1e6
    window_rows: int = 200

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise DeclarationError(f"The tolerance on the loss cannot be negative, got {self.tolerance}.")
        if not 1 < self.rows_per_false_ticket <= self.rows_per_false_page:
            raise DeclarationError(
                "A false page must not be more frequent than a false ticket, got one in "
                f"{self.rows_per_false_page:g} rows and one in {self.rows_per_false_ticket:g}."
            )
        if self.window_rows < 20:
            raise DeclarationError(f"A loss window needs 20 rows or more, got {self.window_rows}.")


@dataclass(frozen=True)
class Monitoring:
    """What to watch about one model; made by `monitoring`."""

    latency_p99: timedelta | None = None
    errors: float | None = None
    drift: DriftWindows | None = None
    business: tuple[Kpi, ...] = ()
    loss: LossWatch = field(default_factory=LossWatch)
    missing_features: float | None = None

    def kpi_named(self, name: str) -> Kpi | None:
        """Return the declared business number of this name, or None."""
        return next((known for known in self.business if known.name == name), None)


def monitoring(
    *,
    latency_p99: str | timedelta | None = None,
    errors: float | None = None,
    drift: str | int | timedelta | DriftWindows | None = "daily",
    business: Kpi | Sequence[Kpi] = (),
    loss: LossWatch | None = None,
    missing_features: float | None = None,
) -> Monitoring:
    """Declare what to watch.

    Args:
        latency_p99: Objective for the 99th percentile of the answer time.
        errors: Largest share of requests that may fail.
        drift: Windows in which inputs and outputs are compared with training; None for no comparison.
        business: One or more `kpi`.
        loss: How realised loss is watched; it always is, with these defaults.
        missing_features: Largest share of rows for which a feature view may have no value online, or only an expired
            one. How old a view's newest value may be is declared with the view, by ``fresh=``.

    Raises:
        DeclarationError: If a value cannot be meant, with what can.

    >>> monitoring(latency_p99="200ms", errors=0.01, drift="500 rows").errors
    0.01
    """
    latency = None if latency_p99 is None else parse_duration(latency_p99)
    if latency is not None and latency <= timedelta(0):
        raise DeclarationError(f"latency_p99 must be longer than zero, got {latency_p99!r}.")
    if errors is not None and not 0 < errors < 1:
        raise DeclarationError(
            f"errors is a share of the requests between 0 and 1, got {errors}.", hint="Write 0.01 for one percent."
        )
    if missing_features is not None and not 0 <= missing_features < 1:
        raise DeclarationError(
            f"missing_features is a share of the rows from 0 to 1, got {missing_features}.",
            hint="Write 0.05 for five percent.",
        )
    numbers = (business,) if isinstance(business, Kpi) else tuple(business)
    names = [number.name for number in numbers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DeclarationError(f"The business numbers {', '.join(twice)} are declared twice.")
    windows = None if drift is None else drift_windows(drift)
    return Monitoring(latency, errors, windows, numbers, loss or LossWatch(), missing_features)

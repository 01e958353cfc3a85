"""Gates: what a new model must show before it may serve.

Declarations only: each says a rule in numbers, none looks at data. A misspelt metric is an error here, where it is
written, and not at the end of a training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, TypeAlias

from loopwright.core.errors import DeclarationError
from loopwright.evaluation.metric_names import MetricName, metric_name

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_CONFIDENCE = 0.95
DEFAULT_MIN_ROWS = 30  # rows a slice needs to be judged


@dataclass(frozen=True)
class BeatsChampion:
    """Ask for an improvement over the champion on the same rows, by more than `margin`, in the metric's unit."""

    metric: str
    margin: float = 0.0
    confidence: float = DEFAULT_CONFIDENCE

    def __str__(self) -> str:
        by = f" by more than {self.margin:g}" if self.margin else ""
        return f"{self.metric} beats the champion{by}"


@dataclass(frozen=True)
class NoWorseThanChampion:
    """Ask that the champion is not better by more than `by`, in the metric's unit, on the same rows."""

    metric: str
    by: float
    confidence: float = DEFAULT_CONFIDENCE

    def __str__(self) -> str:
        return f"{self.metric} is no worse than the champion by more than {self.by:g}"


@dataclass(frozen=True)
class AtMost:
    """Ask that the metric is at most `limit`."""

    metric: str
    limit: float
    confidence: float = DEFAULT_CONFIDENCE

    def __str__(self) -> str:
        return f"{self.metric} is at most {self.limit:g}"


@dataclass(frozen=True)
class AtLeast:
    """Ask that the metric is at least `limit`."""

    metric: str
    limit: float
    confidence: float = DEFAULT_CONFIDENCE

    def __str__(self) -> str:
        return f"{self.metric} is at least {self.limit:g}"


@dataclass(frozen=True)
class EverySlice:
    """Ask that no slice of `column` is worse than the whole by more than the share `within`."""

    column: str
    metric: str
    within: float
    confidence: float = DEFAULT_CONFIDENCE
    min_rows: int = DEFAULT_MIN_ROWS

    def __str__(self) -> str:
        return f"{self.metric} of every {self.column} is within {self.within:.3g} of the whole"


Gate: TypeAlias = BeatsChampion | NoWorseThanChampion | AtMost | AtLeast | EverySlice


def beats_champion(metric: str, *, margin: float = 0.0, confidence: float = DEFAULT_CONFIDENCE) -> BeatsChampion:
    """Ask for an improvement over the champion on the same rows.

    Passes when, with the confidence asked, the improvement is larger than `margin`; fails when, with that confidence,
    it is not; anything between is not enough evidence. Without a champion it passes.

    Args:
        metric: Name of the metric.
        margin: Smallest improvement that counts, in the metric's unit, not negative.
        confidence: One-sided, in (0.5, 1).

    Raises:
        UnknownNameError: For an unknown metric.
        DeclarationError: For a negative margin or a confidence outside.

    >>> str(beats_champion("mean_absolute_error", margin=0.1))
    'mae beats the champion by more than 0.1'
    """
    name = _metric(metric, confidence)
    _not_negative("beats_champion", "margin", margin)
    return BeatsChampion(name.name, float(margin), confidence)


def no_worse_than_champion(metric: str, *, by: float, confidence: float = DEFAULT_CONFIDENCE) -> NoWorseThanChampion:
    """Ask that the champion is not better by more than `by`: a guardrail beside the metric to improve.

    >>> str(no_worse_than_champion("roc_auc", by=0.01))
    'roc_auc is no worse than the champion by more than 0.01'
    """
    name = _metric(metric, confidence)
    _not_negative("no_worse_than_champion", "by", by)
    return NoWorseThanChampion(name.name, float(by), confidence)


def at_most(metric: str, limit: float, *, confidence: float = DEFAULT_CONFIDENCE) -> AtMost:
    """Ask that the metric is at most `limit`, beyond sampling error.

    >>> str(at_most("mae", 6.0))
    'mae is at most 6'
    """
    return AtMost(_metric(metric, confidence).name, float(limit), confidence)


def at_least(metric: str, limit: float, *, confidence: float = DEFAULT_CONFIDENCE) -> AtLeast:
    """Ask that the metric is at least `limit`, beyond sampling error.

    >>> str(at_least("accuracy", 0.9))
    'accuracy is at least 0.9'
    """
    return AtLeast(_metric(metric, confidence).name, float(limit), confidence)


def every_slice(
    column: str,
    metric: str,
    *,
    within: float,
    confidence: float = DEFAULT_CONFIDENCE,
    min_rows: int = DEFAULT_MIN_ROWS,
) -> EverySlice:
    """Ask that the metric on every slice of a column is no worse than on all rows by more than a share.

    A category column has one slice per value, a numeric one per quantile bin. Slices under `min_rows` rows are named
    and left out.

    Args:
        column: A feature of the model.
        metric: Name of the metric.
        within: Share of the value on all rows: 0.15 lets a slice's error be 15 % higher (or its score 15 % lower).
        confidence: One-sided, family-wise over the slices, in (0.5, 1).
        min_rows: Rows a slice needs to be judged.

    >>> str(every_slice("city", "mae", within=0.15))
    'mae of every city is within 0.15 of the whole'
    """
    name = _metric(metric, confidence)
    _not_negative("every_slice", "within", within)
    if min_rows < 2:
        raise DeclarationError(f"every_slice needs min_rows of at least 2, got {min_rows}")
    return EverySlice(column, name.name, float(within), confidence, min_rows)


_GATES: tuple[type[Gate], ...] = (BeatsChampion, NoWorseThanChampion, AtMost, AtLeast, EverySlice)


def gate_to_json(gate: Gate) -> dict[str, object]:
    """Write a gate as plain JSON values.

    >>> gate_to_json(AtMost("mae", 6.0))
    {'rule': 'AtMost', 'metric': 'mae', 'limit': 6.0, 'confidence': 0.95}
    """
    return {"rule": type(gate).__name__, **asdict(gate)}


def gate_from_json(data: Mapping[str, object]) -> Gate:
    """Read a gate as `gate_to_json` wrote it.

    >>> gate_from_json(gate_to_json(AtLeast("r2", 0.5)))
    AtLeast(metric='r2', limit=0.5, confidence=0.95)
    """
    for kind in _GATES:
        if kind.__name__ == data.get("rule"):
            known = {field.name for field in fields(kind)}
            return kind(**{key: value for key, value in data.items() if key in known})  # type: ignore[arg-type]
    raise DeclarationError(f"there is no gate {data.get('rule')!r}; known: {[kind.__name__ for kind in _GATES]}")


def _metric(name: str, confidence: float) -> MetricName:
    if not 0.5 < confidence < 1.0:
        raise DeclarationError(f"a gate's confidence must lie between 0.5 and 1, got {confidence}")
    return metric_name(name)


def _not_negative(gate: str, argument: str, value: float) -> None:
    if not value >= 0:
        raise DeclarationError(f"{gate} needs {argument} of at least 0, got {value}")

"""What a hyperparameter search is: its space, its sampler, its budget. A declaration only; `study` runs it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    import numpy as np
    from numpy.typing import NDArray

Sampler = Literal["tpe", "random"]
ParamValue = str | int | float | bool | None


@dataclass(frozen=True)
class Uniform:
    """A real number between two bounds, uniform or log-uniform."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Integer:
    """A whole number between two bounds, both included."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    options: tuple[ParamValue, ...]


Distribution = Uniform | Integer | Choice


@dataclass(frozen=True)
class Search:
    """A declared search.

    Attributes:
        space: Parameter names and their distributions, in the order written.
        trials: How many parameter sets are tried.
        sampler: ``tpe`` (tree-structured Parzen estimator) or ``random``.
        validation: Share of the training part that each trial is scored on: the latest rows where there are event
            times, a seeded random share otherwise. The holdout is never touched.
        timeout_s: No new trial starts after so many seconds; None for no bound.
    """

    space: tuple[tuple[str, Distribution], ...]
    trials: int = 30
    sampler: Sampler = "tpe"
    validation: float = 0.2
    timeout_s: float | None = None

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Search:
        """Read the declaration back from what `to_json` wrote."""
        space = tuple((name, _distribution(kind, values)) for name, kind, values in record["space"])
        return cls(space, record["trials"], record["sampler"], record["validation"], record["timeout_s"])

    def to_json(self) -> dict[str, object]:
        """Return the declaration as JSON values; the order of the space is kept."""
        space = [[name, type(entry).__name__.lower(), vars(entry)] for name, entry in self.space]
        return {
            "space": space,
            "trials": self.trials,
            "sampler": self.sampler,
            "validation": self.validation,
            "timeout_s": self.timeout_s,
        }


@dataclass(frozen=True, eq=False)
class ValidationOutputs:
    """What a trial's model says about the validation rows, in the shape that evaluation's metrics take.

    Attributes:
        kind: What the model predicts: a number, one of two classes, or one of k classes.
        values: Predictions: numbers, or class labels; shape (n,).
        probabilities: Shape (n, k) for a classifier with ``predict_proba``, else None.
        classes: The k class labels in the order of the columns, else None.
    """

    kind: Literal["regression", "binary", "multiclass"]
    values: NDArray[np.generic]
    probabilities: NDArray[np.float64] | None = None
    classes: tuple[object, ...] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def positive_scores(self) -> NDArray[np.float64] | None:
        """The probability of the positive class of a binary model, shape (n,), or None where there is none."""
        if self.kind != "binary" or self.probabilities is None:
            return None
        scores: NDArray[np.float64] = self.probabilities[:, 1]
        return scores


@dataclass(frozen=True)
class SearchObjective:
    """What a search improves: a named function of the true labels and a model's outputs.

    ``function`` is handed over to the run's own process by value or by reference; it gets the validation labels, shape
    (n,), and a `ValidationOutputs`, and returns one number.
    """

    name: str
    greater_is_better: bool
    function: Callable[[NDArray[np.generic], ValidationOutputs], float]


def search(
    *,
    trials: int = 30,
    timeout: str | timedelta | float | None = None,
    sampler: Sampler = "tpe",
    validation: float = 0.2,
    space: Mapping[str, Distribution] | None = None,
    **parameters: Distribution,
) -> Search:
    """Declare a search over parameters.

    Args:
        trials: How many parameter sets are tried, at least 1.
        timeout: After this no new trial starts, such as ``"10m"``.
        sampler: ``tpe`` or ``random``.
        validation: Share of the training rows that trials are scored on, between 0 and 1 (both excluded).
        space: Parameters whose names clash with the arguments of this function.
        **parameters: Distributions by parameter name: `uniform`, `integer`, `choice`.

    Raises:
        DeclarationError: Something in it cannot be searched.

    >>> search(trials=5, depth=integer(2, 8)).space
    (('depth', Integer(low=2, high=8, log=False)),)
    """
    merged = {**(space or {}), **parameters}
    if not merged:
        raise DeclarationError("a search needs at least one parameter.", hint="Write search(depth=integer(2, 8)).")
    for name, entry in merged.items():
        if not isinstance(entry, Uniform | Integer | Choice):
            raise DeclarationError(
                f"the searched parameter {name!r} is {entry!r}, which is no distribution.",
                hint="Use uniform(low, high), integer(low, high) or choice([...]); fixed values belong in params.",
            )
    if trials < 1:
        raise DeclarationError(f"a search needs at least one trial, got {trials}.")
    if not 0 < validation < 1:
        raise DeclarationError(f"validation is a share between 0 and 1, got {validation}.")
    if sampler not in ("tpe", "random"):
        raise DeclarationError(f"there is no sampler {sampler!r}.", hint="Use 'tpe' or 'random'.")
    seconds = None if timeout is None else parse_duration(timeout).total_seconds()
    return Search(tuple(merged.items()), int(trials), sampler, float(validation), seconds)


def uniform(low: float, high: float, *, log: bool = False) -> Uniform:
    """Search a real number in [low, high]; with ``log`` every factor counts the same.

    >>> uniform(0.01, 0.3, log=True)
    Uniform(low=0.01, high=0.3, log=True)
    """
    _check_bounds("uniform", low, high, log=log)
    return Uniform(float(low), float(high), log)


def integer(low: int, high: int, *, log: bool = False) -> Integer:
    """Search a whole number in [low, high], both included.

    >>> integer(2, 8)
    Integer(low=2, high=8, log=False)
    """
    if int(low) != low or int(high) != high:
        raise DeclarationError(
            f"integer needs whole bounds, got {low} and {high}.", hint="Use uniform for real numbers."
        )
    _check_bounds("integer", low, high, log=log)
    return Integer(int(low), int(high), log)


def choice(options: Sequence[ParamValue]) -> Choice:
    """Search one of some plain values.

    >>> choice(["gini", "entropy"])
    Choice(options=('gini', 'entropy'))
    """
    if isinstance(options, str) or not options:
        raise DeclarationError(f"choice needs a list of values, got {options!r}.", hint='Write choice(["a", "b"]).')
    for value in options:
        if not isinstance(value, str | int | float | bool | None):
            raise DeclarationError(
                f"choice holds {value!r}; only strings, numbers, booleans and None are recorded.",
                hint="Choose among names and build the object in the training function.",
            )
    return Choice(tuple(options))


def _distribution(kind: str, values: Mapping[str, Any]) -> Distribution:
    match kind:
        case "uniform":
            return Uniform(**values)
        case "integer":
            return Integer(**values)
        case _:
            return Choice(tuple(values["options"]))


def _check_bounds(kind: str, low: float, high: float, *, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise DeclarationError(f"{kind} needs finite bounds with low < high, got {low} and {high}.")
    if log and low <= 0:
        raise DeclarationError(f"{kind} on a log scale needs low > 0, got {low}.")

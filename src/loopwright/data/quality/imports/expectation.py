"""What the expectations of Great Expectations have in common: bounds, severities, ``mostly``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from loopwright.data.quality.imports.imported import CannotTakeError, Gathering

if TYPE_CHECKING:
    from collections.abc import Mapping

Taking: TypeAlias = Callable[[Gathering, dict[str, Any], str], None]  # of an expectation's kwargs and severity


def row_options(kwargs: Mapping[str, Any], severity: str) -> dict[str, Any]:
    """Return the options of a check that names rows."""
    mostly = kwargs.get("mostly")
    options: dict[str, Any] = {"on_failure": "quarantine" if severity == "critical" else "warn"}
    return options | ({} if mostly in (None, 1, 1.0) else {"mostly": mostly})


def whole_failure(severity: str) -> Any:  # noqa: ANN401 - one of two words
    """Return what becomes of an ingest that fails as a whole."""
    return "stop" if severity == "critical" else "warn"


def bounds_of(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds as they are called here."""
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is None and high is None:
        raise CannotTakeError("it has no bounds")
    found = {"above" if kwargs.get("strict_min") else "at_least": low}
    found["below" if kwargs.get("strict_max") else "at_most"] = high
    return {key: value for key, value in found.items() if value is not None}

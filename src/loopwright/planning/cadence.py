"""How often something happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Cadence = Literal["hourly", "daily", "weekly", "monthly", "quarterly", "never"]
CADENCES: tuple[Cadence, ...] = get_args(Cadence)
PER_MONTH: Mapping[Cadence, float] = {
    "hourly": 730.0,
    "daily": 730 / 24,
    "weekly": 730 / 168,
    "monthly": 1.0,
    "quarterly": 1 / 3,
    "never": 0.0,
}

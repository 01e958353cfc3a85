"""Error budgets: how fast a service spends what its objective allows it, over two windows at once.

The long window makes an alert mean something, the short one (a twelfth of it) makes it end when the trouble ends.

Source: B. Beyer et al. (2018), The Site Reliability Workbook, chapter 5, table 5-8.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Severity: TypeAlias = Literal["page", "ticket"]

LEAST_BAD_EVENTS = 10  # below this many in the long window a ratio means nothing


@dataclass(frozen=True)
class BurnRule:
    """Alarm when both windows burn the budget at least `rate` times as fast as the objective allows.

    Attributes:
        severity: Who is called.
        rate: Multiple of the allowed rate of bad events.
        long: Long window.
        short: Short window.
    """

    severity: Severity
    rate: float
    long: timedelta
    short: timedelta


# Two, five and ten per cent of a 30-day budget, each spent within the long window.
BURN_RULES: tuple[BurnRule, ...] = (
    BurnRule("page", 14.4, timedelta(hours=1), timedelta(minutes=5)),
    BurnRule("page", 6.0, timedelta(hours=6), timedelta(minutes=30)),
    BurnRule("ticket", 1.0, timedelta(days=3), timedelta(hours=6)),
)


@dataclass(frozen=True)
class Traffic:
    """Count events of one window.

    >>> Traffic(bad=3, total=200).bad_share
    0.015
    """

    bad: int
    total: int

    @property
    def bad_share(self) -> float:
        """Give the share of bad events; zero without traffic."""
        return self.bad / self.total if self.total else 0.0


def burn_rate(traffic: Traffic, *, allowed_share: float) -> float:
    """Give how many times faster than allowed the budget burns.

    >>> round(burn_rate(Traffic(bad=144, total=10_000), allowed_share=0.001), 6)
    14.4
    """
    if not 0.0 < allowed_share < 1.0:
        raise ValueError(f"allowed_share must lie in (0, 1), got {allowed_share}")
    return traffic.bad_share / allowed_share


def burning(
    long: Traffic, short: Traffic, *, rule: BurnRule, allowed_share: float, least_bad: int = LEAST_BAD_EVENTS
) -> bool:
    """Say whether one rule fires: both windows at its rate, and enough bad events to mean something.

    >>> hour, minutes = Traffic(200, 10_000), Traffic(20, 900)
    >>> burning(hour, minutes, rule=BURN_RULES[0], allowed_share=0.001)
    True
    """
    if long.bad < least_bad:
        return False
    # Rates are compared with a rounding allowance, so that 1.44 % of 0.1 % is 14.4 exactly.
    enough = rule.rate * (1.0 - 1e-12)
    return burn_rate(long, allowed_share=allowed_share) >= enough and (
        burn_rate(short, allowed_share=allowed_share) >= enough
    )


def worst_burn(
    windows: Sequence[tuple[BurnRule, Traffic, Traffic]], *, allowed_share: float, least_bad: int = LEAST_BAD_EVENTS
) -> BurnRule | None:
    """Give the first rule, in the order given, that fires on its long and short window; None when all is well."""
    for rule, long, short in windows:
        if burning(long, short, rule=rule, allowed_share=allowed_share, least_bad=least_bad):
            return rule
    return None

"""Burn rates: the workbook's thresholds, exactly."""

from __future__ import annotations

import pytest

from loopwright.core.statistics.burn_rate import BURN_RULES, Traffic, burn_rate, burning, worst_burn


@pytest.mark.parametrize(("rule", "share"), list(zip(BURN_RULES, (0.0144, 0.006, 0.001), strict=True)))
def test_thresholds_of_a_three_nines_objective(rule: object, share: float) -> None:
    assert rule in BURN_RULES
    index = BURN_RULES.index(rule)  # type: ignore[arg-type]
    total = 1_000_000
    at, under = Traffic(round(share * total), total), Traffic(round(share * total) - 1, total)
    assert burning(at, at, rule=BURN_RULES[index], allowed_share=0.001)
    assert not burning(under, at, rule=BURN_RULES[index], allowed_share=0.001)
    assert not burning(at, under, rule=BURN_RULES[index], allowed_share=0.001)


def test_short_windows_are_a_twelfth_of_long_ones() -> None:
    assert all(rule.short * 12 == rule.long for rule in BURN_RULES)


def test_few_bad_events_never_page() -> None:
    assert not burning(Traffic(9, 10), Traffic(9, 10), rule=BURN_RULES[0], allowed_share=0.001)
    assert burn_rate(Traffic(0, 0), allowed_share=0.01) == 0.0
    with pytest.raises(ValueError, match="allowed_share"):
        burn_rate(Traffic(1, 2), allowed_share=0.0)


def test_the_first_rule_that_fires_is_given() -> None:
    slow = Traffic(20, 10_000)
    fired = worst_burn([(rule, slow, slow) for rule in BURN_RULES], allowed_share=0.001)
    assert fired == BURN_RULES[2]
    assert worst_burn([], allowed_share=0.001) is None

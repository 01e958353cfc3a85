"""From evaluations and comparisons to a verdict, rule by rule. Pure: no store, no clock.

Every rule has three outcomes. "Pass" and "fail" are claims, each made only with the gate's confidence; between them
lies "not enough evidence", whose remedy is more rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from loopwright.core.statistics.multiplicity import holm
from loopwright.evaluation.gate import AtLeast, AtMost, BeatsChampion, EverySlice, Gate, NoWorseThanChampion
from loopwright.evaluation.verdict import RuleResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.evaluation.compare import Comparison
    from loopwright.evaluation.estimate import Estimate
    from loopwright.evaluation.slices import SliceResult
    from loopwright.evaluation.verdict import Outcome


def judge(
    gate: Gate,
    metrics: Mapping[str, Estimate],
    slices: Sequence[SliceResult],
    comparisons: Mapping[str, Comparison] | None,
    unasked: str = "",
) -> RuleResult:
    """Apply one gate.

    Args:
        gate: The rule.
        metrics: The challenger's metrics by name.
        slices: The challenger's slices; those of the gate's column and metric are read.
        comparisons: Paired comparisons with the champion by metric; None when no champion was asked.
        unasked: Why there is a champion and it could not be asked.
    """
    match gate:
        case BeatsChampion() | NoWorseThanChampion() if unasked:
            return RuleResult(str(gate), "not_enough_evidence", unasked)
        case BeatsChampion() | NoWorseThanChampion():
            return _against_champion(gate, metrics, comparisons)
        case AtMost() | AtLeast():
            return _against_limit(gate, metrics[gate.metric])
        case EverySlice():
            return _every_slice(gate, [s for s in slices if (s.column, s.metric) == (gate.column, gate.metric)])


def _against_champion(
    gate: BeatsChampion | NoWorseThanChampion,
    metrics: Mapping[str, Estimate],
    comparisons: Mapping[str, Comparison] | None,
) -> RuleResult:
    if comparisons is None:
        value = metrics[gate.metric].value
        return _result(gate, "pass", f"No champion: {gate.metric} is {_show(value)}.", value)
    compared = comparisons[gate.metric]
    needed = gate.margin if isinstance(gate, BeatsChampion) else -gate.by
    difference = compared.difference
    low, high = difference.low(gate.confidence), difference.high(gate.confidence)
    outcome: Outcome
    if math.isnan(low) or math.isnan(high):
        outcome = "not_enough_evidence"
    elif low > needed or (low == high == difference.value == 0.0 and needed < 0):
        outcome = "pass"
        # McNemar's exact test decides about accuracy at no margin: its interval is an approximation.
        if compared.method == "mcnemar" and needed == 0.0 and compared.p_value / 2.0 > 1.0 - gate.confidence:
            outcome = "not_enough_evidence"
    else:
        outcome = "fail" if high <= needed else "not_enough_evidence"
    better = "better" if difference.value >= 0 else "worse"
    reason = (
        f"{gate.metric} is {_show(compared.challenger)} against the champion's {_show(compared.champion)}: "
        f"{_show(abs(difference.value))} {better}, between {_show(low)} and {_show(high)} at {gate.confidence:.3g} "
        f"confidence a side ({compared.method}, {compared.rows} rows); needed: more than {_show(needed)}."
    )
    return _result(gate, outcome, reason, difference.value, needed, low, high)


def _against_limit(gate: AtMost | AtLeast, estimate: Estimate) -> RuleResult:
    low, high = estimate.low(gate.confidence), estimate.high(gate.confidence)
    inside, outside = (high <= gate.limit, low > gate.limit)
    word = "at most"
    if isinstance(gate, AtLeast):
        inside, outside, word = low >= gate.limit, high < gate.limit, "at least"
    outcome: Outcome = "pass" if inside else "fail" if outside else "not_enough_evidence"
    reason = (
        f"{gate.metric} is {_show(estimate.value)}, between {_show(low)} and {_show(high)} at {gate.confidence:.3g} "
        f"confidence a side ({estimate.rows} rows); needed: {word} {_show(gate.limit)}."
    )
    return _result(gate, outcome, reason, estimate.value, gate.limit, low, high)


def _every_slice(gate: EverySlice, slices: Sequence[SliceResult]) -> RuleResult:
    judged = [(s.label, s.rows, s.excess) for s in slices if s.excess is not None and s.rows >= gate.min_rows]
    left_out = [s.label for s in slices if s.rows < gate.min_rows]
    note = f" Left out, under {gate.min_rows} rows: {', '.join(left_out[:10])}." if left_out else ""
    if not judged:
        return RuleResult(
            str(gate), "not_enough_evidence", f"No slice of {gate.column} could be judged.{note}", limit=gate.within
        )
    values = np.array([excess.value for _, _, excess in judged])
    errors = np.array([excess.standard_error for _, _, excess in judged])
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(errors > 0, (values - gate.within) / errors, np.copysign(np.inf, values - gate.within))
    # Fails are claims about the worst of many, hence Holm; a pass must hold for each slice, so each is tested alone
    # (intersection-union).
    beyond = holm(np.nan_to_num(special.ndtr(-z), nan=1.0)) <= 1.0 - gate.confidence
    inside = np.array([excess.high(gate.confidence) <= gate.within for _, _, excess in judged])
    worst = int(np.nanargmax(np.where(np.isnan(values), -np.inf, values)))
    label, rows, excess = judged[worst]
    low, high = excess.low(gate.confidence), excess.high(gate.confidence)
    outcome: Outcome = "fail" if beyond.any() else "pass" if inside.all() else "not_enough_evidence"
    if outcome == "pass":
        lead = f"All {len(judged)} slices of {gate.column} are within {gate.within:.3g} of the whole."
    elif outcome == "fail":
        names = [name for (name, _, _), out in zip(judged, beyond, strict=True) if out]
        lead = f"{gate.metric} is too bad for {gate.column} {', '.join(names[:10])}."
    else:
        names = [name for (name, _, _), ok in zip(judged, inside, strict=True) if not ok]
        lead = f"Not sure of {gate.column} {', '.join(names[:10])}."
    reason = (
        f"{lead} The worst is {label} ({rows} rows): {_percent(excess.value)} worse than the whole, between "
        f"{_percent(low)} and {_percent(high)}; allowed: {_percent(gate.within)}.{note}"
    )
    return _result(gate, outcome, reason, excess.value, gate.within, low, high)


def _result(gate: Gate, outcome: Outcome, reason: str, *numbers: float) -> RuleResult:
    """Build a result from value, limit, low and high; what is undefined is None."""
    known = [float(number) if math.isfinite(number) else None for number in numbers]
    return RuleResult(str(gate), outcome, reason, *known)


def _show(number: float) -> str:
    return f"{number:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"

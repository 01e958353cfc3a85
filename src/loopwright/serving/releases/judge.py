"""The judge of a release: a pure function from counts to what happens next.

Everything that can end a release is tested by methods that stay valid however often one looks (Lindon and Malek 2022
for counts, Howard and Ramdas 2022 for latency quantiles), so the judge may run on every tick. The chance to roll back
a harmless version is at most ``alpha`` over the whole release: it is split evenly over the steps, and within a step
half goes to errors and half to the latency quantiles.

It fails closed: a step is left upwards only with enough exposure and time and nothing suspicious; without traffic it
holds.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from loopwright.core.statistics.anytime import rate_interval
from loopwright.core.statistics.count_test import compare_counts, sample_ratio_mismatch
from loopwright.core.statistics.histogram import LatencyHistogram
from loopwright.core.statistics.quantile_cs import quantile_difference_ms

if TYPE_CHECKING:
    from loopwright.serving.releases.release import ReleasePlan

JudgementOutcome: TypeAlias = Literal["hold", "advance", "roll_back", "invalid"]
LATENCY_QUANTILES: tuple[float, ...] = (0.5, 0.95, 0.99)
_SRM_ALPHA = 0.001
_SUSPICIOUS_ERRORS = 5


@dataclass(frozen=True)
class ArmCounts:
    """What one arm saw in a step.

    Attributes:
        requests: Requests answered or failed.
        units: Different units (sticky keys) among them.
        errors: Requests that failed by the server's or the model's fault (status 500 and above).
        latency: Their latencies.
    """

    requests: int = 0
    units: int = 0
    errors: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)


@dataclass(frozen=True)
class StepEvidence:
    """What a step of a release has shown so far.

    Attributes:
        stage: ``shadow``: both arms saw the same requests; ``canary``: the challenger saw ``share`` of them.
        share: The challenger's share in a canary.
        elapsed_s: Seconds since the step began.
        min_time_s: Seconds that it must last.
        pairs: Rows that both versions answered (shadow).
        disagreements: Pairs whose answers differ.
    """

    stage: Literal["shadow", "canary"]
    share: float
    champion: ArmCounts
    challenger: ArmCounts
    elapsed_s: float
    min_time_s: float
    pairs: int = 0
    disagreements: int = 0

    def to_json(self) -> dict[str, object]:
        """Return the evidence as plain JSON values, histograms as their p50, p95 and p99."""
        return {
            "stage": self.stage,
            "share": self.share,
            "elapsed_s": self.elapsed_s,
            "pairs": self.pairs,
            "disagreements": self.disagreements,
            "champion": _arm_json(self.champion),
            "challenger": _arm_json(self.challenger),
        }


@dataclass(frozen=True)
class Judgement:
    """What to do, why, and how small a harm the traffic so far could have revealed.

    Attributes:
        reasons: In words, the decisive one first.
        detectable_error_rate: The challenger's error rate from which this traffic would have proven a rise; None
            without traffic.
        disagreement: Share of shadow pairs whose answers differ, or None; informational.
    """

    outcome: JudgementOutcome
    reasons: tuple[str, ...]
    detectable_error_rate: float | None = None
    disagreement: float | None = None

    def to_json(self) -> dict[str, object]:
        """Return the judgement as plain JSON values."""
        return {**asdict(self), "reasons": list(self.reasons)}


def judge(evidence: StepEvidence, plan: ReleasePlan) -> Judgement:
    """Judge a step of a release.

    >>> from loopwright.serving.deploy import online
    >>> from loopwright.serving.releases.release import ReleasePlan
    >>> plan = ReleasePlan.from_deployment(online(min_requests_per_step=100, step_time="0s"))
    >>> quiet = StepEvidence("canary", 0.5, ArmCounts(150, 150), ArmCounts(150, 150), 60.0, 0.0)
    >>> judge(quiet, plan).outcome
    'advance'
    """
    alpha = plan.alpha / max(plan.steps, 1)
    share = evidence.share if evidence.stage == "canary" else 0.5
    champion, challenger = evidence.champion, evidence.challenger
    detectable = detectable_error_rate(evidence, alpha=alpha / 2, least_ratio=plan.max_error_ratio)
    disagreement = evidence.disagreements / evidence.pairs if evidence.pairs else None

    def said(outcome: JudgementOutcome, *reasons: str) -> Judgement:
        return Judgement(outcome, reasons, detectable, disagreement)

    counted = champion.units + challenger.units
    if (
        evidence.stage == "canary"
        and counted
        and sample_ratio_mismatch([champion.units, challenger.units], [1 - share, share], alpha=_SRM_ALPHA)
    ):
        return said(
            "invalid",
            f"The split is not the one assigned: {challenger.units} of {counted} units reached the challenger, "
            f"{share:.0%} were to.",
        )
    errors = compare_counts(
        champion.errors,
        challenger.errors,
        canary_share=share,
        alpha=alpha / 2,
        least_relative_risk=plan.max_error_ratio,
    )
    if errors.worse:
        return said(
            "roll_back",
            f"Errors rose: {_rate(challenger)} against {_rate(champion)}, ratio {errors.relative_risk:.3g}, "
            f"p {errors.p_value:.2g} (always valid).",
        )
    if evidence.stage == "canary":
        slower = _slower(champion.latency, challenger.latency, plan, alpha / 2)
        if slower is not None:
            return said("roll_back", slower)
    waits = _waits(evidence, plan)
    if waits:
        return said("hold", *waits)
    if challenger.errors >= _SUSPICIOUS_ERRORS and errors.relative_risk >= plan.max_error_ratio:
        return said(
            "hold", f"More errors than the champion, not proven yet: {_rate(challenger)} against {_rate(champion)}."
        )
    shown = "" if detectable is None else f"; an error rate of {detectable:.2%} would have shown"
    return said("advance", f"{challenger.requests} requests without harm{shown}.")


def detectable_error_rate(evidence: StepEvidence, *, alpha: float, least_ratio: float) -> float | None:
    """Return the smallest error rate of the challenger that its requests so far would have proven to be a rise.

    The champion's errors are taken as they are. None without requests; 1.0 where not even failing always would show.
    """
    requests = evidence.challenger.requests
    if requests == 0:
        return None
    share = evidence.share if evidence.stage == "canary" else 0.5

    def shows(errors: int) -> bool:
        return compare_counts(
            evidence.champion.errors, errors, canary_share=share, alpha=alpha, least_relative_risk=least_ratio
        ).worse

    if not shows(requests):
        return 1.0
    low, high = 0, requests
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high / requests


def disagreement_interval(evidence: StepEvidence, *, alpha: float = 0.05) -> tuple[float, float] | None:
    """Bound the share of requests on which the versions disagree, at all times at once; None without pairs."""
    if not evidence.pairs:
        return None
    interval = rate_interval(evidence.disagreements, evidence.pairs, alpha=alpha, sharp_at_rows=1000)
    return interval.low, interval.high


def _slower(champion: LatencyHistogram, challenger: LatencyHistogram, plan: ReleasePlan, alpha: float) -> str | None:
    for quantile in LATENCY_QUANTILES:
        base = champion.quantile_ms(quantile)
        if not math.isfinite(base):
            continue
        budget_ms = base * plan.max_latency_rise + plan.latency_slack_ms
        bounds = quantile_difference_ms(champion, challenger, quantile, alpha=alpha / len(LATENCY_QUANTILES))
        if bounds.low > budget_ms:
            return (
                f"Latency rose: p{quantile * 100:g} by at least {bounds.low:.1f} ms, tolerated are {budget_ms:.1f} ms "
                f"over {base:.1f} ms."
            )
    return None


def _waits(evidence: StepEvidence, plan: ReleasePlan) -> list[str]:
    waits = []
    if evidence.challenger.requests < plan.min_requests_per_step:
        waits.append(f"{evidence.challenger.requests} of {plan.min_requests_per_step} requests seen.")
    if evidence.elapsed_s < evidence.min_time_s:
        waits.append(f"{evidence.elapsed_s:.0f} of {evidence.min_time_s:.0f} s passed.")
    return waits


def _rate(arm: ArmCounts) -> str:
    return f"{arm.errors} of {arm.requests}"


def _arm_json(arm: ArmCounts) -> dict[str, object]:
    quantiles = {f"p{quantile * 100:g}_ms": arm.latency.quantile_ms(quantile) for quantile in LATENCY_QUANTILES}
    shown = {name: value if math.isfinite(value) else None for name, value in quantiles.items()}
    return {"requests": arm.requests, "units": arm.units, "errors": arm.errors, **shown}

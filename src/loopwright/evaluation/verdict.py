"""The verdict: what the gates conclude about a challenger, rule by rule, in words and numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Outcome: TypeAlias = Literal["pass", "fail", "not_enough_evidence"]


@dataclass(frozen=True)
class RuleResult:
    """Say how one gate came out.

    Attributes:
        rule: The gate, in words.
        outcome: pass, fail or not_enough_evidence.
        reason: Why, in a sentence with the numbers.
        value: What was measured; None where nothing could be.
        limit: What it was held against.
        low: Lower confidence bound of `value` (one-sided, at the gate's confidence).
        high: Upper confidence bound of `value`.
    """

    rule: str
    outcome: Outcome
    reason: str
    value: float | None = None
    limit: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Hold the outcome of all gates: fail if any fails, else not enough evidence if any lacks it, else pass.

    Attributes:
        id: Its name in the facts; empty until recorded.
        subject: Ref of the challenger.
        champion: Ref of the champion it was held against; None for a first model.
        holdout: Digest of the holdout.
        rules: One result per gate, in the order of declaration.

    >>> verdict = Verdict("", "model:eta/2", None, "ab12", (RuleResult("mae is at most 6", "pass", "mae is 5.1"),))
    >>> verdict.outcome, verdict.passed
    ('pass', True)
    """

    id: str
    subject: str
    champion: str | None
    holdout: str
    rules: tuple[RuleResult, ...]

    @property
    def outcome(self) -> Outcome:
        """Give the outcome of all rules together."""
        return overall(rule.outcome for rule in self.rules)

    @property
    def passed(self) -> bool:
        """Say whether the challenger may become champion."""
        return self.outcome == "pass"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Give the reasons of the rules that decided the outcome."""
        return tuple(rule.reason for rule in self.rules if rule.outcome == self.outcome)

    def to_json(self) -> dict[str, object]:
        """Write the verdict as plain JSON values."""
        return {**asdict(self), "rules": [asdict(rule) for rule in self.rules], "outcome": self.outcome}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Verdict:
        """Read what `to_json` wrote."""
        rules = cast("list[dict[str, object]]", data["rules"])
        champion = data["champion"]
        return cls(
            id=str(data["id"]),
            subject=str(data["subject"]),
            champion=None if champion is None else str(champion),
            holdout=str(data["holdout"]),
            rules=tuple(RuleResult(**rule) for rule in rules),  # type: ignore[arg-type]
        )


def overall(outcomes: Iterable[Outcome]) -> Outcome:
    """Combine outcomes: the worst counts, and having none is a pass.

    >>> overall(["pass", "not_enough_evidence"]), overall(["not_enough_evidence", "fail"]), overall([])
    ('not_enough_evidence', 'fail', 'pass')
    """
    seen = set(outcomes)
    if "fail" in seen:
        return "fail"
    return "not_enough_evidence" if "not_enough_evidence" in seen else "pass"

"""What a plan rests on: every input, with where it comes from.

A figure is **measured** (by a profile, by monitoring, from the runs on record), **given** by the person who asks, or
**assumed**; no figure of a plan is without one of the three, and every output shows which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Tag = Literal["measured", "given", "assumed"]
Plain = float | str | bool


@dataclass(frozen=True)
class Assumption:
    """One input.

    Attributes:
        name: What it is, such as ``peak_rps``.
        value: The figure or word that is used.
        unit: Of the figure; empty for words.
        tag: How it is known.
        source: Where from: the measurement, the declaration, or the reason for assuming it.
        spread: The standard deviation of its logarithm, for bands; 0 for what is certain.
    """

    name: str
    value: Plain
    unit: str
    tag: Tag
    source: str
    spread: float = 0.0

    def to_json(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return dict(vars(self))


@dataclass
class Ledger:
    """Collects the inputs of one plan, in the order in which they were used; each name once."""

    entries: dict[str, Assumption] = field(default_factory=dict)

    def note(self, entry: Assumption) -> Plain:
        """Keep an input and return its value; the first entry of a name stays."""
        return self.entries.setdefault(entry.name, entry).value

    def number(
        self, name: str, given: float | None, default: float, unit: str, why: str, *, spread: float = 0.0
    ) -> float:
        """Return a figure: the one given, or else the default, noted with its reason.

        >>> ledger = Ledger()
        >>> ledger.number("burst_factor", None, 1.3, "", "a usual value for web traffic")
        1.3
        >>> ledger.entries["burst_factor"].tag
        'assumed'
        """
        tag: Tag = "assumed" if given is None else "given"
        value = default if given is None else given
        noted = self.note(Assumption(name, float(value), unit, tag, why if given is None else "the workload", spread))
        return float(noted)

    def all(self) -> tuple[Assumption, ...]:
        """Return every input."""
        return tuple(self.entries.values())

"""What a check of a table found: one result per check, and which rows fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.core.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from loopwright.data.contract.words import OnFailure


@dataclass(frozen=True)
class Example:
    """A row that fails, and the value that it fails for, where one column is to blame."""

    row: int
    value: str | None


@dataclass(frozen=True)
class CheckResult:
    """One check.

    Attributes:
        check: Its label, such as ``between(distance_km)``.
        on_failure: What an ingest would do about it.
        has_passed: Whether it holds, or, with ``mostly``, for enough rows.
        rows_failed: The rows to blame; None for a check of all rows together.
        rows_seen: The rows that it looks at.
        found: What was found, for people.
        examples: Some of the rows to blame, the first ones.
    """

    check: str
    on_failure: OnFailure
    has_passed: bool
    rows_failed: int | None
    rows_seen: int
    found: str
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """What a check of a table found.

    Attributes:
        name: Of what.
        rows: How many rows were read; they are numbered from 0, through all files in the order of their names.
        rows_accepted: How many an ingest would keep.
        results: One per check that looks at something.
        seconds: How long it took.
    """

    name: str
    rows: int
    rows_accepted: int
    results: tuple[CheckResult, ...]
    seconds: float
    positions: Mapping[str, pa.Int64Array] = field(default_factory=dict, repr=False)

    @property
    def has_passed(self) -> bool:
        """Whether every check holds but those that only warn."""
        return all(one.has_passed or one.on_failure == "warn" for one in self.results)

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that do not hold."""
        return tuple(one for one in self.results if not one.has_passed)

    def result(self, check: str) -> CheckResult:
        """Return the result of a check by its label.

        Raises:
            UnknownNameError: If there is none.
        """
        for one in self.results:
            if one.check == check:
                return one
        raise UnknownNameError("check", check, [one.check for one in self.results])

    def rows_failing(self, check: str) -> list[int]:
        """Return the numbers of the rows that fail a check, in order; none for a check of all rows together."""
        self.result(check)
        found = self.positions.get(check)
        return [] if found is None else found.to_pylist()

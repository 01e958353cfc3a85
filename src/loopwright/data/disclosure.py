"""What of a dataset's rows may leave the workspace, and the record that it did.

Rows pass here on their way to a person: a viewer gets them with restricted values hidden; whoever may see them gets
them, and the reading goes on record first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.core.access import Access, Principal
    from loopwright.data.quarantine.view import QuarantinedRow

HIDDEN = "•••"


class Disclosure:
    """Decides what one person gets to see.

    Args:
        access: Keeps the record.
        principal: Who asks.
    """

    def __init__(self, access: Access, principal: Principal) -> None:
        self._access = access
        self._principal = principal

    def rows(
        self,
        dataset: str,
        rows: Sequence[Mapping[str, object]],
        restricted: Sequence[str],
        *,
        purpose: str,
        count: int | None = None,
    ) -> list[dict[str, object]]:
        """Return rows as this person may see them.

        Args:
            dataset: Whose rows they are.
            rows: The rows.
            restricted: The columns that only some may see.
            purpose: What the rows are for, as the record will say.
            count: How many rows leave, where ``rows`` is only a sample of them.
        """
        if self._may_see(dataset, [set(row) for row in rows], restricted, purpose=purpose, count=count):
            return [dict(row) for row in rows]
        return [{name: HIDDEN if name in restricted else value for name, value in row.items()} for row in rows]

    def quarantined(
        self, dataset: str, entries: Sequence[QuarantinedRow], restricted: Sequence[str], *, purpose: str
    ) -> list[QuarantinedRow]:
        """Return quarantined rows as this person may see them; a line that was not taken apart counts as restricted."""
        named = [set(one.raw) if isinstance(one.raw, dict) else set(restricted) for one in entries]
        if self._may_see(dataset, named, restricted, purpose=purpose):
            return list(entries)
        return [self._hide(one, restricted) for one in entries]

    def _may_see(
        self,
        dataset: str,
        named: Sequence[set[str]],
        restricted: Sequence[str],
        *,
        purpose: str,
        count: int | None = None,
    ) -> bool:
        there = [name for name in restricted if any(name in names for names in named)]
        if not there:
            return True
        if not self._principal.may("operator"):
            return False
        left = sum(1 for names in named if not names.isdisjoint(there)) if count is None else count
        self._access.note_read(self._principal, dataset=dataset, columns=there, rows=left, purpose=purpose)
        return True

    @staticmethod
    def _hide(entry: QuarantinedRow, restricted: Sequence[str]) -> QuarantinedRow:
        raw: object = HIDDEN
        if isinstance(entry.raw, dict):
            raw = {name: HIDDEN if name in restricted else value for name, value in entry.raw.items()}
        reasons = tuple(
            replace(one, value=HIDDEN) if one.value is not None and one.column in (*restricted, "") else one
            for one in entry.reasons
        )
        return replace(entry, raw=raw, reasons=reasons)

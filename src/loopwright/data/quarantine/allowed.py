"""What a broken rule would have allowed, in a few words beside the cell that broke it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopwright.data.contract.column import Column
    from loopwright.data.contract.contract import Contract
    from loopwright.data.quarantine.view import Reason

_LISTED = 8


def allowed(contract: Contract, reason: Reason) -> str:
    """Return what the contract, as it is now, allows where a check failed; empty where it does not say so any more."""
    fixed = {
        "required": "a value",
        "finite": "a finite number",
        "key": "one row per key, or on_duplicate='upsert'",
        "unique": "a value that no other row has",
        "row": "a line with the fields of the header",
        "unit": "a file that can be read",
    }
    if reason.check in fixed:
        return fixed[reason.check]
    column = contract.column(reason.column)
    if column is not None:
        found = _of_column(column, reason.check)
        if found:
            return found
    for check in contract.checks:
        if check.label == reason.label or (reason.check == "expect" and check.label == f"expect({reason.column})"):
            described = check.describe()
            return str(described.get("expression") or check.spelled().removeprefix("lw."))
    return ""


def _of_column(column: Column, check: str) -> str:
    described = column.describe()
    if check == "type":
        return column.type
    if check in {"between", "at_least", "at_most"}:
        low, high = described.get("at_least"), described.get("at_most")
        parts = ([f"at least {low}"] if low is not None else []) + ([f"at most {high}"] if high is not None else [])
        return " and ".join(parts)
    value = described.get(check)
    if isinstance(value, list):
        shown = ", ".join(map(str, value[:_LISTED]))
        return shown + (f" and {len(value) - _LISTED} more" if len(value) > _LISTED else "")
    return "" if value is None else str(value)

"""Says how the columns of what is read differ from those that are known.

Known are the columns of the contract, those stored, and those of the units read before, in this order.

==============================  ========================================================================================
a column that is not known      is kept; rows without it hold null; a warning
a known column that is absent   holds null, with a warning; one that the contract requires refuses the file
upper and lower case differ     is read under the known name, since SQL does not tell the two apart; a warning
another order                   means nothing
a value that does not fit       goes to the quarantine with file, row, column and value; where the type was never
                                declared, or the value has a decimal comma, a warning says what to do
==============================  ========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loopwright.data.contract.contract import Contract

_COMMA = r"^\s*[+-]?[0-9.]*,[0-9]+\s*$"
_LOOKED_AT = 1000  # of the values that do not fit, per batch


class Drift:
    """Compares columns, unit by unit.

    Args:
        contract: The columns that are declared.
        stored: The columns of the dataset; empty before its first rows.
        ignored: Columns that are made while reading, and never in the data.
    """

    def __init__(self, contract: Contract, stored: Iterable[str], ignored: Iterable[str] = ()) -> None:
        self._contract = contract
        self._stored = tuple(stored)
        self._ignored = frozenset(ignored)
        self._spelled = {name.casefold(): name for name in self._stored}
        self._spelled |= {item.name.casefold(): item.name for item in contract.columns}
        self._expected = dict.fromkeys(self._stored)  # of every file with a header
        self._is_first = not self._stored  # what the first unit brings is not new
        self._new: dict[str, list[str]] = {}
        self._absent: dict[str, list[str]] = {}
        self._respelled: dict[tuple[str, str], list[str]] = {}
        self._commas: dict[str, str] = {}

    def respelled(self, unit: str, batch: pa.Table) -> pa.Table:
        """Give columns that differ from a known one in case alone the known name."""
        names = [self._spelled.get(name.casefold(), name) for name in batch.column_names]
        if names == batch.column_names or len(set(names)) < len(names):
            return batch
        for found, name in zip(batch.column_names, names, strict=True):
            units = self._respelled.setdefault((found, name), []) if found != name else [unit]
            if unit not in units:
                units.append(unit)
        return batch.rename_columns(names)

    def see(self, unit: str, columns: Sequence[str], *, has_header: bool) -> None:
        """Take the columns of a unit that is read."""
        is_first, self._is_first = self._is_first, False
        declared = [item.name for item in self._contract.columns if not item.required]
        expected = [name for name in self._expected if self._contract.column(name) is None]
        for name in [*expected, *(() if self._stored else declared)]:
            if has_header and name not in columns and name not in self._ignored:
                self._absent.setdefault(name, []).append(unit)
        for name in columns:
            if name not in self._expected and self._contract.column(name) is None:
                self._expected[name] = None
                self._spelled.setdefault(name.casefold(), name)
                if not is_first:
                    self._new.setdefault(name, []).append(unit)

    def look_at(self, bad: pa.Table) -> None:
        """Look for decimal commas among the values that did not fit their type."""
        if bad.num_rows == 0:
            return
        reasons = bad["reasons"].slice(0, _LOOKED_AT).combine_chunks().flatten()
        check, column, value = reasons.flatten()
        fits = pc.and_(pc.equal(check, "type"), pc.match_substring_regex(value, _COMMA))
        for name in set(column.filter(fits).to_pylist()) - set(self._commas):
            self._commas[name] = str(value.filter(pc.and_(fits, pc.equal(column, name)))[0])

    def warnings(self, failures: Mapping[str, int]) -> list[str]:
        """Return what to tell people. ``failures`` counts failed checks by their label."""
        said = []
        for (found, name), units in self._respelled.items():
            said.append(f"The column '{name}' is spelled '{found}' in {_listed(units)}; it is read as '{name}'.")
        for name, units in self._new.items():
            said.append(f"The column '{name}' is new, in {_listed(units)}; rows without it hold null.")
        for name, units in self._absent.items():
            said.append(f"There is no column '{name}' in {_listed(units)}; it is null there.")
        for name, value in self._commas.items():
            said.append(
                f"Numbers of '{name}' have a comma, such as '{value}', and are in the quarantine. Write them with a "
                "decimal point and without signs between thousands, or declare the column as 'string'."
            )
        for label, count in failures.items():
            name = label.removeprefix("type(").removesuffix(")")
            if label == f"type({name})" and self._contract.column(name) is None and name not in self._commas:
                said.append(
                    f"The type of '{name}' was taken from its first rows, and does not fit {count} later ones, which "
                    f"are in the quarantine. Declare it, as column('{name}', 'float') or 'string', in a new dataset."
                )
        return said


def _listed(units: Sequence[str]) -> str:
    """Name the first unit and count the others."""
    return units[0] if len(units) == 1 else f"{units[0]} and {len(units) - 1} more"

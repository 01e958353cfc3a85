"""Reads the rules of another tool as a contract, whichever of the known ones it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.core.errors import ContractError
from loopwright.data.quality.imports.great_expectations_import import contract_from_great_expectations
from loopwright.data.quality.imports.pandera_import import contract_from_pandera

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.data.quality.imports.imported import ImportedContract


def import_contract(rules: object, *, types: Mapping[str, str] | None = None) -> ImportedContract:
    """Read a pandera schema or a Great Expectations suite as a contract.

    Args:
        rules: The object, the values of its JSON or YAML, their text, or the path of a file that holds it.
        types: Types of columns, where the rules do not say them.

    Returns:
        The contract, with every rule that could not be taken over and the reason.

    Raises:
        ContractError: If it is neither.

    >>> import_contract({"columns": {"a": {"dtype": "int64"}}}).contract.column("a").type
    'int'
    """
    if isinstance(rules, Path) or (isinstance(rules, str) and "\n" not in rules and "{" not in rules):
        try:
            rules = Path(rules).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ContractError(f"{rules} cannot be read: {error}.") from None
    is_suite = hasattr(rules, "expectations") or (isinstance(rules, dict) and "expectations" in rules)
    if is_suite or (isinstance(rules, str) and '"expectations"' in rules):
        return contract_from_great_expectations(rules, types=types)
    return contract_from_pandera(rules, types=types)

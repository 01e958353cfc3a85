"""Reads a suite of Great Expectations (its JSON, of versions 0.13 to 1) as a contract.

Every expectation is taken over, or listed with the reason. A severity of ``critical`` keeps a failing row out, or stops
an ingest as a whole; any other one warns.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import ContractError
from loopwright.data.quality.imports.expectations_of_rows import OF_ROWS
from loopwright.data.quality.imports.expectations_of_tables import OF_TABLES
from loopwright.data.quality.imports.imported import CannotTakeError, Gathering

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.data.quality.imports.imported import ImportedContract

MAPPED = OF_ROWS | OF_TABLES
_REASONS = {
    "expect_column_values_to_be_dateutil_parseable": "dateutil reads forms that no rule names; declare the column as "
    "timestamp, or give format=",
    "expect_column_values_to_match_json_schema": "JSON schemas are not evaluated; json=True checks that it is JSON",
    "expect_column_kl_divergence_to_be_less_than": "use distribution(), against a snapshot or a profile",
    "expect_column_chisquare_test_p_value_to_be_greater_than": "use distribution(), against a snapshot or a profile",
    "expect_column_bootstrapped_ks_test_p_value_to_be_greater_than": "use distribution(measure='ks')",
    "expect_column_parameterized_distribution_ks_test_p_value_to_be_greater_than": "use distribution(measure='ks')",
    "expect_column_pair_cramers_phi_value_to_be_less_than": "the association of columns is part of a profile",
    "expect_query_results_to_match_comparison": "it compares two queries; use references(), row_count(same_as=) or "
    "expect()",
    "unexpected_rows_expectation": "it is a query over a table; write the condition of a row as expect()",
}


def contract_from_great_expectations(suite: object, *, types: Mapping[str, str] | None = None) -> ImportedContract:
    """Read a suite as a contract.

    Args:
        suite: An ``ExpectationSuite``, what its ``to_json_dict()`` gives, or that as text.
        types: Types of columns, which a suite need not name.

    Raises:
        ContractError: If it is no suite.

    >>> made = contract_from_great_expectations(
    ...     {
    ...         "expectations": [
    ...             {
    ...                 "type": "expect_column_values_to_be_between",
    ...                 "kwargs": {"column": "km", "min_value": 0, "strict_min": True},
    ...             }
    ...         ]
    ...     }
    ... )
    >>> print(made.contract.to_source())
    [
        lw.column('km', 'float', required=False, above=0),
    ]
    """
    gathering = Gathering(types or {})
    found = sorted(_expectations(suite), key=lambda one: _order(one[0]))
    for name, kwargs, severity in found:
        rule = name + "(" + ", ".join(str(kwargs[key]) for key in ("column", "column_list") if key in kwargs) + ")"
        gathering.take(rule, partial(_take, gathering, name, kwargs, severity))
    return gathering.finished()


def _expectations(suite: object) -> list[tuple[str, dict[str, Any], str]]:
    if hasattr(suite, "to_json_dict"):
        suite = suite.to_json_dict()
    if isinstance(suite, str):
        try:
            suite = json.loads(suite)
        except ValueError as error:
            raise ContractError(f"This is no suite of Great Expectations: {error}.") from None
    listed = suite.get("expectations") if isinstance(suite, dict) else None
    if not isinstance(listed, list):
        raise ContractError("This is no suite of Great Expectations: it has no list of expectations.")
    found = []
    for one in listed:
        name = str(one.get("type") or one.get("expectation_type") or "?")
        severity = str(one.get("severity") or (one.get("meta") or {}).get("severity") or "critical")
        found.append((name, dict(one.get("kwargs") or {}), severity))
    return found


def _take(gathering: Gathering, name: str, kwargs: dict[str, Any], severity: str) -> None:
    if kwargs.get("row_condition") is not None:
        raise CannotTakeError("it has a row_condition; write it as expect('NOT (condition) OR ...')")
    if name in _REASONS:
        raise CannotTakeError(_REASONS[name])
    if name not in MAPPED:
        raise CannotTakeError("it is none of the core expectations; write it as expect()")
    MAPPED[name](gathering, kwargs, severity)


def _order(name: str) -> int:
    """Types come first, and what is required last, since it needs the column to be declared."""
    if name in {
        "expect_column_values_to_be_of_type",
        "expect_column_values_to_be_in_type_list",
        "expect_column_type_to_be",
    }:
        return 0
    return 2 if name == "expect_column_values_to_not_be_null" else 1

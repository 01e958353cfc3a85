from __future__ import annotations

from types import SimpleNamespace

import pytest

from loopwright.core.errors import ContractError
from loopwright.data.quality.check_table import check_table
from loopwright.data.quality.imports.import_contract import import_contract
from loopwright.data.quality.imports.pandera_import import CHECKS, contract_from_pandera

SCHEMA = """
schema_type: dataframe
columns:
  a:
    dtype: int64
    nullable: true
    in_range: {min_value: 0, max_value: 5, include_min: true, include_max: false}
    isin: [1, 2, 9]
  b:
    dtype: str
    unique: true
    coerce: true
    str_length: {min_value: 1, max_value: 3, exact_value: null}
    str_startswith: x
    str_matches: x[a-z]
    unique_values_eq: {values: [xa]}
  t:
    dtype: datetime64[ns]
    required: false
    greater_than_or_equal_to: '2020-01-01'
  ^x_:
    dtype: float64
    regex: true
checks: null
index:
- {dtype: int64, name: i, unique: true}
strict: true
ordered: true
unique: [a, b]
"""


def test_a_written_schema_is_read_whole() -> None:
    made = import_contract(SCHEMA)
    contract = made.contract
    a, b, t = (contract.column(name) for name in "abt")
    assert a is not None
    assert (a.type, a.at_least, a.below, a.among, a.required, a.coerce) == ("int", 0, 5, (1, 2, 9), False, False)
    assert b is not None
    assert (b.type, b.length, b.starts_with, b.required, b.coerce) == ("string", (1, 3), "x", True, True)
    assert t is not None
    assert (t.type, t.at_least, t.required) == ("timestamp", "2020-01-01", False)
    assert contract.strict
    assert [check.label for check in contract.checks] == [
        "unique(b)", "distinct_values(b equal)", "unique(a, b)", "column_names(3 in order or more)",
    ]  # fmt: skip
    assert [left.rule for left in made.left] == ["column ^x_", "index i"]
    assert made.assumed == ("the column 't' may be absent, so its missing values pass",)


def test_its_checks_find_what_pandera_finds() -> None:
    contract = contract_from_pandera({"columns": {"v": {"dtype": "str", "str_matches": "ab"}}}).contract
    report = check_table({"v": ["ab", "abc", "xab", "a\nb"]}, contract)
    assert report.rows_failing("matches(v)") == [2, 3]  # as re.match: from the start, not to the end
    contract = contract_from_pandera({"columns": {"v": {"dtype": "str", "str_contains": "a|b"}}}).contract
    assert check_table({"v": ["xb", "y", "a\n"]}, contract).rows_failing("matches(v)") == [1]


def check(name: str, statistics: dict[str, object] | None = None, **options: object) -> SimpleNamespace:
    return SimpleNamespace(
        name=name, statistics=statistics, **{"raise_warning": False, "ignore_na": True, "groupby": None} | options
    )


def test_a_schema_object_is_read_by_its_attributes() -> None:
    columns = {
        "a": SimpleNamespace(
            dtype="float64", nullable=False, unique=False, coerce=True, required=True, regex=False, default=1.0,
            checks=[check("greater_than", {"min_value": 0}), check("<lambda>"),
                    check("less_than", {"max_value": 9}, raise_warning=True),
                    check("isin", {"allowed_values": {3}}, ignore_na=False)],
        )
    }  # fmt: skip
    schema = SimpleNamespace(
        columns=columns, strict="filter", coerce=False, ordered=False, unique=None, index=None, checks=[check("mine")]
    )
    made = import_contract(schema)
    a = made.contract.column("a")
    assert a is not None
    assert (a.above, a.below, a.required) == (0, None, True)
    assert [item.label for item in made.contract.checks] == ["expect(below a)"]
    assert [str(left).split(":")[0] for left in made.left] == [
        "default of a", "<lambda>(a)", "isin(a)", "check mine", "strict='filter'",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["columns: 3", "{", "{}", "a: [", "- 1\n- 2"])
def test_what_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        contract_from_pandera(text)


def test_every_check_of_pandera_has_a_counterpart() -> None:
    assert set(CHECKS) >= {
        "equal_to", "not_equal_to", "greater_than", "greater_than_or_equal_to", "less_than", "less_than_or_equal_to",
        "in_range", "isin", "notin", "str_matches", "str_contains", "str_startswith", "str_endswith", "str_length",
        "unique_values_eq",
    }  # fmt: skip

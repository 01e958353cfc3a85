from __future__ import annotations

import json

import pytest

from loopwright.core.errors import ContractError
from loopwright.data.contract.contract import Contract
from loopwright.data.quality.check_table import check_table
from loopwright.data.quality.imports.great_expectations_import import MAPPED, contract_from_great_expectations

TABLE = {"km": [0.0, 5.0, 300.0, None], "city": ["Oslo", "Bergen", "x", "Oslo"], "n": [1, 2, 2, 4], "m": [2, 2, 1, 5]}


def one(name: str, **kwargs: object) -> dict[str, object]:
    return {"type": name, "kwargs": kwargs}


def failing(*expectations: dict[str, object]) -> dict[str, list[int]]:
    made = contract_from_great_expectations({"expectations": list(expectations)})
    assert made.left == ()
    assert made.taken == len(expectations)
    report = check_table(TABLE, made.contract)
    return {each.check: report.rows_failing(each.check) for each in report.failed}


@pytest.mark.parametrize(
    ("expectation", "wanted"),
    [
        (one("expect_column_values_to_be_between", column="km", min_value=0, max_value=200), {"between(km)": [2]}),
        (
            one("expect_column_values_to_be_between", column="km", min_value=0, strict_min=True),
            {"above(km)": [0]},
        ),
        (one("expect_column_values_to_be_in_set", column="city", value_set=["Oslo", "Bergen"]), {"among(city)": [2]}),
        (one("expect_column_values_to_not_be_in_set", column="n", value_set=[2]), {"not_among(n)": [1, 2]}),
        (one("expect_column_values_to_not_be_null", column="km"), {"expect(km is there)": [3]}),
        (one("expect_column_values_to_not_be_null", column="km", mostly=0.7), {}),
        (one("expect_column_values_to_not_be_null", column="km", mostly=0.9), {"null_share(km)": []}),
        (one("expect_column_values_to_be_null", column="km"), {"expect(km is empty)": [0, 1, 2]}),
        (one("expect_column_values_to_match_regex", column="city", regex="s"), {"matches(city)": [1, 2]}),
        (one("expect_column_values_to_not_match_regex", column="city", regex="^O"), {"not_matches(city)": [0, 3]}),
        (
            one("expect_column_values_to_match_like_pattern", column="city", like_pattern="%e%"),
            {"expect(city like %e%)": [0, 2, 3]},
        ),
        (
            one("expect_column_values_to_match_regex_list", column="city", regex_list=["O", "x"], match_on="any"),
            {"expect(city like O x)": [1]},
        ),
        (one("expect_column_value_lengths_to_equal", column="city", value=4), {"length(city)": [1, 2]}),
        (one("expect_column_values_to_be_unique", column="n"), {"unique(n)": [2]}),
        (one("expect_compound_columns_to_be_unique", column_list=["city", "n"]), {}),
        (one("expect_column_values_to_be_increasing", column="n", strictly=True), {"increasing(n)": [2]}),
        (
            one("expect_column_pair_values_a_to_be_greater_than_b", column_A="m", column_B="n", or_equal=True),
            {"expect(m >= n)": [2]},
        ),
        (one("expect_column_pair_values_to_be_equal", column_A="m", column_B="n"), {"expect(m = n)": [0, 2, 3]}),
        (one("expect_multicolumn_sum_to_equal", column_list=["m", "n"], sum_total=3), {"expect(m + n = 3)": [1, 3]}),
        (
            one("expect_select_column_values_to_be_unique_within_record", column_list=["m", "n"]),
            {"expect(all_different(m, n))": [1]},
        ),
        (one("expect_column_mean_to_be_between", column="n", max_value=2), {"mean(n)": []}),
        (
            one(
                "expect_column_quantile_values_to_be_between",
                column="n",
                quantile_ranges={"quantiles": [0, 1], "value_ranges": [[1, 1], [None, 3]]},
            ),
            {"quantile(n, 1)": []},
        ),
        (
            one("expect_column_distinct_values_to_contain_set", column="city", value_set=["Voss"]),
            {"distinct_values(city contain)": []},
        ),
        (one("expect_column_most_common_value_to_be_in_set", column="city", value_set=["Oslo"]), {}),
        (one("expect_table_row_count_to_equal", value=5), {"row_count": []}),
        (one("expect_table_column_count_to_be_between", min_value=5), {"column_count": []}),
        (
            one("expect_table_columns_to_match_ordered_list", column_list=["km", "city", "m", "n"]),
            {"column_names(4 in order)": []},
        ),
        (one("expect_table_columns_to_match_set", column_set=["n", "m"], exact_match=False), {}),
    ],
)  # fmt: skip
def test_an_expectation_finds_the_same_here(expectation: dict[str, object], wanted: dict[str, list[int]]) -> None:
    assert failing(expectation) == wanted


def test_what_cannot_be_taken_over_is_listed_with_its_reason() -> None:
    made = contract_from_great_expectations(
        {
            "expectations": [
                one("expect_column_values_to_match_json_schema", column="a", json_schema={}),
                one("expect_my_own", column="a"),
                one("expect_column_values_to_be_in_set", column="a", value_set=["x"], row_condition='col("b") > 1'),
                one("expect_column_values_to_match_regex", column="a", regex="(?=x)"),
                one("expect_column_values_to_be_between", column="a"),
                one("expect_column_values_to_be_in_set", column="ok", value_set=["x"]),
            ]
        }
    )
    assert made.taken == 1
    assert [item.name for item in made.contract.columns] == ["ok"]
    reasons = [item.reason for item in made.left]
    for reason, part in zip(
        reasons, ["JSON schemas", "none of the core", "row_condition", "RE2", "no bounds"], strict=True
    ):
        assert part in reason
    assert made.to_source().count("# not taken over:") == 5


def test_rules_of_one_column_that_differ_in_consequence_stand_apart() -> None:
    suite = {
        "expectations": [
            one("expect_column_values_to_be_of_type", column="n", type_="int64"),
            one("expect_column_values_to_be_between", column="n", min_value=2, mostly=0.5),
            one("expect_column_values_to_not_be_null", column="n"),
            one("expect_column_values_to_not_be_in_set", column="n", value_set=[4]) | {"severity": "warning"},
        ]
    }
    made = contract_from_great_expectations(json.dumps(suite))
    assert (made.left, made.taken) == ((), 4)
    report = check_table(TABLE, made.contract)
    assert {each.check: report.rows_failing(each.check) for each in report.failed} == {"expect(not_among n)": [3]}
    assert report.has_passed
    assert report.result("at_least(n)").rows_failed == 1


def test_the_form_of_older_versions_is_read() -> None:
    old = {"expectations": [{"expectation_type": "expect_column_values_to_be_unique", "kwargs": {"column": "n"}}]}
    assert contract_from_great_expectations(old).contract == Contract.of(
        [
            *contract_from_great_expectations(
                {"expectations": [one("expect_column_values_to_be_unique", column="n")]}
            ).contract.checks
        ]
    )
    with pytest.raises(ContractError, match="no suite"):
        contract_from_great_expectations("{}")


def test_every_expectation_has_a_counterpart_of_its_own_name() -> None:
    assert len(MAPPED) >= 50
    assert all(name.startswith("expect_") for name in MAPPED)

"""The expectations of Great Expectations that judge a table as a whole, as checks of an ingest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopwright.data.contract.check import row_count
from loopwright.data.contract.header import column_count, column_names
from loopwright.data.contract.statistic import distinct_values, most_common, statistic
from loopwright.data.quality.imports.expectation import bounds_of, whole_failure

if TYPE_CHECKING:
    from loopwright.data.quality.imports.expectation import Taking
    from loopwright.data.quality.imports.imported import Gathering


def _statistic(name: Any) -> Taking:  # noqa: ANN401 - a statistic's name
    def take(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
        gathering.add(statistic(kwargs["column"], name, **bounds_of(kwargs), on_failure=whole_failure(severity)))

    return take


def _quantiles(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    ranges = kwargs["quantile_ranges"]
    for q, (low, high) in zip(ranges["quantiles"], ranges["value_ranges"], strict=True):
        made = statistic(
            kwargs["column"], "quantile", q=q, at_least=low, at_most=high, on_failure=whole_failure(severity)
        )
        gathering.add(made)


def _filled_share(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    turned = {"at_least": "at_most", "at_most": "at_least", "above": "below", "below": "above"}
    bounds = {turned[key]: round(1 - value, 12) for key, value in bounds_of(kwargs).items()}
    gathering.add(statistic(kwargs["column"], "null_share", **bounds, on_failure=whole_failure(severity)))


def _distinct(option: str) -> Taking:
    def take(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
        sets: dict[str, Any] = {option: kwargs["value_set"]}
        gathering.add(distinct_values(kwargs["column"], **sets, on_failure=whole_failure(severity)))

    return take


def _most_common(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    if not kwargs.get("ties_okay"):
        gathering.assumed.append(f"of equally common values of '{kwargs['column']}' one in the set suffices")
    gathering.add(most_common(kwargs["column"], among=kwargs["value_set"], on_failure=whole_failure(severity)))


def _rows(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    low = kwargs.get("value", kwargs.get("min_value"))
    high = kwargs.get("value", kwargs.get("max_value"))
    low = low + 1 if low is not None and kwargs.get("strict_min") else low
    high = high - 1 if high is not None and kwargs.get("strict_max") else high
    gathering.add(row_count(at_least=low, at_most=high, on_failure=whole_failure(severity)))


def _same_rows(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    gathering.add(row_count(same_as=kwargs["other_table_name"], on_failure=whole_failure(severity)))


def _columns(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    low = kwargs.get("value", kwargs.get("min_value"))
    high = kwargs.get("value", kwargs.get("max_value"))
    gathering.add(column_count(at_least=low, at_most=high, on_failure=whole_failure(severity)))


def _ordered(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    gathering.add(column_names(*kwargs["column_list"], ordered=True, on_failure=whole_failure(severity)))


def _set_of_columns(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    others = kwargs.get("exact_match") is False
    gathering.add(column_names(*sorted(kwargs["column_set"]), others=others, on_failure=whole_failure(severity)))


OF_TABLES: dict[str, Taking] = {
    "expect_column_mean_to_be_between": _statistic("mean"),
    "expect_column_median_to_be_between": _statistic("median"),
    "expect_column_stdev_to_be_between": _statistic("stdev"),
    "expect_column_min_to_be_between": _statistic("min"),
    "expect_column_max_to_be_between": _statistic("max"),
    "expect_column_sum_to_be_between": _statistic("sum"),
    "expect_column_unique_value_count_to_be_between": _statistic("distinct_count"),
    "expect_column_proportion_of_unique_values_to_be_between": _statistic("distinct_share"),
    "expect_column_proportion_of_non_null_values_to_be_between": _filled_share,
    "expect_column_quantile_values_to_be_between": _quantiles,
    "expect_column_distinct_values_to_be_in_set": _distinct("among"),
    "expect_column_distinct_values_to_contain_set": _distinct("contain"),
    "expect_column_distinct_values_to_equal_set": _distinct("equal"),
    "expect_column_most_common_value_to_be_in_set": _most_common,
    "expect_table_row_count_to_be_between": _rows,
    "expect_table_row_count_to_equal": _rows,
    "expect_table_row_count_to_equal_other_table": _same_rows,
    "expect_table_column_count_to_be_between": _columns,
    "expect_table_column_count_to_equal": _columns,
    "expect_table_columns_to_match_ordered_list": _ordered,
    "expect_table_columns_to_match_set": _set_of_columns,
}

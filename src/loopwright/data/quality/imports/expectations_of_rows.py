"""The expectations of Great Expectations that name rows, as columns' options and checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopwright.data.contract.check import unique
from loopwright.data.contract.expression import all_different, all_equal, among_together, expect, sums_to
from loopwright.data.contract.header import column_names
from loopwright.data.contract.series import decreasing, increasing, outliers
from loopwright.data.contract.statistic import statistic
from loopwright.data.quality.imports.expectation import bounds_of, row_options, whole_failure
from loopwright.data.quality.imports.imported import CannotTakeError, quoted, whole_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.data.quality.imports.expectation import Taking
    from loopwright.data.quality.imports.imported import Gathering

_TYPES = {
    "int": "int", "int8": "int", "int16": "int", "int32": "int", "int64": "int", "integer": "int", "bigint": "int",
    "smallint": "int", "longtype": "int", "integertype": "int", "uint8": "int", "uint16": "int", "uint32": "int",
    "float": "float", "float32": "float", "float64": "float", "double": "float", "doubletype": "float",
    "floattype": "float", "double_precision": "float", "real": "float", "number": "float",
    "str": "string", "string": "string", "object": "string", "varchar": "string", "text": "string",
    "stringtype": "string", "category": "category",
    "bool": "bool", "boolean": "bool", "booleantype": "bool",
    "datetime64": "timestamp", "datetime64[ns]": "timestamp", "datetime64[us]": "timestamp", "timestamp": "timestamp",
    "datetime": "timestamp", "timestamptype": "timestamp", "date": "date", "datetype": "date",
}  # fmt: skip


def _between(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    gathering.set(kwargs["column"], **bounds_of(kwargs), **row_options(kwargs, severity))


def _values(option: str) -> Taking:
    def take(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
        values = [one for one in kwargs["value_set"] if one is not None]
        options: dict[str, Any] = {option: values} | row_options(kwargs, severity)
        gathering.set(kwargs["column"], **options)

    return take


def _not_null(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    name, row = kwargs["column"], row_options(kwargs, severity)
    is_declared = name in gathering.options or name in gathering.types
    if is_declared and gathering.goes_with(name, row["on_failure"], row.get("mostly")):
        gathering.set(name, required=True, **row)
    elif "mostly" in row:
        share = round(1 - row["mostly"], 12)
        gathering.add(statistic(name, "null_share", at_most=share, on_failure=whole_failure(severity)))
    else:
        gathering.add(expect(f"{quoted(name)} IS NOT NULL", name=f"{name} is there", **row))


def _null(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    name = kwargs["column"]
    gathering.add(expect(f"{quoted(name)} IS NULL", name=f"{name} is empty", **row_options(kwargs, severity)))


def _type(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    given = kwargs.get("type_list") or [kwargs["type_"]]
    known = {_TYPES[str(one).lower()] for one in given if str(one).lower() in _TYPES}
    if "mostly" in row_options(kwargs, severity):
        raise CannotTakeError("a type cannot hold for most rows only")
    if len(known) != 1:
        raise CannotTakeError(f"{', '.join(map(str, given))} is no one type here")
    gathering.set(kwargs["column"], known.pop(), on_failure=row_options(kwargs, severity)["on_failure"])


def _exists(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    if kwargs.get("column_index") is not None:
        raise CannotTakeError("it asks for a place among the columns; use column_names(ordered=True)")
    gathering.add(column_names(kwargs["column"], others=True, on_failure=whole_failure(severity)))


def _pattern(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    gathering.set(kwargs["column"], matches=whole_pattern(kwargs["regex"]), **row_options(kwargs, severity))


def _no_pattern(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    gathering.set(kwargs["column"], not_matches=whole_pattern(kwargs["regex"]), **row_options(kwargs, severity))


def _patterns(key: str, *, is_like: bool, is_not: bool) -> Taking:
    def take(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
        given = kwargs[key] if isinstance(kwargs[key], list) else [kwargs[key]]
        column = quoted(kwargs["column"])
        parts = []
        for one in given:
            text = "'" + (one if is_like else whole_pattern(one)).replace("'", "''") + "'"
            escape = f" ESCAPE '{kwargs['escape']}'" if is_like and kwargs.get("escape") else ""
            parts.append(f"{column} LIKE {text}{escape}" if is_like else f"regexp_full_match({column}, {text})")
        word = " AND " if kwargs.get("match_on") == "all" else " OR "
        joined = word.join(parts)
        name = f"{kwargs['column']} {'not ' if is_not else ''}like {' '.join(given)}"
        gathering.add(expect(f"NOT ({joined})" if is_not else joined, name=name, **row_options(kwargs, severity)))

    return take


def _length(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    if "value" in kwargs:
        low = high = kwargs["value"]
    else:
        low, high = kwargs.get("min_value"), kwargs.get("max_value")
        low = low + 1 if low is not None and kwargs.get("strict_min") else low
        high = high - 1 if high is not None and kwargs.get("strict_max") else high
    pair = (None if low is None else int(low), None if high is None else int(high))
    gathering.set(kwargs["column"], length=pair, **row_options(kwargs, severity))


def _text(option: str, key: str | None) -> Taking:
    def take(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
        value = True if key is None else kwargs[key]
        options: dict[str, Any] = {option: value} | row_options(kwargs, severity)
        gathering.set(kwargs["column"], **options)

    return take


def _series(function: Any) -> Taking:  # noqa: ANN401 - two functions
    def take(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
        strictly = bool(kwargs.get("strictly"))
        gathering.add(function(kwargs["column"], strictly=strictly, **row_options(kwargs, severity)))

    return take


def _unique(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    row = row_options(kwargs, severity)
    if "mostly" in row:
        raise CannotTakeError("uniqueness for most rows is statistic(..., 'distinct_share')")
    if "column" in kwargs:
        gathering.add(unique(kwargs["column"], **row))
    else:
        gathering.add(unique(*kwargs["column_list"], **row))


def _pair(sign: str) -> Taking:
    def take(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
        a, b = kwargs["column_A"], kwargs["column_B"]
        word = ">=" if sign == ">" and kwargs.get("or_equal") else sign
        compared = f"{quoted(a)} {word} {quoted(b)}"
        condition = _ignoring(kwargs, [a, b], compared)
        gathering.add(expect(condition, name=f"{a} {word} {b}", **row_options(kwargs, severity)))

    return take


def _ignoring(kwargs: Mapping[str, Any], names: list[str], condition: str) -> str:
    """Return a condition that leaves out the rows which ``ignore_row_if`` names, and fails where it is unknown."""
    ignored = kwargs.get("ignore_row_if") or "both_values_are_missing"
    missing = [f"{quoted(name)} IS NULL" for name in names]
    if ignored in {"both_values_are_missing", "all_values_are_missing"}:
        return f"({' AND '.join(missing)}) OR coalesce({condition}, false)"
    if ignored in {"either_value_is_missing", "any_value_is_missing"}:
        return condition
    return f"coalesce({condition}, false)"


def _pairs(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    names = [kwargs["column_A"], kwargs["column_B"]]
    made = among_together(names, kwargs["value_pairs_set"])
    gathering.add(expect(made.expression, name=made.name, **row_options(kwargs, severity)))


def _sum(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    gathering.add(sums_to(kwargs["column_list"], kwargs["sum_total"], **row_options(kwargs, severity)))


def _within_record(function: Any) -> Taking:  # noqa: ANN401 - two functions
    def take(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
        gathering.add(function(*kwargs["column_list"], **row_options(kwargs, severity)))

    return take


def _zscore(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    if not kwargs.get("double_sided", True):
        raise CannotTakeError("outliers() looks at both sides")
    gathering.add(outliers(kwargs["column"], deviations=kwargs["threshold"], **row_options(kwargs, severity)))


def _outliers(gathering: Gathering, kwargs: dict[str, Any], severity: str) -> None:
    method = {"iqr": "iqr", "std": "zscore", "zscore": "zscore"}.get(str(kwargs.get("method", "iqr")).lower())
    if method is None:
        raise CannotTakeError(f"the method {kwargs.get('method')!r} is not known here")
    deviations = kwargs.get("multiplier") or 1.5
    gathering.add(outliers(kwargs["column"], deviations=deviations, method=method, **row_options(kwargs, severity)))


OF_ROWS: dict[str, Taking] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _values("among"),
    "expect_column_values_to_not_be_in_set": _values("not_among"),
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_null": _null,
    "expect_column_values_to_be_of_type": _type,
    "expect_column_values_to_be_in_type_list": _type,
    "expect_column_type_to_be": _type,
    "expect_column_to_exist": _exists,
    "expect_column_values_to_match_regex": _pattern,
    "expect_column_values_to_not_match_regex": _no_pattern,
    "expect_column_values_to_match_regex_list": _patterns("regex_list", is_like=False, is_not=False),
    "expect_column_values_to_not_match_regex_list": _patterns("regex_list", is_like=False, is_not=True),
    "expect_column_values_to_match_like_pattern": _patterns("like_pattern", is_like=True, is_not=False),
    "expect_column_values_to_not_match_like_pattern": _patterns("like_pattern", is_like=True, is_not=True),
    "expect_column_values_to_match_like_pattern_list": _patterns("like_pattern_list", is_like=True, is_not=False),
    "expect_column_values_to_not_match_like_pattern_list": _patterns("like_pattern_list", is_like=True, is_not=True),
    "expect_column_value_lengths_to_be_between": _length,
    "expect_column_value_lengths_to_equal": _length,
    "expect_column_values_to_match_strftime_format": _text("format", "strftime_format"),
    "expect_column_values_to_be_json_parseable": _text("json", None),
    "expect_column_values_to_be_increasing": _series(increasing),
    "expect_column_values_to_be_decreasing": _series(decreasing),
    "expect_column_values_to_be_unique": _unique,
    "expect_compound_columns_to_be_unique": _unique,
    "expect_column_value_z_scores_to_be_less_than": _zscore,
    "expect_column_values_to_not_be_outliers": _outliers,
    "expect_column_pair_values_a_to_be_greater_than_b": _pair(">"),
    "expect_column_pair_values_to_be_equal": _pair("="),
    "expect_column_pair_values_to_be_in_set": _pairs,
    "expect_multicolumn_sum_to_equal": _sum,
    "expect_multicolumn_values_to_be_equal": _within_record(all_equal),
    "expect_multicolumn_values_to_be_unique": _within_record(all_different),
    "expect_select_column_values_to_be_unique_within_record": _within_record(all_different),
}

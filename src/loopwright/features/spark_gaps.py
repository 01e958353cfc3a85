"""What a view may not do on Spark, because it would not, or may not, give the values that DuckDB gives.

A view is let through only if every operation in it is on the list below. Each of them is compared with DuckDB value by
value by the engines' conformance suite, with missing values, NaN, infinities, zeros, odd texts and old dates among the
values. Everything else ends as one error that names the operation, the engine and, where it is known, the reason,
before anything is computed.

Two things cannot be told apart beforehand and are the same on neither engine from run to run: which of several rows
comes first that tie in a window's order, and which row ``argmax`` takes of several with the same largest key. The
latter leaves a warning with the training set.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import ibis.expr.operations as ops

from loopwright.core.errors import FeatureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import ibis

_RELATIONS = (
    "Aggregate DatabaseTable Distinct DropColumns DropNull FillNull Filter JoinChain JoinLink JoinReference "
    "Project SelfReference Sort UnboundTable Union"
)
_VALUES = (
    # plain
    "Alias Cast Coalesce Field IfElse IsNull Literal NotNull NullIf SearchedCase SimpleCase SortKey "
    # comparison and logic
    "And Between Equals Greater GreaterEqual Greatest IdenticalTo InValues Least Less LessEqual Not NotEquals Or Xor "
    # numbers
    "Abs Acos Add Asin Atan Atan2 Ceil Clip Cos Degrees Divide E Exp Floor FloorDivide IsInf IsNan Ln Log Log10 Log2 "
    "Modulus Multiply Negate Pi Power Radians Round Sign Sin Sqrt Subtract Tan "
    # time
    "Date DateAdd DateDelta DateFromYMD DateSub DateTruncate DayOfWeekIndex DayOfWeekName ExtractDay ExtractDayOfYear "
    "ExtractEpochSeconds ExtractHour ExtractMillisecond ExtractMinute ExtractMonth ExtractQuarter ExtractSecond "
    "ExtractWeekOfYear ExtractYear IntervalFromInteger Strftime TimestampAdd TimestampDelta TimestampSub "
    "TimestampTruncate "
    # text
    "EndsWith LPad LStrip Lowercase RPad RStrip Repeat StartsWith StrRight StringConcat StringContains StringFind "
    "StringLength StringReplace StringSQLILike StringSQLLike Strip Substring Uppercase "
    # groups and windows
    "All Any ArgMax ArgMin Count CountDistinct CountStar Covariance CumeDist DenseRank FirstValue Lag LastValue Lead "
    "Max Mean Median Min MinRank NTile NthValue PercentRank Quantile RowNumber StandardDev Sum Variance "
    "WindowBoundary WindowFunction First Last"
)
ALLOWED = frozenset(f"{_RELATIONS} {_VALUES}".split())

_ANY_ROW = "which row it takes is not defined; use argmax or argmin over a time"
_REGEX = "the two engines read regular expressions by different rules"
GAPS: dict[str, str] = {
    "ApproxCountDistinct": "the engines estimate by different methods; use nunique()",
    "ApproxMedian": "the engines estimate by different methods; use median()",
    "ApproxQuantile": "the engines estimate by different methods; use quantile()",
    "Arbitrary": _ANY_ROW,
    "Capitalize": "the engines do not agree on the capitals of some letters",
    "Correlation": "DuckDB and Spark each know another kind of it",
    "First": _ANY_ROW,
    "GroupConcat": "the order of the parts is not defined",
    "Hash": "each engine has a hash function of its own",
    "Kurtosis": "Ibis has no words for it in Spark",
    "Last": _ANY_ROW,
    "Levenshtein": "DuckDB counts bytes and Spark counts letters",
    "Limit": "which rows it leaves is not defined; rank them with ibis.row_number() and filter",
    "Mode": "of several values that are equally frequent each engine takes another",
    "RegexExtract": _REGEX,
    "RegexReplace": _REGEX,
    "RegexSearch": _REGEX,
    "RegexSplit": _REGEX,
    "Reverse": "DuckDB turns written signs around and Spark turns code points around",
    "SQLStringView": "it holds words of one engine",
    "SQLQueryResult": "it holds words of one engine",
    "Sample": "it takes other rows at each run",
    "TryCast": "the engines do not agree on which texts are numbers or times",
}
_DECIMAL = "the engines keep different numbers of decimal places; cast to float64 first"
_SINGLE = "DuckDB computes 32-bit floats in 32 bits and Spark in 64; cast to float64 first"
_TEXT_TO_TIME = "the engines read different texts as times; declare the column as a timestamp in the contract"
_TEXT_OF = "the engines write it in different ways"
_STRFTIME = re.compile(r"(%[YmdHMS]|[-/: .])*")
_DELTAS = frozenset(("year", "quarter", "month", "week", "day", "hour", "minute", "second"))
_PLAIN = (
    ops.Field,
    ops.Cast,
    ops.Alias,
    ops.Literal,
    ops.IsNull,
    ops.NotNull,
    ops.Count,
    ops.SortKey,
    ops.Lag,
    ops.Lead,
)


def check_operations(view: str, expression: ibis.Table) -> tuple[str, ...]:
    """Refuse a view's expression if an operation in it may give other values on Spark than on DuckDB.

    Returns:
        What a reader of the training set should know.

    Raises:
        FeatureError: It names the operation, the engine and the reason.
    """
    warnings: list[str] = []
    windowed = {node.func for node in expression.op().find(ops.WindowFunction)}
    for node in expression.op().find((ops.Value, ops.Relation, ops.JoinLink)):
        for reason in _reasons(node, is_windowed=node in windowed):
            raise FeatureError(
                f"The feature view '{view}' uses {type(node).__name__}, which has no equal on the engine 'spark': "
                f"{reason}.",
                hint='Write the view without it, or compute it on DuckDB: [engine] url = "duckdb://".',
            )
        if isinstance(node, ops.ArgMax | ops.ArgMin):
            warnings.append(
                f"View '{view}': of several rows with one key, {type(node).__name__} may take another on Spark than on "
                "DuckDB."
            )
    return tuple(dict.fromkeys(warnings))


def _reasons(node: ops.Node, *, is_windowed: bool) -> Iterator[str]:
    name = type(node).__name__
    if name in ("First", "Last"):
        if not is_windowed or node.include_null or node.where is not None or node.order_by:
            yield GAPS[name]
        return
    if name not in ALLOWED:
        yield GAPS.get(name, "it has not been shown to give the same values as on DuckDB")
        return
    yield from _reasons_of_types(node)
    match node:
        case ops.Cast():
            yield from _reasons_of_cast(node)
        case ops.Union() if node.distinct:
            return
        case ops.Round() if node.digits is not None and not isinstance(node.digits, ops.Literal):
            yield "its number of digits must be written out"
        case ops.Round() if node.arg.dtype.is_integer() and node.digits is not None and node.digits.value < 0:
            yield "of whole numbers it is not the same; cast to float64 first"
        case ops.StringSQLLike() | ops.StringSQLILike():
            if not isinstance(node.pattern, ops.Literal) or "\\" in node.pattern.value or node.escape is not None:
                yield "its pattern must be written out, without a backslash"
        case ops.Strftime():
            if not (isinstance(node.format_str, ops.Literal) and _STRFTIME.fullmatch(node.format_str.value)):
                yield "only %Y, %m, %d, %H, %M and %S mean the same in both"
        case ops.TimestampDelta() | ops.DateDelta():
            if not isinstance(node.part, ops.Literal) or node.part.value not in _DELTAS:
                yield f"its unit must be one of {', '.join(sorted(_DELTAS))}"
        case ops.StringFind() if node.start is not None or node.end is not None:
            yield "with a start or an end it counts otherwise"
        case ops.Lag() | ops.Lead() if node.offset is not None and not node.offset.dtype.is_integer():
            yield "its distance must be a number of rows"
        case ops.Quantile() | ops.Median() if not node.arg.dtype.is_numeric():
            yield "of anything but numbers Spark has none"
        case ops.JoinLink() if node.how == "asof":
            yield "Spark has no such join"


def _reasons_of_types(node: ops.Node) -> Iterator[str]:
    if isinstance(node, _PLAIN) or not isinstance(node, ops.Value):
        return
    for part in node.__children__:
        kind = getattr(part, "dtype", None)
        if kind is None:
            continue
        if kind.is_decimal():
            yield _DECIMAL
        elif kind.is_float32() or kind.is_float16():
            yield _SINGLE
        elif kind.is_nested() or kind.is_time() or kind.is_json() or kind.is_binary():
            yield f"it takes {kind}, which has not been shown to be the same"


def _reasons_of_cast(node: ops.Cast) -> Iterator[str]:
    source, target = node.arg.dtype, node.to
    number = source.is_numeric() or source.is_boolean()
    moment = source.is_timestamp() or source.is_date()
    if source == target or source.is_null() or (target.is_interval() and isinstance(node.arg, ops.Literal)):
        return
    if target.is_string():
        if source.is_floating() or source.is_decimal() or source.is_timestamp() or not (number or source.is_date()):
            yield f"of {source} to text: {_TEXT_OF}"
    elif target.is_timestamp() or target.is_date():
        if source.is_string():
            yield _TEXT_TO_TIME
        elif not moment:
            yield f"of {source} to {target}: the engines count from different units"
    elif target.is_boolean():
        if not source.is_integer():
            yield f"of {source} to a truth value: write a comparison"
    elif target.is_integer() or target.is_float64():
        if not (number or (source.is_string() and target.is_float64())):
            yield f"of {source} to {target}: use epoch_seconds() of times, and float64 for texts"
        elif target.is_integer() and (source.is_decimal() or target.is_unsigned_integer()):
            yield f"of {source} to {target}: {_DECIMAL}"
    else:
        yield f"of {source} to {target}: it has not been shown to be the same"

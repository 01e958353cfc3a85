"""The SQL of a view for each engine, from one Ibis expression, with one meaning.

Ibis writes each backend's own words, and these do not always mean the same: a division by zero is infinite in DuckDB,
an error in Spark, and nothing at all in a Spark of other settings. What DuckDB says is the meaning here, and the Spark
text is written so that it says the same. What cannot be written so is refused by
:mod:`loopwright.features.spark_gaps` before it comes here. Where they differ in their own words, and what is written:

========================================  =============================  ==========================================
operation                                 Spark by itself                written for Spark
========================================  =============================  ==========================================
``x / 0``, ``x % 0`` of floats            an error                       infinity or NaN
``i % 0``, ``i // 0`` of whole numbers    an error                       an error: the same
overflow of 64-bit integers               an error                       an error: the same
a fraction in the code (``0.5``)          a decimal, as in DuckDB        a 64-bit float in both
``isnull`` of NaN                         true (Ibis's doing)            false
float to integer                          cut off                        to the nearest, ties to even
``ceil``, ``floor`` of NaN or infinity    zero, or the largest integer   an error
``round(x, digits)``                      by decimal digits              by multiplication, as DuckDB does
logarithms of zero and less               missing                        -infinity and NaN
``isnan`` of a missing value              false                          missing
``sign`` of NaN                           NaN                            zero
seconds, epoch seconds                    with and without parts         without and with parts
``delta``                                 whole units that have passed   borders of the unit between; weeks of 7 days
``strip`` and its kin                     blanks only                    all white space
``upper``, ``lower``                      SS for ß, and the like         an error for letters they do not agree on
``nunique`` over a window                 unknown                        the number of the values collected
``nth`` over a window                     forgets the frame              keeps it
day of week, month arithmetic, weeks      the same (weeks start on       the same
                                          Monday, both in UTC)
NaN                                       larger than all, equals        the same
                                          itself: the same
``std``/``var`` of one row                missing: the same              the same
``median``, ``quantile``                  between the two nearest by     the same
                                          distance: the same
========================================  =============================  ==========================================
"""

from __future__ import annotations

import math
import string
from typing import TYPE_CHECKING, Any, ClassVar

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import sqlglot as sg
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.base import SQLGlotCompiler
from ibis.backends.sql.compilers.duckdb import DuckDBCompiler
from ibis.backends.sql.compilers.pyspark import PySparkCompiler

if TYPE_CHECKING:
    from collections.abc import Callable

_MOMENT = dt.Timestamp("UTC", 6)
_MONTHS = {"year": 12, "quarter": 3, "month": 1}
_MICROS = {
    "week": 604_800_000_000,
    "day": 86_400_000_000,
    "hour": 3_600_000_000,
    "minute": 60_000_000,
    "second": 1_000_000,
    "millisecond": 1_000,
    "microsecond": 1,
}
# Letters of which one has several others, or of which the engines' tables differ in age.
_OTHER = (
    "\u0250-\u02af\u0345\u0530-\u058f\u10a0-\u10ff\u13a0-\u13ff\u1c80-\u1fff\u2c00-\u2dff\ua640-\uabff\ufb00-\ufb1f"
)
_FAR = "\U00010000-\U0001efff"
_NO_CAPITALS = f"[\u00df\u0149\u019b\u01f0\u0390\u03b0{_OTHER}{_FAR}]"
_NO_SMALL = f"[\u0130\u03a3{_OTHER}{_FAR}]"
_LARGEST = 9.2e18  # floats below it fit 64-bit integers


def duckdb_sql(expression: ibis.Table) -> str:
    """Return a view's SELECT for DuckDB."""
    return str(_DuckSql().to_sqlglot(expression.unbind()).sql(dialect="duckdb"))


def spark_sql(expression: ibis.Table) -> str:
    """Return a view's SELECT for Spark in ANSI mode, its time zone UTC."""
    return str(_SparkSql().to_sqlglot(expression.unbind()).sql(dialect=_SparkSql.dialect))


class _DuckSql(DuckDBCompiler):  # type: ignore[misc]
    """DuckDB's words, with floats for floats: ``0.5`` alone is a decimal there, and decimals round otherwise."""

    __slots__ = ()

    def visit_NonNullLiteral(self, op: Any, *, value: Any, dtype: Any) -> Any:  # noqa: ANN401, N802
        if dtype.is_floating() and math.isfinite(value):
            return self.cast(sge.convert(value), dt.float64)
        return super().visit_NonNullLiteral(op, value=value, dtype=dtype)


class _SparkSql(PySparkCompiler):  # type: ignore[misc]
    """Spark's words with DuckDB's meaning."""

    __slots__ = ()
    SIMPLE_OPS: ClassVar[dict[Any, str]] = {}  # those of the parents would be written over the methods below

    def visit_NonNullLiteral(self, op: Any, *, value: Any, dtype: Any) -> Any:  # noqa: ANN401, N802
        if dtype.is_floating():
            return self.cast(sge.convert(repr(float(value))), dt.float64)
        if dtype.is_timestamp():
            return self.cast(sge.convert(value.isoformat(sep=" ")), dtype)
        if dtype.is_date():
            return self.cast(sge.convert(value.isoformat()), dtype)
        return super().visit_NonNullLiteral(op, value=value, dtype=dtype)

    def visit_Field(self, op: Any, *, rel: Any, name: str) -> Any:  # noqa: ANN401, N802
        return super(PySparkCompiler, self).visit_Field(op, rel=rel, name=name)  # its own asks a running Spark

    # Numbers

    def visit_Divide(self, op: Any, *, left: Any, right: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self._quotient(left, right)

    def visit_FloorDivide(self, op: Any, *, left: Any, right: Any) -> Any:  # noqa: ANN401, N802
        return self._whole(self.f.floor, self._quotient(left, right), op.dtype)

    def visit_Modulus(self, op: Any, *, left: Any, right: Any) -> Any:  # noqa: ANN401, N802
        rest = sge.Mod(this=sge.paren(left), expression=sge.paren(right))
        if op.left.dtype.is_integer() and op.right.dtype.is_integer():
            return rest
        return self.if_(sge.paren(right).eq(0), sge.paren(left) * self._double(math.nan), rest)

    def visit_Ceil(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802
        return arg if op.arg.dtype.is_integer() else self._whole(self.f.ceil, arg, op.dtype)

    def visit_Floor(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802
        return arg if op.arg.dtype.is_integer() else self._whole(self.f.floor, arg, op.dtype)

    def visit_Round(self, op: Any, *, arg: Any, digits: Any) -> Any:  # noqa: ANN401, N802, ARG002
        if op.arg.dtype.is_integer():
            return arg
        places = 0 if op.digits is None else op.digits.value
        if places == 0:
            rounded = self.f.round(arg)
            if op.dtype.is_integer():
                return self._whole(self.f.round, arg, op.dtype)
            return rounded
        scale = self._double(10.0 ** abs(places))
        if places > 0:
            scaled = self.f.round(sge.paren(arg) * scale) / scale
        else:
            scaled = self.f.round(sge.paren(arg) / scale) * scale
        return self.if_(self._no_number(arg), arg, scaled)

    def visit_Cast(self, op: Any, *, arg: Any, to: Any) -> Any:  # noqa: ANN401, N802
        if to.is_integer() and op.arg.dtype.is_floating():
            return self.cast(self.f.rint(arg), to)
        return super().visit_Cast(op, arg=arg, to=to)

    def visit_Sign(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802
        sign = self.f.sign(arg)
        return self.if_(self.f.isnan(arg), self._double(0.0), sign) if op.arg.dtype.is_floating() else sign

    def visit_Log(self, op: Any, *, arg: Any, base: Any) -> Any:  # noqa: ANN401, N802, ARG002
        natural = self._logarithm("ln", arg)
        return natural if base is None else self._quotient(natural, self._logarithm("ln", base))

    def visit_Ln(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self._logarithm("ln", arg)

    def visit_Log2(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self._logarithm("log2", arg)

    def visit_Log10(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self._logarithm("log10", arg)

    # Missing values

    def visit_IsNull(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return arg.is_(sge.Null())

    def visit_NotNull(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return sg.not_(arg.is_(sge.Null()))

    def visit_IsNan(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self.if_(arg.is_(sge.Null()), sge.Null(), self.f.isnan(arg))

    def visit_IsInf(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self._infinite(arg)

    def visit_FirstValue(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self.f.first_value(arg)

    def visit_LastValue(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self.f.last_value(arg)

    # Groups and windows

    def visit_CountStar(self, op: Any, *, arg: Any, where: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self.f.count(sge.convert(1) if where is None else self.if_(where, sge.convert(1), sge.Null()))

    def visit_WindowFunction(self, op: Any, *, func: Any, group_by: Any, order_by: Any, **frame: Any) -> Any:  # noqa: ANN401, N802
        if isinstance(op.func, ops.CountDistinct):  # Spark counts no distinct values over a window, but collects them
            return self.f.size(
                SQLGlotCompiler.visit_WindowFunction(
                    self, op, func=self._collected(op.func, func), group_by=group_by, order_by=order_by, **frame
                )
            )
        if isinstance(op.func, ops.NthValue):  # Ibis leaves its frame out
            return SQLGlotCompiler.visit_WindowFunction(
                self, op, func=func, group_by=group_by, order_by=order_by, **frame
            )
        return super().visit_WindowFunction(op, func=func, group_by=group_by, order_by=order_by, **frame)

    # Text

    def visit_Strip(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self.f.anon.btrim(arg, sge.convert(string.whitespace))

    def visit_LStrip(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self._trimmed(arg, "ltrim")

    def visit_RStrip(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self._trimmed(arg, "rtrim")

    def visit_Uppercase(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self._within("capitals", self.f.upper(arg), self._has(arg, _NO_CAPITALS))

    def visit_Lowercase(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self._within("small letters", self.f.lower(arg), self._has(arg, _NO_SMALL))

    # Time

    def visit_ExtractSecond(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self.f.anon.second(arg)

    def visit_ExtractEpochSeconds(self, op: Any, *, arg: Any) -> Any:  # noqa: ANN401, N802, ARG002
        return self.cast(self.f.anon.unix_micros(self.cast(arg, _MOMENT)), dt.float64) / self._double(1e6)

    def visit_TimestampDelta(self, op: Any, *, part: Any, left: Any, right: Any) -> Any:  # noqa: ANN401, N802, ARG002
        """Count the borders of the unit that lie between, as DuckDB does; weeks are seven days, whole ones only."""
        unit = op.part.value
        if unit in _MONTHS:
            return self._months(left, unit) - self._months(right, unit)
        length, unit = _MICROS[unit], "day" if unit == "week" else unit
        first, last = (
            self.f.anon.unix_micros(self.f.anon.date_trunc(unit, self.cast(one, _MOMENT))) for one in (right, left)
        )
        return self.cast(sge.IntDiv(this=sge.paren(last - first), expression=sge.convert(length)), dt.int64)

    visit_DateDelta = visit_TimestampDelta  # noqa: N815

    # Pieces

    def _collected(self, op: Any, count: Any) -> Any:  # noqa: ANN401
        value = count.this.expressions[0]
        return self.f.anon.collect_set(value + self._double(0.0) if op.arg.dtype.is_floating() else value)

    def _months(self, arg: Any, unit: str) -> Any:  # noqa: ANN401
        months = self.f.anon.year(arg) * 12 + self.f.anon.month(arg) - 1
        return sge.paren(sge.IntDiv(this=sge.paren(months), expression=sge.convert(_MONTHS[unit])))

    def _quotient(self, left: Any, right: Any) -> Any:  # noqa: ANN401
        left, right = (self.cast(sge.paren(one), dt.float64) for one in (left, right))
        reciprocal = self.f.anon.power(right, self._double(-1.0))  # of a zero: infinity, with the zero's sign
        return self.if_(right.eq(0), left * reciprocal, left / right)

    def _whole(self, rounding: Callable[..., Any], arg: Any, dtype: Any) -> Any:  # noqa: ANN401
        large = sg.or_(self.f.isnan(arg), self.f.abs(arg) > self._double(_LARGEST))
        return self.cast(self._within("the nearest integer", rounding(arg), large), dtype)

    def _logarithm(self, name: str, arg: Any) -> Any:  # noqa: ANN401
        lowest = self.if_(sge.paren(arg).eq(0), self._double(-math.inf), self._double(math.nan))
        return self.if_(sge.paren(arg) <= 0, lowest, self.f.anon[name](arg))

    def _within(self, name: str, value: Any, out: Any) -> Any:  # noqa: ANN401
        problem = self.f.anon.raise_error(sge.convert(f"{name} of a value that has none that both engines agree on"))
        return self.if_(out, problem, value)

    def _trimmed(self, arg: Any, position: str) -> Any:  # noqa: ANN401
        return self.f.anon[position](sge.convert(string.whitespace), arg)

    def _no_number(self, arg: Any) -> Any:  # noqa: ANN401
        return sg.or_(self.f.isnan(arg), self._infinite(arg))

    def _has(self, arg: Any, letters: str) -> Any:  # noqa: ANN401
        return sge.RegexpLike(this=arg, expression=sge.convert(letters))

    def _infinite(self, arg: Any) -> Any:  # noqa: ANN401
        return self.f.abs(arg).eq(self._double(math.inf))

    def _double(self, value: float) -> Any:  # noqa: ANN401
        return self.cast(sge.convert(repr(value)), dt.float64)

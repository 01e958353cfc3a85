"""Run a feature view on DuckDB: Ibis tables in, checked rows out, kept as a table.

Reads snapshots through views of the connection; writes a temporary table. Every mistake in a view's function ends as a
``FeatureError``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import ibis

from loopwright.core.durations import format_duration
from loopwright.core.error_text import short_text
from loopwright.core.errors import FeatureError
from loopwright.core.storage.duck import quote_name
from loopwright.data.column import SYSTEM_COLUMNS
from loopwright.features.availability import ARRIVED_AT, KNOWN_AT, CannotFollowError, SourceRule, derive, plain_frames
from loopwright.features.field import DType, Field
from loopwright.features.join import JoinView, first_duplicate, has_late_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.features.label import Label
    from loopwright.features.view import FeatureView

_SQL_TYPES: dict[str, str] = {"float64": "DOUBLE", "category": "VARCHAR", "timestamp": "TIMESTAMPTZ"}


@dataclass(frozen=True)
class ViewRows:
    """A view's rows, kept as a table of the connection.

    Attributes:
        view: The view.
        join: How to join them: table, entity, event time, ``known_at`` and features.
        fields: The features that the view makes, in its order.
        known_at: How the rows' availability was found, for people.
        warnings: What a reader of the training set should know.
    """

    view: FeatureView
    join: JoinView
    fields: tuple[Field, ...]
    warnings: tuple[str, ...] = ()


def run_view(connection: duckdb.DuckDBPyConnection, view: FeatureView, labels: Sequence[Label] = ()) -> ViewRows:
    """Compute a view's rows with their availability into a temporary table.

    Args:
        connection: Has a view or table for each source, under the dataset's name.
        view: What to run.
        labels: The labels whose columns are known later than their rows.

    Raises:
        FeatureError: If the function raises, returns no table, lacks a column, makes no feature, makes one of a type
            that is no feature, or gives two rows for one entity and event time.
    """
    result = _call(view, [_table(connection, source.name) for source in view.sources])
    fields = _check_columns(view, result)
    traced, warnings = _with_known_at(view, result, labels)
    name = f"__view_{re.sub(r'[^A-Za-z0-9_]', '_', view.name)}__"
    event = f"{quote_name(view.event_time)}::TIMESTAMPTZ"
    columns = [
        *(quote_name(key) for key in view.entity),
        f"{event} AS {quote_name(view.event_time)}",
        f"greatest({event}, {quote_name(KNOWN_AT)}::TIMESTAMPTZ) AS {quote_name(KNOWN_AT)}",
        *(f"{quote_name(field.name)}::{_SQL_TYPES[field.dtype]} AS {quote_name(field.name)}" for field in fields),
    ]
    try:
        sql = str(ibis.to_sql(traced, dialect="duckdb"))
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {quote_name(name)} AS SELECT {', '.join(columns)} FROM ({sql})"
        )
    except (duckdb.Error, ibis.common.exceptions.IbisError) as error:
        raise FeatureError(
            f"The feature view '{view.name}' cannot be computed: {short_text(error)}",
            hint="Check its types and columns.",
        ) from error
    names = tuple(field.name for field in fields)
    join = JoinView(name, view.entity, view.entity, view.event_time, KNOWN_AT, names, view.ttl)
    _check_duplicates(connection, view, join)
    join = JoinView(
        name, view.entity, view.entity, view.event_time, KNOWN_AT, names, view.ttl, not has_late_rows(connection, join)
    )
    return ViewRows(view, join, fields, warnings)


def known_at_rules(view: FeatureView, labels: Sequence[Label]) -> dict[str, SourceRule]:
    """Return, by dataset, when its rows are known."""
    return {source.name: SourceRule.of(source, labels) for source in view.sources}


def _table(connection: duckdb.DuckDBPyConnection, name: str) -> ibis.Table:
    """Return an Ibis table of a relation's name and types: an expression to be compiled, with no engine behind it."""
    schema = connection.sql(f"SELECT * FROM {quote_name(name)} LIMIT 0").to_arrow_table().schema
    return ibis.table(ibis.Schema.from_pyarrow(schema), name=name)


def _call(view: FeatureView, tables: list[ibis.Table]) -> ibis.Table:
    try:
        result = view.function(*tables)
    except Exception as error:
        raise FeatureError(
            f"The feature view '{view.name}' raised {type(error).__name__}: {short_text(error)}.",
            hint=f"It gets one Ibis table for each of {', '.join(source.name for source in view.sources)}.",
        ) from error
    if not isinstance(result, ibis.Table):
        raise FeatureError(
            f"The feature view '{view.name}' returned {type(result).__name__} and not an Ibis table.",
            hint="Return a table, as in orders.select('courier_id', 'placed_at', pace=…).",
        )
    return result


def _check_columns(view: FeatureView, result: ibis.Table) -> tuple[Field, ...]:
    has = f"It has {', '.join(result.columns)}."
    for name in view.entity:
        if name not in result.columns:
            raise FeatureError(
                f"The feature view '{view.name}' returns no entity column '{name}'.", hint=f"Select it. {has}"
            )
    if view.event_time not in result.columns:
        raise FeatureError(
            f"The feature view '{view.name}' returns no event-time column '{view.event_time}'.",
            hint=f"Select it, or name another with event_time=. {has}",
        )
    moment = result[view.event_time].type()
    if not (moment.is_timestamp() or moment.is_date()):
        raise FeatureError(
            f"The event time '{view.event_time}' of the feature view '{view.name}' is {moment} and no timestamp.",
            hint="Cast it: .cast('timestamp').",
        )
    left_out = {*view.entity, view.event_time, *SYSTEM_COLUMNS}
    fields = tuple(_field(view, name, result[name].type()) for name in result.columns if name not in left_out)
    if not fields:
        raise FeatureError(
            f"The feature view '{view.name}' returns no feature column.", hint=f"Add one by name: pace=…. {has}"
        )
    return fields


def _field(view: FeatureView, name: str, kind: ibis.DataType) -> Field:
    if name.startswith("__"):
        raise FeatureError(
            f"The feature view '{view.name}' returns the reserved name '{name}'.", hint="Rename the column."
        )
    dtype: DType
    if kind.is_numeric() or kind.is_boolean():
        dtype = "float64"
    elif kind.is_string():
        dtype = "category"
    elif kind.is_timestamp() or kind.is_date():
        dtype = "timestamp"
    else:
        raise FeatureError(
            f"The column '{name}' of the feature view '{view.name}' is {kind}, which is no feature.",
            hint="Return numbers, truth values, texts or times, or drop the column.",
        )
    return Field(name, dtype, nullable=True, origin="view", source=view.name)


def _with_known_at(
    view: FeatureView, result: ibis.Table, labels: Sequence[Label]
) -> tuple[ibis.Table, tuple[str, ...]]:
    rules = known_at_rules(view, labels)
    plain = plain_frames(result)
    try:
        return derive(plain, rules), ()
    except CannotFollowError as error:
        operation = str(error)
    delay_us = max((delay for rule in rules.values() for delay in rule.delays_us.values()), default=0)
    known = plain[view.event_time].cast("timestamp('UTC')") + ibis.interval(microseconds=delay_us)
    start = f"View '{view.name}': availability cannot be followed through {operation}; its rows count"
    delay = f"from {format_duration(delay_us / 1e6)} after their event time"
    if ARRIVED_AT in result.columns:
        known = ibis.greatest(known, plain[ARRIVED_AT].cast("timestamp('UTC')"))
        return plain.mutate(**{KNOWN_AT: known}), (f"{start} from their {ARRIVED_AT}, and {delay}.",)
    arriving = [source.name for source in view.sources if source.arrival_time]
    if arriving:
        raise FeatureError(
            f"The feature view '{view.name}' reads {', '.join(arriving)}, whose rows arrive late, through {operation}, "
            "which availability cannot be followed through.",
            hint=f"Return a column {ARRIVED_AT} with the latest arrival of what each row was computed from.",
        )
    return plain.mutate(**{KNOWN_AT: known}), (f"{start} {delay}.",)


def _check_duplicates(connection: duckdb.DuckDBPyConnection, view: FeatureView, join: JoinView) -> None:
    found = first_duplicate(connection, join)
    if found is None:
        return
    *keys, event_time, _, count = found
    entity = ", ".join(f"{name}={value!r}" for name, value in zip(view.entity, keys, strict=True))
    raise FeatureError(
        f"The feature view '{view.name}' returns {count} rows for {entity} at {view.event_time}={event_time}.",
        hint="A view gives one row per entity and event time: aggregate, or keep the last.",
    )

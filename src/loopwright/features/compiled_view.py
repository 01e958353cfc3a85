"""A view as an expression: its function called, its columns checked, its availability derived. Runs nothing.

Every engine compiles the same expression. Every mistake in a view's function ends as a ``FeatureError``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis

from loopwright.core.durations import format_duration
from loopwright.core.error_text import short_text
from loopwright.core.errors import FeatureError
from loopwright.data.column import SYSTEM_COLUMNS
from loopwright.features.availability import ARRIVED_AT, KNOWN_AT, CannotFollowError, SourceRule, derive, plain_frames
from loopwright.features.field import DType, Field
from loopwright.features.view import FeatureView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.data.dataset import Dataset
    from loopwright.features.label import Label

IBIS_TYPES: dict[str, str] = {"float64": "float64", "category": "string", "timestamp": "timestamp('UTC', 6)"}


@dataclass(frozen=True)
class CompiledView:
    """What an engine needs to compute a view.

    Attributes:
        view: The view.
        expression: Entity columns, event time, ``__known_at__`` and features, in their types.
        fields: The features, in the view's order.
        warnings: What a reader of the training set should know.
    """

    view: FeatureView
    expression: ibis.Table
    fields: tuple[Field, ...]
    warnings: tuple[str, ...] = ()


def source_table(source: Dataset | FeatureView) -> str:
    """Return the name under which an expression reads a dataset, or another view's rows (no dataset has a blank)."""
    return f"view {source.name}" if isinstance(source, FeatureView) else source.name


def compile_view(view: FeatureView, schemas: Mapping[str, ibis.Schema], labels: Sequence[Label] = ()) -> CompiledView:
    """Call a view's function and derive what it needs to be joined.

    Args:
        view: What to compile.
        schemas: By ``source_table``, the columns of each source.
        labels: The labels whose columns are known later than their rows.

    Raises:
        FeatureError: If the function raises, returns no table, lacks a column, makes no feature, or makes one of a type
            that is no feature.
    """
    tables = [ibis.table(schemas[source_table(source)], name=source_table(source)) for source in view.sources]
    result = call_view(view, tables)
    fields = _check_columns(view, result)
    traced, warnings = _with_known_at(view, result, labels)
    moment = "timestamp('UTC', 6)"
    event = traced[view.event_time].cast(moment)
    expression = traced.select(
        **{key: traced[key] for key in view.entity},
        **{view.event_time: event, KNOWN_AT: ibis.greatest(event, traced[KNOWN_AT].cast(moment))},
        **{field.name: traced[field.name].cast(IBIS_TYPES[field.dtype]) for field in fields},
    )
    return CompiledView(view, expression, fields, warnings)


def call_view(view: FeatureView, tables: Sequence[ibis.Table]) -> ibis.Table:
    """Call the view's function on some tables.

    Raises:
        FeatureError: If it raises, or returns something else than a table.
    """
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


def known_at_rules(view: FeatureView, labels: Sequence[Label]) -> dict[str, SourceRule]:
    """Return, by ``source_table``, when its rows are known.

    A view's rows, read by another view, carry their own moment in the column ``_arrived_at``.
    """
    return {
        source_table(source): SourceRule(ARRIVED_AT, source.event_time)
        if isinstance(source, FeatureView)
        else SourceRule.of(source, labels)
        for source in view.sources
    }


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
    arriving = [name.removeprefix("view ") for name, rule in rules.items() if rule.kind == "arrival_time"]
    if arriving:
        raise FeatureError(
            f"The feature view '{view.name}' reads {', '.join(arriving)}, whose rows arrive late, through {operation}, "
            "which availability cannot be followed through.",
            hint=f"Return a column {ARRIVED_AT} with the latest arrival of what each row was computed from.",
        )
    return plain.mutate(**{KNOWN_AT: known}), (f"{start} {delay}.",)

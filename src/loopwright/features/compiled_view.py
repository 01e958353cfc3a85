"""A view as an expression: its function called, its columns checked, its availability derived. Runs nothing.

Every engine compiles the same expression. Every mistake in a view's function ends as a ``FeatureError``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis
import ibis.expr.operations as ops

from loopwright.core.durations import format_duration
from loopwright.core.error_text import short_text
from loopwright.core.errors import FeatureError
from loopwright.data.contract.column import SYSTEM_COLUMNS
from loopwright.features.availability import ARRIVED_AT, KNOWN_AT, CannotFollowError, SourceRule, derive, plain_frames
from loopwright.features.field import DType, Field
from loopwright.features.reach import Reach, TableFacts, reach_of
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
        reach: What its rows depend on.
        late_labels: The labels, as ``dataset.column``, for whose values rows of the view wait.
    """

    view: FeatureView
    expression: ibis.Table
    fields: tuple[Field, ...]
    warnings: tuple[str, ...]
    reach: Reach
    late_labels: tuple[str, ...] = ()


def source_table(source: Dataset | FeatureView) -> str:
    """Return the name under which an expression reads a dataset, or another view's rows (no dataset has a blank)."""
    return f"view {source.name}" if isinstance(source, FeatureView) else source.name


def compile_view(view: FeatureView, schemas: Mapping[str, ibis.Schema], labels: Sequence[Label] = ()) -> CompiledView:
    """Call a view's function, and those of the views that it reads, and derive what it needs to be joined.

    Args:
        view: What to compile.
        schemas: By dataset, its columns.
        labels: The labels whose columns are known later than their rows.

    Raises:
        FeatureError: If a function raises, returns no table, lacks a column, makes no feature, or makes one of a type
            that is no feature; if it looks ahead, may multiply rows, or would give something else at each run.
    """
    tables: list[ibis.Table] = []
    facts: dict[str, TableFacts] = {}
    late: list[str] = []
    for source in view.sources:
        name = source_table(source)
        if isinstance(source, FeatureView):
            parent = compile_view(source, schemas, labels)
            late.extend(parent.late_labels)
            tables.append(ibis.table(rows_schema(parent), name=name))
            named = frozenset((*source.entity, source.event_time))
            facts[name] = TableFacts((named,), parent.reach.paths)
        else:
            tables.append(ibis.table(schemas[name], name=name))
            facts[name] = TableFacts((frozenset(source.key),) if source.key else ())
    result = call_view(view, tables)
    fields = _check_columns(view, result)
    reach = reach_of(result, facts)
    check_reach(view, reach)
    rules = known_at_rules(view, labels)
    traced, warnings = _with_known_at(view, result, rules)
    moment = "timestamp('UTC', 6)"
    event = traced[view.event_time].cast(moment)
    expression = traced.select(
        **{key: traced[key] for key in view.entity},
        **{view.event_time: event, KNOWN_AT: ibis.greatest(event, traced[KNOWN_AT].cast(moment))},
        **{field.name: traced[field.name].cast(IBIS_TYPES[field.dtype]) for field in fields},
    )
    late.extend(_labels_read(result, rules, labels))
    return CompiledView(view, expression, fields, warnings, reach, tuple(dict.fromkeys(late)))


def compile_declared(view: FeatureView) -> CompiledView | None:
    """Compile a view on what contracts say of its datasets, without any data.

    Returns:
        None where a contract declares no columns, or the function fails on a dataset that may have more of them.

    Raises:
        FeatureError: As ``compile_view``.
    """
    schemas: dict[str, ibis.Schema] = {}
    closed = True
    for dataset in view.datasets:
        columns = {column.name: _TYPES[column.type] for column in dataset.contract.columns}
        closed &= dataset.contract.strict
        if not columns:
            return None
        schemas[dataset.name] = ibis.schema(columns | _SYSTEM_TYPES)
    try:
        return compile_view(view, schemas)
    except FeatureError as error:
        if isinstance(error.__cause__, AttributeError | ibis.common.exceptions.IbisError) and not closed:
            return None  # it may read a column that only the data has
        raise


_TYPES = {
    "float": "float64",
    "int": "int64",
    "bool": "boolean",
    "timestamp": "timestamp('UTC', 6)",
    "date": "date",
} | dict.fromkeys(("string", "category", "text", "image", "audio"), "string")
_SYSTEM_TYPES = {
    "_source": "string",
    "_source_row": "int64",
    "_arrived_at": "timestamp('UTC', 6)",
    "_ingest_id": "string",
}


def rows_schema(compiled: CompiledView) -> ibis.Schema:
    """Return the columns that a view's rows have for another view: as computed, and ``_arrived_at``."""
    types = dict(compiled.expression.schema().items())
    types[ARRIVED_AT] = types.pop(KNOWN_AT)
    return ibis.schema(types)


def check_reach(view: FeatureView, reach: Reach) -> None:
    """Refuse a view that takes in rows later than its own, multiplies rows, or is no pure function.

    Raises:
        FeatureError: With what does it, in words.
    """
    if reach.impure:
        raise FeatureError(
            f"The feature view '{view.name}' calls {reach.impure[0]}, so that it gives other values at each run.",
            hint="A view is a pure function of its datasets; for the time since an event, use the event times.",
        )
    if reach.multiplies:
        raise FeatureError(
            f"The feature view '{view.name}' may multiply rows: {reach.multiplies[0]}.",
            hint="Join on a key that names a row, add a condition on time, or aggregate the joined rows.",
        )
    if reach.looks_ahead and not view.looks_ahead:
        raise FeatureError(
            f"The feature view '{view.name}' looks ahead: {reach.looks_ahead[0]}.",
            hint="End the window at the row (following=0, or -1 without it), or group by a period of time. If rows "
            "shall count only once all they read is known, say so: looks_ahead=True.",
        )


def _labels_read(result: ibis.Table, rules: Mapping[str, SourceRule], labels: Sequence[Label]) -> list[str]:
    """Return the late labels whose column the view reads."""
    read = {(one.rel.name, one.name) for one in result.op().find(ops.Field) if isinstance(one.rel, ops.UnboundTable)}
    return [
        f"{label.dataset.name}.{label.name}"
        for label in labels
        if label.dataset.name in rules and (label.dataset.name, label.name) in read
    ]


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
    view: FeatureView, result: ibis.Table, rules: Mapping[str, SourceRule]
) -> tuple[ibis.Table, tuple[str, ...]]:
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

"""The examples of a training set: rows of the label's dataset whose target is known.

An example has a value in the label column, an event time, and a *mature* label: ``event time + arrives_after <= as_of``
(and, where the dataset has an arrival time, the row had arrived by ``as_of``). Of several rows with one key the last to
arrive counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from loopwright.core.errors import FeatureError, UnknownNameError
from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.features.field import Field, field_of
from loopwright.features.join import first_row
from loopwright.features.request import RequestField, ValueType
from loopwright.features.split import EVENT_TIME, KEY

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

    from loopwright.features.training_spec import TrainingSetSpec

EXAMPLES = "__examples__"
ROW = "__row__"
LABEL = "__label__"
ARRIVED_AT = "__arrived_at__"

_TYPE_OF_SQL: tuple[tuple[str, ValueType], ...] = (
    ("VARCHAR", "category"),
    ("ENUM", "category"),
    ("BOOL", "bool"),
    ("TIMESTAMP", "timestamp"),
    ("DATE", "date"),
    ("DOUBLE", "float"),
    ("FLOAT", "float"),
    ("DECIMAL", "float"),
    ("HUGEINT", "int"),
    ("UHUGEINT", "int"),
    ("TINYINT", "int"),
    ("SMALLINT", "int"),
    ("INTEGER", "int"),
    ("BIGINT", "int"),
    ("UTINYINT", "int"),
    ("USMALLINT", "int"),
    ("UINTEGER", "int"),
    ("UBIGINT", "int"),
)


@dataclass(frozen=True)
class ExampleSource:
    """The label's dataset as a view of the connection, with what is known of its columns.

    Attributes:
        spec: What is to be made.
        types: Each column's declared type, or for an undeclared one the type that it has in the snapshot.
        required: The columns in which no value is missing by declaration.
    """

    spec: TrainingSetSpec
    types: dict[str, ValueType]
    required: frozenset[str]

    @property
    def name(self) -> str:
        """The dataset's name, under which the connection has its rows."""
        return self.spec.label.dataset.name

    @property
    def event_time(self) -> str:
        """The column with the examples' moment."""
        return self.spec.event_time or self.spec.label.dataset.event_time or "_arrived_at"

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that name an example."""
        return (self.spec.key,) if self.spec.key else self.spec.label.dataset.key

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The features and transforms' inputs whose stored values are references to texts."""
        refs = [*self.spec.columns, *(ref for transform in self.spec.transforms for ref in transform.inputs)]
        return tuple(dict.fromkeys(ref.name for ref in refs if self.types.get(ref.name) == "text"))

    def type_of(self, name: str, used_as: str) -> ValueType:
        """Return a column's type.

        Raises:
            UnknownNameError: If the dataset has no such column.
            FeatureError: If its values are of no known type.
        """
        if name not in self.types:
            known = [key for key in self.types if not key.startswith("_")]
            raise UnknownNameError("column", name, known, where=f"in '{self.name}' ({used_as})")
        return self.types[name]

    def field(self, name: str) -> Field:
        """Return the field of a feature column."""
        kind = self.type_of(name, f"a feature of '{self.spec.name}'")
        return field_of(name, kind, required=name in self.required, origin="column", source=self.name)

    def categories(self, name: str) -> tuple[str, ...]:
        """Return the declared categories of a column, or nothing."""
        declared = self.spec.label.dataset.contract.column(name)
        return tuple(str(value) for value in declared.among) if declared is not None and declared.among else ()

    def request_field(self, name: str) -> RequestField:
        """Return how a request must send the column."""
        declared = self.spec.label.dataset.contract.column(name)
        sensitive = None if declared is None else declared.sensitive
        hidden = sensitive if sensitive in ("hash", "mask") else None
        kind = self.type_of(name, f"an input of '{self.spec.name}'")
        return RequestField(name, kind, name in self.required, hidden)

    def label_field(self) -> Field:
        """Return the target's field.

        Raises:
            FeatureError: If the target is no number, truth value or text.
        """
        kind = self.type_of(self.spec.label.name, "the label")
        if kind not in {"float", "int", "bool", "string", "category"}:
            raise FeatureError(
                f"The label '{self.name}.{self.spec.label.name}' is of type '{kind}'.",
                hint="A target is a number, a truth value or a text.",
            )
        return field_of(self.spec.label.name, kind, required=True, origin="label", source=self.name)


def example_source(connection: duckdb.DuckDBPyConnection, spec: TrainingSetSpec) -> ExampleSource:
    """Look at the columns of the label's dataset.

    Raises:
        UnknownNameError: If a column that the specification names is not there.
    """
    dataset = spec.label.dataset
    types: dict[str, ValueType] = {}
    required: set[str] = set()
    described = connection.sql(f"DESCRIBE SELECT * FROM {quote_name(dataset.name)}").fetchall()
    for name, sql_type, *_ in described:
        declared = dataset.contract.column(name)
        if declared is not None:
            types[name] = declared.type
            if declared.required and declared.on_failure != "warn":
                required.add(name)
        else:
            known = next((kind for start, kind in _TYPE_OF_SQL if sql_type.upper().startswith(start)), None)
            if known is not None:
                types[name] = (
                    "image" if known == "category" and _holds_payloads(connection, dataset.name, name) else known
                )
    source = ExampleSource(spec, types, frozenset(required))
    for name in (source.event_time, *source.key, spec.label.name):
        source.type_of(name, "named by the declaration")
    return source


def count_mature(connection: duckdb.DuckDBPyConnection, source: ExampleSource, as_of: datetime) -> int:
    """Return how many rows have a known label at ``as_of``.

    The rows known at an earlier moment are among those known at a later one, so that the count names the set: a
    training set's key needs the count, not the moment.
    """
    found = first_row(connection, f"SELECT count(*) FROM {quote_name(source.name)} WHERE {_mature(source, as_of)}")
    return int(cast("tuple[int]", found)[0])


def make_examples(connection: duckdb.DuckDBPyConnection, source: ExampleSource, as_of: datetime) -> tuple[str, ...]:
    """Write the examples into a temporary table, ordered by event time and key, and return warnings.

    Raises:
        FeatureError: If a label arrived before its event, a view's entity is no column of the dataset, or there is no
            example.
    """
    spec, table = source.spec, quote_name(source.name)
    _check_arrivals(connection, source)
    columns = [source.field(ref.name).name for ref in spec.columns]
    for transform in spec.transforms:
        columns.extend(source.request_field(ref.name).name for ref in transform.inputs)
    for view in spec.views:
        for entity in view.matched_on:
            if entity not in source.types:
                raise FeatureError(
                    f"The feature view '{view.name}' is keyed by '{entity}', which the examples ('{source.name}') "
                    f"do not have.",
                    hint="Say which of their columns it equals: entity={'" + entity + "': 'column'}.",
                )
        columns.extend(view.matched_on)
    if spec.holdout.by:
        source.type_of(spec.holdout.by, "the holdout's entity")
        columns.append(spec.holdout.by)
    chosen = ", ".join(quote_name(name) for name in dict.fromkeys(columns))
    if source.key:
        key = " || '|' || ".join(f"{quote_name(name)}::VARCHAR" for name in source.key)
        last = (
            f"QUALIFY row_number() OVER (PARTITION BY {', '.join(map(quote_name, source.key))} "
            "ORDER BY _arrived_at DESC, _source DESC, _source_row DESC) = 1"
        )
    else:
        key, last = "_source || '#' || _source_row::VARCHAR", ""
    event = f"{quote_name(source.event_time)}::TIMESTAMPTZ"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {EXAMPLES} AS SELECT row_number() OVER (ORDER BY {EVENT_TIME}, {KEY}) - 1 AS "
        f"{ROW}, * FROM ("
        f"SELECT {event} AS {EVENT_TIME}, {key} AS {KEY}, _arrived_at AS {ARRIVED_AT}, "
        f"{quote_name(spec.label.name)} AS {LABEL}"
        f"{', ' + chosen if chosen else ''} FROM {table} WHERE {_mature(source, as_of)} {last}) ORDER BY {ROW}"
    )
    rows, labelled, timeless = _count(connection, source)
    found = int(cast("tuple[int]", first_row(connection, f"SELECT count(*) FROM {EXAMPLES}"))[0])
    if not found:
        raise FeatureError(
            f"There is no example for '{spec.name}': of {rows} rows of '{source.name}', {labelled} have a value in "
            f"'{spec.label.name}', and none of "
            f"these is mature at {as_of:%Y-%m-%d %H:%M} UTC.",
            hint="Wait for labels to arrive, or shorten arrives_after.",
        )
    return (
        (f"{timeless} labelled rows of '{source.name}' have no '{source.event_time}' and are left out.",)
        if timeless
        else ()
    )


def _mature(source: ExampleSource, as_of: datetime) -> str:
    spec = source.spec
    delay = spec.label.arrives_after // timedelta(microseconds=1)
    moment = f"TIMESTAMPTZ {quote_text(as_of.isoformat())}"
    event = f"{quote_name(source.event_time)}::TIMESTAMPTZ"
    known = f"{quote_name(spec.label.name)} IS NOT NULL AND {event} + to_microseconds({delay}) <= {moment}"
    return known + (f" AND _arrived_at <= {moment}" if spec.label.dataset.arrival_time else "")


def _count(connection: duckdb.DuckDBPyConnection, source: ExampleSource) -> tuple[int, int, int]:
    label, event = quote_name(source.spec.label.name), quote_name(source.event_time)
    found = first_row(
        connection,
        f"SELECT count(*), count({label}), count(*) FILTER ({label} IS NOT NULL AND {event} IS NULL) FROM "
        f"{quote_name(source.name)}",
    )
    rows, labelled, timeless = cast("tuple[int, int, int]", found)
    return rows, labelled, timeless


def _check_arrivals(connection: duckdb.DuckDBPyConnection, source: ExampleSource) -> None:
    dataset = source.spec.label.dataset
    if not dataset.arrival_time or not dataset.event_time:
        return
    event, arrival = (f"{quote_name(name)}::TIMESTAMPTZ" for name in (dataset.event_time, dataset.arrival_time))
    found = first_row(
        connection,
        f"SELECT count(*), any_value(({event})::VARCHAR), any_value(({arrival})::VARCHAR) FROM "
        f"{quote_name(source.name)} "
        f"WHERE {arrival} < {event} AND {quote_name(source.spec.label.name)} IS NOT NULL",
    )
    count, event_time, arrival_time = cast("tuple[int, str, str]", found)
    if count:
        raise FeatureError(
            f"The label '{dataset.name}.{source.spec.label.name}' leaks: in {count} rows it arrived before its "
            f"event, such as "
            f"{dataset.arrival_time}={arrival_time} for {dataset.event_time}={event_time}.",
            hint="Exchange the two columns, or let the contract quarantine such rows: "
            f'expect("{dataset.event_time} <= {dataset.arrival_time}").',
        )


def _holds_payloads(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> bool:
    name = quote_name(column)
    row = first_row(connection, f"SELECT {name} FROM {quote_name(table)} WHERE {name} IS NOT NULL LIMIT 1")
    return row is not None and str(row[0]).startswith("sha256:")

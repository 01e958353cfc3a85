"""The embedded engine: views and joins on DuckDB, on the desk itself, so that nothing is copied.

Reads snapshots through views of the connection; writes temporary tables, which DuckDB spills to the workspace's
``tmp`` folder past its memory bound.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import duckdb
import ibis

from loopwright.core.error_text import short_text
from loopwright.core.errors import FeatureError
from loopwright.core.storage.duck import connect, quote_name, quote_text, to_arrow
from loopwright.features.availability import KNOWN_AT
from loopwright.features.compiled_view import CompiledView, compile_view, source_table
from loopwright.features.engine import Inputs, ViewRows
from loopwright.features.engine_sql import duckdb_sql
from loopwright.features.join import (
    JoinView,
    count_rows,
    first_duplicate,
    has_late_rows,
    latest_sql,
    point_in_time,
    span_sql,
)
from loopwright.features.online import from_micros

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from types import TracebackType

    import pyarrow as pa

    from loopwright.features.label import Label
    from loopwright.features.view import FeatureView


class DuckEngine:
    """Runs views in this process.

    Args:
        memory_bytes: Most memory of one session before it spills; by default 80 % of the machine's.
        threads: Most threads of one query.
    """

    name = "duckdb"

    def __init__(self, *, memory_bytes: int | None = None, threads: int = 2) -> None:
        self._memory_bytes = memory_bytes
        self._threads = threads

    def open(self, inputs: Inputs) -> DuckSession:
        """Open a session on some snapshots."""
        folder = inputs.stores.local / "tmp"
        desk = connect(threads=self._threads, memory_limit_bytes=self._memory_bytes, temp_folder=folder)
        try:
            attach_datasets(desk, inputs)
        except BaseException:
            desk.close()
            raise
        return DuckSession(desk)


def attach_datasets(desk: duckdb.DuckDBPyConnection, inputs: Inputs) -> None:
    """Give the rows of each dataset its name on a desk, as views that read when they are asked."""
    if inputs.only is None:
        for name, snapshot in inputs.snapshots.items():
            inputs.lake.attach(desk, name, snapshot)
        return
    keys = [quote_name(name) for name in inputs.only.keys.column_names]
    desk.register("__only_given__", inputs.only.keys)
    desk.execute("CREATE TEMP TABLE __only__ AS SELECT DISTINCT * FROM __only_given__")
    desk.unregister("__only_given__")
    for name, snapshot in inputs.snapshots.items():
        if name not in inputs.only.columns:
            inputs.lake.attach(desk, name, snapshot)
            continue
        columns = [quote_name(column) for column in inputs.only.columns[name]]
        inputs.lake.attach(desk, f"{name} whole", snapshot)
        equal = " AND ".join(f"o.{key} = d.{column}" for key, column in zip(keys, columns, strict=True))
        desk.execute(
            f"CREATE OR REPLACE TEMP VIEW {quote_name(name)} AS SELECT d.* FROM {quote_name(name + ' whole')} AS d "
            f"SEMI JOIN __only__ AS o ON {equal}"
        )


class DuckSession:
    """Views computed into temporary tables of the desk.

    Args:
        desk: A connection with a view or table for each dataset, under its name.
    """

    def __init__(self, desk: duckdb.DuckDBPyConnection) -> None:
        self.desk = desk
        self._computed: dict[tuple[str, str], ViewRows] = {}

    def compute(self, view: FeatureView, labels: Sequence[Label] = ()) -> ViewRows:
        """Compute a view's rows into a temporary table; see the port."""
        key = (view.name, view.version)
        if key not in self._computed:
            self._computed[key] = self._compute(view, labels)
        found = self._computed[key]
        return replace(found, view=view, join=replace(found.join, on=view.matched_on))

    def join(
        self, examples: str, views: Sequence[ViewRows], *, time: str, columns: Sequence[str], order: str, batch: int
    ) -> pa.RecordBatchReader:
        """Join the views to a table of the desk; see the port."""
        sql = point_in_time(self.desk, examples, [rows.join for rows in views], time=time, columns=columns, order=order)
        try:
            return self.desk.sql(sql).to_arrow_reader(batch)
        except duckdb.Error as error:
            raise FeatureError(
                f"The features of {', '.join(rows.view.name for rows in views)} cannot be joined: {short_text(error)}",
                hint="An entity must have the same type in the view and in the examples.",
            ) from error

    def latest(
        self, rows: ViewRows, *, until: datetime, after: datetime | None = None, batch: int
    ) -> pa.RecordBatchReader:
        """Stream the row of each entity that counts at a moment; see the port."""
        return self.desk.sql(latest_sql(rows.join, until=until, after=after)).to_arrow_reader(batch)

    def entities(
        self,
        rows: ViewRows,
        *,
        limit: int,
        columns: Sequence[str] | None = None,
        known_after: datetime | None = None,
    ) -> pa.Table:
        """Return the keys of some entities, chosen by hash; see the port."""
        keys = [quote_name(name) for name in (rows.join.entity if columns is None else columns)]
        if not keys:
            return to_arrow(self.desk.sql("SELECT 0 AS __all__"))
        tests = [f"{key} IS NOT NULL" for key in keys]
        if known_after is not None:
            tests.append(f"{quote_name(rows.join.known_at)} > TIMESTAMPTZ {quote_text(known_after.isoformat())}")
        listed, table = ", ".join(keys), quote_name(rows.join.table)
        return to_arrow(
            self.desk.sql(
                f"SELECT * FROM (SELECT DISTINCT {listed} FROM {table} WHERE {' AND '.join(tests)}) "
                f"ORDER BY hash({listed}), {listed} LIMIT {limit}"
            )
        )

    def next_known(self, rows: ViewRows, *, after: datetime) -> datetime | None:
        """Return the next moment at which a row becomes known; see the port."""
        known = quote_name(rows.join.known_at)
        found = self.desk.sql(
            f"SELECT epoch_us(min({known})) FROM {quote_name(rows.join.table)} WHERE {known} > "
            f"TIMESTAMPTZ {quote_text(after.isoformat())}"
        ).fetchall()[0][0]
        return None if found is None else from_micros(found)

    def stream(
        self, rows: ViewRows, *, since: datetime | None = None, before: datetime | None = None, batch: int
    ) -> pa.RecordBatchReader:
        """Stream a view's rows of a range of event times; see the port."""
        query = span_sql(quote_name(rows.join.table), rows.join, since, before)
        return self.desk.sql(query).to_arrow_reader(batch)

    def close(self) -> None:
        """Give the desk back."""
        self.desk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _compute(self, view: FeatureView, labels: Sequence[Label]) -> ViewRows:
        schemas = {dataset.name: self._schema(dataset.name) for dataset in view.datasets}
        compiled = compile_view(view, schemas, labels)
        parents: list[ViewRows] = []
        for parent in view.views:
            rows = self._attach_view(parent, labels)
            parents += [*rows.parents, rows]
        table = f"__view_{re.sub(r'[^A-Za-z0-9_]', '_', view.name)}_{view.version}__"
        return replace(self._kept(compiled, table), parents=tuple(parents))

    def _attach_view(self, view: FeatureView, labels: Sequence[Label]) -> ViewRows:
        """Give a view's rows the name under which another view reads them, their availability as ``_arrived_at``."""
        rows = self.compute(view, labels)
        columns = ", ".join(quote_name(name) for name in (*view.entity, view.event_time, *rows.join.features))
        self.desk.execute(
            f"CREATE OR REPLACE TEMP VIEW {quote_name(source_table(view))} AS SELECT {columns}, "
            f"{KNOWN_AT} AS _arrived_at FROM {quote_name(rows.join.table)}"
        )
        return rows

    def _schema(self, name: str) -> ibis.Schema:
        empty = self.desk.sql(f"SELECT * FROM {quote_name(name)} LIMIT 0").to_arrow_table()
        return ibis.Schema.from_pyarrow(empty.schema)

    def _kept(self, compiled: CompiledView, table: str) -> ViewRows:
        view = compiled.view
        try:
            sql = duckdb_sql(compiled.expression)
            self.desk.execute(f"CREATE OR REPLACE TEMP TABLE {quote_name(table)} AS {sql}")
        except (duckdb.Error, ibis.common.exceptions.IbisError) as error:
            raise FeatureError(
                f"The feature view '{view.name}' cannot be computed: {short_text(error)}",
                hint="Check its types and columns.",
            ) from error
        names = tuple(field.name for field in compiled.fields)
        join = JoinView(table, view.entity, view.matched_on, view.event_time, KNOWN_AT, names, view.ttl)
        check_duplicates(view, first_duplicate(self.desk, join))
        join = replace(join, in_order=not has_late_rows(self.desk, join))
        return ViewRows(view, join, compiled.fields, compiled.warnings, count_rows(self.desk, table))


def check_duplicates(view: FeatureView, found: tuple[object, ...] | None) -> None:
    """Refuse a view that gives several rows for one entity and event time.

    Raises:
        FeatureError: If there is a first duplicate, as ``loopwright.features.join.first_duplicate`` gives it.
    """
    if found is None:
        return
    *keys, event_time, _, count = found
    entity = ", ".join(f"{name}={value!r}" for name, value in zip(view.entity, keys, strict=True))
    of = f"for {entity} at" if entity else "at"
    raise FeatureError(
        f"The feature view '{view.name}' returns {count} rows {of} {view.event_time}={event_time}.",
        hint="A view gives one row per entity and event time: aggregate, or keep the last.",
    )

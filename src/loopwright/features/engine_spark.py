"""The engine for data that outgrows one machine: views and joins on Spark, ``[engine] url = "spark://…"``.

Spark reads the snapshots' own Parquet files, computes each view once into Parquet below ``.loopwright/tmp``, and joins
there; what it finds comes back as files too, and the session's desk puts it to the examples batch by batch, so that
neither side is ever whole in memory. A view compiles from the same Ibis expression as on DuckDB, to the same values
(:mod:`loopwright.features.engine_sql`), or is refused (:mod:`loopwright.features.spark_gaps`).

On a cluster the workers must see the project's folder under the same path, and reach the store by their own settings:
of an object store they are given its URLs (``s3://`` as ``s3a://``).
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.error_text import short_text
from loopwright.core.errors import FeatureError, LoopwrightError, StoreError
from loopwright.core.storage.duck import connect, quote_name, quote_text, to_arrow
from loopwright.core.storage.table_files import unglobbed
from loopwright.data.versions.history import NEWEST_FIRST
from loopwright.features.availability import KNOWN_AT
from loopwright.features.compiled_view import compile_view, source_table
from loopwright.features.engine import Inputs, ViewRows
from loopwright.features.engine_duckdb import attach_datasets, check_duplicates
from loopwright.features.engine_sql import spark_sql
from loopwright.features.incremental import schemas_of
from loopwright.features.join import JoinView, span_sql
from loopwright.features.online import from_micros, to_micros
from loopwright.features.spark_gaps import check_operations
from loopwright.features.spark_join import (
    MOMENT,
    ROW,
    duplicate_sql,
    entities_sql,
    latest_rows_sql,
    latest_spark_sql,
    next_known_sql,
    quote_spark,
    taken_sql,
)
from loopwright.features.spark_process import SparkPlace, failures, open_session, said

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta
    from types import TracebackType

    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.label import Label
    from loopwright.features.view import FeatureView


class SparkEngine:
    """Runs views on Spark.

    Args:
        url: ``spark://local[2]`` for threads on this machine, ``spark://host:7077`` for a cluster; Spark's own settings
            may follow, as in ``?spark.executor.memory=4g``.
        memory_bytes: The most memory of Spark on this machine, and of each session's desk.

    Raises:
        SettingsError: If the URL names no place.
    """

    name = "spark"

    def __init__(self, url: str, *, memory_bytes: int | None = None) -> None:
        self._place = SparkPlace.parse(url)
        self._memory_bytes = memory_bytes

    def open(self, inputs: Inputs) -> SparkEngineSession:
        """Open a session on some snapshots, and start Spark if this process has none yet.

        Raises:
            MissingExtraError: If PySpark is not installed.
            FeatureError: If there is no Java, or the cluster cannot be reached.
        """
        scratch = inputs.stores.local / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        spark = open_session(self._place, scratch=scratch, memory_bytes=self._memory_bytes)
        folder = Path(tempfile.mkdtemp(prefix="spark-session-", dir=scratch))
        desk = connect(memory_limit_bytes=self._memory_bytes, temp_folder=scratch)
        session = SparkEngineSession(spark, desk, folder)
        try:
            attach_datasets(desk, inputs)
            session.attach(inputs, is_local=self._place.is_local)
        except BaseException:
            session.close()
            raise
        return session


class SparkEngineSession:
    """Views computed by Spark into files that the desk can read.

    Args:
        spark: A Spark session that nobody else uses.
        desk: A connection with a view for each dataset, under its name.
        folder: For the files; it goes with the session.
    """

    def __init__(self, spark: Any, desk: duckdb.DuckDBPyConnection, folder: Path) -> None:  # noqa: ANN401
        self.desk = desk
        self._spark = spark
        self._folder = folder
        self._computed: dict[tuple[str, str], ViewRows] = {}
        self._schemas: dict[str, ibis.Schema] = {}
        self._written = 0

    def attach(self, inputs: Inputs, *, is_local: bool) -> None:
        """Give the rows of each dataset its name in Spark."""
        self._schemas = schemas_of(inputs)
        only = inputs.only
        if only is not None:
            keys = [f"k{place}" for place in range(only.keys.num_columns)]
            pq.write_table(only.keys.rename_columns(keys), self._folder / "only.parquet")
            self._read([str(self._folder / "only.parquet")], "__only__")
        for name, snapshot in inputs.snapshots.items():
            self._read(self._files(inputs, snapshot, is_local=is_local), "__stored__", name)
            sql = "SELECT * FROM __stored__"
            if snapshot.latest_by:
                sql = latest_rows_sql("__stored__", snapshot.latest_by, NEWEST_FIRST)
            if only is not None and name in only.columns:
                equal = " AND ".join(
                    f"o.k{place} = d.{quote_spark(column)}" for place, column in enumerate(only.columns[name])
                )
                sql = f"SELECT d.* FROM ({sql}) AS d LEFT SEMI JOIN __only__ AS o ON {equal}"
            self._view(name, sql)

    def compute(self, view: FeatureView, labels: Sequence[Label] = ()) -> ViewRows:
        """Compute a view's rows into Parquet; see the port."""
        key = (view.name, view.version)
        if key not in self._computed:
            self._computed[key] = self._compute(view, labels)
        found = self._computed[key]
        return replace(found, view=view, join=replace(found.join, on=view.matched_on))

    def join(
        self, examples: str, views: Sequence[ViewRows], *, time: str, columns: Sequence[str], order: str, batch: int
    ) -> pa.RecordBatchReader:
        """Join the views to a table of the desk; see the port."""
        names = ", ".join(rows.view.name for rows in views)
        hint = "An entity must have the same type in the view and in the examples."
        table = quote_name(examples)
        chosen = [f"x.{quote_name(name)}" for name in columns]
        joins = []
        on = tuple(dict.fromkeys(name for rows in views for name in rows.join.on))
        asked = "".join(f", {quote_name(name)}" for name in on)
        try:
            if views:
                file = self._folder / f"examples-{self._next()}.parquet"
                self.desk.execute(
                    f"COPY (SELECT rowid AS {ROW}, {quote_name(time)}::TIMESTAMPTZ AS {MOMENT}{asked} FROM {table}) TO "
                    f"{quote_text(str(file))} (FORMAT parquet)"
                )
                self._read([str(file)], "__examples__")
            for place, rows in enumerate(views):
                ttl_us = _micros(rows.join.ttl)
                with self._computing(f"The features of {names} cannot be joined", hint):
                    taken = self._write(taken_sql(rows.join, "__examples__", rows.join.on, ttl_us=ttl_us))
                joins.append(f"LEFT JOIN ({_parquet(taken)}) AS v{place} ON x.rowid = v{place}.{ROW}")
                chosen += [f"v{place}.f{i} AS {quote_name(name)}" for i, name in enumerate(rows.join.features)]
            sql = f"SELECT {', '.join(chosen)} FROM {table} AS x {' '.join(joins)} ORDER BY x.{quote_name(order)}"
            return self.desk.sql(sql).to_arrow_reader(batch)
        except duckdb.Error as error:
            raise FeatureError(f"The features of {names} cannot be joined: {short_text(error)}", hint=hint) from error

    def latest(
        self, rows: ViewRows, *, until: datetime, after: datetime | None = None, batch: int
    ) -> pa.RecordBatchReader:
        """Stream the row of each entity that counts at a moment; see the port."""
        sql = latest_spark_sql(
            rows.join,
            until_us=to_micros(until),
            after_us=None if after is None else to_micros(after),
            ttl_us=_micros(rows.join.ttl),
        )
        with self._computing(f"The latest rows of '{rows.view.name}' cannot be found"):
            found = self._write(sql)
        return self.desk.sql(_parquet(found)).to_arrow_reader(batch)

    def entities(
        self,
        rows: ViewRows,
        *,
        limit: int,
        columns: Sequence[str] | None = None,
        known_after: datetime | None = None,
    ) -> pa.Table:
        """Return the keys of some entities, chosen by hash; see the port."""
        keys = tuple(rows.join.entity if columns is None else columns)
        if not keys:
            return to_arrow(self.desk.sql("SELECT 0 AS __all__"))
        after_us = None if known_after is None else to_micros(known_after)
        with self._computing(f"The entities of '{rows.view.name}' cannot be listed"):
            found = self._write(entities_sql(rows.join, keys, limit=limit, known_after_us=after_us))
        return to_arrow(self.desk.sql(_parquet(found)))

    def next_known(self, rows: ViewRows, *, after: datetime) -> datetime | None:
        """Return the next moment at which a row becomes known; see the port."""
        with self._computing(f"The rows of '{rows.view.name}' cannot be read"):
            found = self._first(next_known_sql(rows.join, after_us=to_micros(after)))
        return None if found is None or found[0] is None else from_micros(int(str(found[0])))

    def stream(
        self, rows: ViewRows, *, since: datetime | None = None, before: datetime | None = None, batch: int
    ) -> pa.RecordBatchReader:
        """Stream a view's rows of a range of event times, from their files; see the port."""
        query = span_sql(f"({_parquet(self._folder / rows.join.table)})", rows.join, since, before)
        return self.desk.sql(query).to_arrow_reader(batch)

    def close(self) -> None:
        """Give the desk back, and remove the files; Spark goes on."""
        self.desk.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _compute(self, view: FeatureView, labels: Sequence[Label]) -> ViewRows:
        compiled = compile_view(view, {dataset.name: self._schemas[dataset.name] for dataset in view.datasets}, labels)
        warnings = check_operations(view.name, compiled.expression)
        parents: list[ViewRows] = []
        for parent in view.views:
            rows = self.compute(parent, labels)
            listed = ", ".join(quote_spark(name) for name in (*parent.entity, parent.event_time, *rows.join.features))
            known = f"{quote_spark(KNOWN_AT)} AS _arrived_at"
            self._view(source_table(parent), f"SELECT {listed}, {known} FROM {quote_spark(rows.join.table)}")
            parents += [*rows.parents, rows]
        with self._computing(f"The feature view '{view.name}' cannot be computed", "Check its types and columns."):
            try:
                folder = self._write(spark_sql(compiled.expression))
            except ibis.common.exceptions.IbisError as error:
                raise FeatureError(
                    f"The feature view '{view.name}' cannot be computed: {short_text(error)}",
                    hint="Check its types and columns.",
                ) from error
            self._view(folder.name, f"SELECT * FROM parquet.{quote_spark(str(folder))}")
            names = tuple(field.name for field in compiled.fields)
            join = JoinView(folder.name, view.entity, view.matched_on, view.event_time, KNOWN_AT, names, view.ttl)
            found = self._first(duplicate_sql(join))
        check_duplicates(view, found)
        count = self.desk.sql(f"SELECT count(*) FROM ({_parquet(folder)})").fetchall()[0][0]
        return ViewRows(view, join, compiled.fields, (*compiled.warnings, *warnings), int(count), tuple(parents))

    def _files(self, inputs: Inputs, snapshot: Snapshot, *, is_local: bool) -> list[str]:
        """Return the files with a snapshot's rows; where its table is no list of them, they are written anew."""
        table = f"datasets/{snapshot.dataset}"
        try:
            files = inputs.stores.tables.files(table, snapshot.version, here=is_local)
            return [file.replace("s3://", "s3a://", 1) if file.startswith("s3://") else file for file in files]
        except StoreError:
            file = self._folder / f"dataset-{self._next()}.parquet"
            inputs.lake.attach(self.desk, "__copied__", snapshot)
            self.desk.execute(f"COPY (FROM __copied__) TO {quote_text(str(file))} (FORMAT parquet)")
            return [str(file)]

    def _read(self, files: Sequence[str], name: str, dataset: str | None = None) -> None:
        """Give Parquet files a name in Spark; a dataset's columns have the types of its snapshot in every file."""
        from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - an extra

        with self._computing("Spark cannot read the rows"):
            reader = self._spark.read
            if dataset is not None:
                schema = from_arrow_schema(self._schemas[dataset].to_pyarrow(), prefer_timestamp_ntz=True)
                if not files:
                    self._spark.createDataFrame([], schema).createOrReplaceTempView(name)
                    return
                reader = reader.schema(schema)
            reader.parquet(*(_escaped(file) for file in files)).createOrReplaceTempView(name)

    def _view(self, name: str, sql: str) -> None:
        with self._computing("Spark cannot read the rows"):
            self._spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {quote_spark(name)} AS {sql}")

    def _write(self, sql: str) -> Path:
        folder = self._folder / f"rows_{self._next()}"
        self._spark.sql(sql).write.parquet(folder.as_uri())
        return folder

    def _first(self, sql: str) -> tuple[object, ...] | None:
        """Return a query's first row; ``collect`` would leave a socket open each time."""
        found = self._spark.sql(sql)._jdf.takeAsList(1)  # noqa: SLF001
        return None if found.isEmpty() else tuple(found.get(0).get(place) for place in range(found.get(0).length()))

    def _next(self) -> int:
        self._written += 1
        return self._written

    @contextmanager
    def _computing(self, what: str, hint: str | None = None) -> Iterator[None]:
        try:
            yield
        except LoopwrightError:
            raise
        except failures() as error:
            raise FeatureError(f"{what} (engine 'spark'): {said(error)}", hint=hint) from error


def _parquet(folder: Path) -> str:
    """Return the DuckDB SELECT of what Spark has written, file by file in its order."""
    return f"SELECT * FROM read_parquet({quote_text(unglobbed(str(folder)) + '/*.parquet')})"


def _escaped(file: str) -> str:
    """Take their meaning from the signs that Spark would expand in a path."""
    return "".join(f"\\{sign}" if sign in "*?[]{}\\" else sign for sign in file)


def _micros(duration: timedelta | None) -> int | None:
    return None if duration is None else round(duration.total_seconds() * 1_000_000)

"""Reads tables and queries of a database through SQLAlchemy, in batches, with a cursor on the server's side."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import sqlalchemy as sa

from loopwright.core.errors import MissingExtraError, SourceError, UnknownNameError
from loopwright.data.sources.fetched import mark_of, plan_whole, plan_window, whole_has_new
from loopwright.data.sources.rows import MOMENT, Rows
from loopwright.data.sources.secret import connection, masked, scrubbed
from loopwright.data.sources.sql_postgres import keep_far_times
from loopwright.data.sources.sql_types import column_types, described_types
from loopwright.data.sources.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.data.sources.plan import Plan
    from loopwright.data.sources.reader import Reading
    from loopwright.data.sources.sql import SqlSource

BATCH_ROWS = 20_000
_EXTRAS = {"psycopg": "postgres"}  # drivers that an extra of this package brings


class SqlReader:
    """Reads rows past a watermark, or everything."""

    def plan(self, source: SqlSource, reading: Reading) -> Plan:
        """Fetch what is new.

        Raises:
            SourceError: If the database cannot be reached, or has no such table or column; nothing was stored.
            MissingExtraError: If the database's driver is not installed.
        """
        part = _part(source)
        before = mark_of(reading, part, source.name) if source.watermark else None
        with _Database(source, reading) as database:
            if source.watermark is None:
                return plan_whole(database.rows(), reading, name=source.name)
            newest, has_null = database.newest()
            window = Window(
                before,
                column=source.watermark,
                overlap=source.overlap,
                now=reading.now,
                has_key=reading.has_key,
                where=source.name,
                newest=newest,
            )
            low = before.low if before else None
            batches = iter(()) if newest is None else database.rows(low)
            plan = plan_window(window, batches, before, reading, name=source.name, part=part)
            if has_null:
                missing = f"has rows without a value in '{source.watermark}'; they are not read."
                plan.warnings.append(f"{source.name} {missing}")
            return plan

    def has_new(self, source: SqlSource, reading: Reading) -> bool:
        """Compare the largest watermark and the number of rows near it; without a watermark, read everything."""
        with _Database(source, reading) as database:
            if source.watermark is None:
                return whole_has_new(database.rows(), reading.known.get(source.name))
            before = mark_of(reading, _part(source), source.name)
            newest, _ = database.newest()
            if before is None:
                return newest is not None
            return before.is_behind(newest, database.count(before.low))


def _part(source: SqlSource) -> str:
    return f"{source.name}:{source.watermark}"


class _Database:
    """One connection, in one transaction that only reads."""

    def __init__(self, source: SqlSource, reading: Reading) -> None:
        self._source = source
        self._url = source.url if "://" in source.url else connection(source.url, reading.connections)
        self._url = self._anchored(self._url, reading.project)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        engine = self._engine()
        try:
            with self._told():
                self._connection = self._stack.enter_context(engine.connect())
                self._names, self._types, self._from = self._described()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(sa.exc.SQLAlchemyError):  # a server that is gone was told of already
            self._stack.close()

    def newest(self) -> tuple[object, bool]:
        """Return the largest watermark, and whether some row has none.

        SQLite keeps any value in any column, and a text sorts behind all numbers and times.
        """
        column: sa.ColumnClause[object] = sa.column(self._source.watermark or "")
        largest = sa.select(sa.func.max(column)).select_from(self._from)
        nulls = sa.select(sa.literal(1)).select_from(self._from).where(column.is_(None)).limit(1)
        with self._told():
            newest = None
            if self._connection.dialect.name == "sqlite":
                newest = self._connection.execute(largest.where(self._as_declared(column))).scalar()
            if newest is None:
                newest = self._connection.execute(largest).scalar()
            return newest, self._connection.execute(nulls).first() is not None

    def _as_declared(self, column: sa.ColumnClause[object]) -> sa.ColumnElement[bool]:
        """Return the condition that a value of SQLite is of its column's type; true where none is declared."""
        place = self._names.index(str(column.name)) if self._types else -1
        kind = self._types[place] if self._types else None
        if kind in (MOMENT, pa.date32()):
            return column.op("GLOB")("[0-9][0-9][0-9][0-9]-*")
        if kind in (pa.int64(), pa.float64()):
            return sa.func.typeof(column).in_(["integer", "real"])
        return sa.true()

    def count(self, low: object) -> int:
        """Return how many rows have this watermark or a larger one."""
        column: sa.ColumnClause[object] = sa.column(self._source.watermark or "")
        query = sa.select(sa.func.count()).select_from(self._from).where(column >= sa.literal(low))
        with self._told():
            return int(self._connection.execute(query).scalar_one())

    def rows(self, low: object = None) -> Iterator[Rows]:
        """Give the rows from a value of the watermark on, in its order; all rows where there is no watermark."""
        listed: list[Any] = [sa.column(name) for name in self._names] if self._source.table else [sa.text("*")]
        query = sa.select(*listed).select_from(self._from)
        if self._source.watermark is not None:
            column: sa.ColumnClause[object] = sa.column(self._source.watermark)
            if low is not None:
                query = query.where(column >= sa.literal(low))
            query = query.where(column.is_not(None)).order_by(column)
        with self._told():
            streaming = self._connection.execution_options(stream_results=True, max_row_buffer=BATCH_ROWS)
            result = streaming.execute(query)
            names = tuple(result.keys())
            types = self._types or described_types(self._connection.dialect.name, result.cursor)
            cursor = result.cursor
            try:
                for part in result.partitions(BATCH_ROWS):
                    yield Rows(names, [tuple(row) for row in part], types or (None,) * len(names))
            finally:
                with contextlib.suppress(Exception):  # of any driver, on a connection that may be gone
                    cursor.close()

    def _engine(self) -> sa.Engine:
        try:
            engine = sa.create_engine(self._url, poolclass=sa.pool.NullPool, hide_parameters=True)
        except sa.exc.NoSuchModuleError:
            name = self._url.partition(":")[0]
            known = ["postgresql", "mysql", "sqlite", "mssql", "oracle"]
            unknown = UnknownNameError("database", name, known, where="that SQLAlchemy reaches")
            raise SourceError(unknown.message, hint=unknown.hint) from None
        except (sa.exc.ArgumentError, ValueError):
            raise SourceError(
                f"{self._source.name}: {masked(self._url)} is no database URL.",
                hint="Write driver://user:password@host:port/database.",
            ) from None
        except ModuleNotFoundError as error:
            package = str(error.name)
            if package in _EXTRAS:
                raise MissingExtraError(package, extra=_EXTRAS[package]) from None
            raise SourceError(
                f"{self._source.name}: the driver '{package}' is not installed.", hint=f"Run: pip install {package}"
            ) from None
        self._stack.callback(engine.dispose)
        if engine.dialect.name == "postgresql":
            keep_far_times(engine)
            return engine.execution_options(postgresql_readonly=True)
        return engine

    def _described(self) -> tuple[tuple[str, ...], tuple[object, ...], sa.FromClause]:
        """Return the columns, their types and what to select from."""
        source = self._source
        if source.query is not None:
            text = source.query.strip().rstrip(";").replace(":", r"\:")
            relation = sa.text(f"({text}) AS rows_of_query")
            head = self._connection.execute(sa.select(sa.text("*")).select_from(relation).limit(0))
            names = tuple(head.keys())
            self._require([source.watermark] if source.watermark else [], names)
            return names, (), relation  # type: ignore[return-value]
        inspector = sa.inspect(self._connection)
        try:
            columns = inspector.get_columns(source.table or "", schema=source.schema)
        except sa.exc.NoSuchTableError:
            columns = []
        if not columns:
            known = [*inspector.get_table_names(source.schema), *inspector.get_view_names(source.schema)]
            where = f"in {masked(self._url)}"
            unknown = UnknownNameError("table", source.name.removeprefix("sql:"), known, where=where)
            raise SourceError(unknown.message, hint=unknown.hint)
        there = tuple(str(one["name"]) for one in columns)
        wanted = source.columns or there
        self._require([*wanted, *([source.watermark] if source.watermark else [])], there)
        kinds = {str(one["name"]): one["type"] for one in columns}
        types = column_types(self._connection.dialect.name, [kinds[name] for name in wanted])
        return wanted, types, sa.table(source.table or "", schema=source.schema)

    def _require(self, wanted: list[str], there: tuple[str, ...]) -> None:
        for name in wanted:
            if name not in there:
                unknown = UnknownNameError("column", name, there, where=f"in {self._source.name}")
                raise SourceError(unknown.message, hint=unknown.hint)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say what a database says in one line, without its password."""
        try:
            yield
        except (sa.exc.SQLAlchemyError, OSError, ValueError) as error:
            said = scrubbed(str(getattr(error, "orig", None) or error), [self._url, self._source.url])
            is_login = any(word in said.lower() for word in ("password", "authentication", "access denied"))
            hint = "Run again when the database answers; nothing of this ingest was stored."
            if is_login:
                hint = "Correct the user and password of the connection."
            elif (
                isinstance(error, (sa.exc.ProgrammingError, sa.exc.DataError, sa.exc.NotSupportedError))
                or "no such column" in said
            ):
                hint = "Correct the table, the query or the columns."
            raise SourceError(f"{self._source.name} at {masked(self._url)}: {said.rstrip('.')}.", hint=hint) from None

    def _anchored(self, url: str, project: Path) -> str:
        """Use psycopg for PostgreSQL, and take an SQLite file from the project's folder; one must be there."""
        for short in ("postgresql://", "postgres://"):
            if url.startswith(short):
                return "postgresql+psycopg://" + url.removeprefix(short)
        if not url.startswith("sqlite:///"):
            return url
        path, mark, options = url.removeprefix("sqlite:///").partition("?")
        file = project / Path(path)
        if not file.is_file():
            raise SourceError(
                f"{self._source.name}: there is no database {file}.", hint="Correct the path, or put the file there."
            )
        return f"sqlite:///{file}{mark}{options}"

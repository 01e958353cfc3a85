"""What is to be done about rows in the quarantine, and the rows as they are once it is done.

Rows are chosen by check, column, source and an SQL condition over their raw values, and repaired by expressions over
these, or by a file that was exported and edited. A raw value is what the source gave: a number or a truth value where
it gave one in every chosen row, else a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from loopwright.core.errors import UnknownNameError, UsageError
from loopwright.core.storage.duck import quote_name, quote_text, to_arrow
from loopwright.data.contract.sensitive import is_changed_at_ingest
from loopwright.data.disclosure import HIDDEN
from loopwright.data.quarantine.edited_file import ORIGIN, take_file
from loopwright.data.quarantine.kept_out import attach_kept_out
from loopwright.data.quarantine.raw_rows import listed_sql, raw_columns
from loopwright.data.quarantine.view import filter_sql

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.data.dataset import Dataset

# A row that did not fit the file's columns is kept as the text of its own JSON.
_RAW = "CASE WHEN json_type(raw) = 'VARCHAR' AND json_valid(raw ->> '$') THEN raw ->> '$' ELSE raw END"
_WHOLE_ROWS = f"json_type({_RAW}) = 'OBJECT' AND _source_row >= 0"
_CONSTANT = re.compile(r"'(?:[^']|'')*'|(?<!\w)\d[\w.]*")
_ORIGIN = ", ".join(ORIGIN)
_TAKEN = pa.schema([("_ingest_id", pa.string()), ("_source", pa.string()), ("_source_row", pa.int64())])


@dataclass(frozen=True)
class Repair:
    """Which rows to take, and what to change in them; all rows as they are where nothing is given.

    Args:
        check: Rows that failed this check; ``at_most(distance_km)`` names it with its column.
        column: Rows with a broken cell in this column.
        source: Rows of this source.
        where: Rows for which this SQL condition over the raw values holds.
        changes: SQL expressions over the raw values, by column.
        file: An exported and edited file: the rows that it holds, with the values it gives them.

    Raises:
        UsageError: If an expression is none, or a file and expressions are given.
    """

    check: str | None = None
    column: str | None = None
    source: str | None = None
    where: str | None = None
    changes: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.file is not None and (self.changes or self.where is not None):
            raise UsageError("A file says itself which rows and which values.", hint="Leave out --where and --set.")
        for text in (*self.changes.values(), *(() if self.where is None else (self.where,))):
            if not text.strip() or ";" in text or "--" in text:
                raise UsageError(f"{text!r} is no single SQL expression.", hint="Write one, such as city = 'Oslo'.")

    def describe(self, private: Collection[str] = ()) -> dict[str, object]:
        """Return what is set, as JSON values; without the constants of expressions for or over ``private`` columns.

        >>> Repair(where="card = 'C-17'", changes={"city": "'Oslo'"}).describe(["card"])
        {'where': 'card = •••', 'set': {'city': "'Oslo'"}}
        """
        found = {
            "check": self.check,
            "column": self.column,
            "source": self.source,
            "where": None if self.where is None else _without_constants("", self.where, private),
            "set": {name: _without_constants(name, text, private) for name, text in self.changes.items()} or None,
            "file": None if self.file is None else self.file.name,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Prepared:
    """Repaired rows, in a connection's table ``repaired``: ``_source``, ``_source_row`` and :attr:`columns`.

    Attributes:
        taken: ``_ingest_id``, ``_source`` and ``_source_row`` of every row that leaves the quarantine.
        rows: How many rows go through the contract: of a source row that was kept out more than once, the newest.
        outdated: Rows left alone because a row of their key came later and is stored.
        withheld: Rows left alone because they broke a rule on a sensitive value, which was not kept.
        gone: Rows of the file that are not in the quarantine any more.
    """

    columns: tuple[str, ...] = ()
    taken: pa.Table = field(default_factory=_TAKEN.empty_table)
    rows: int = 0
    outdated: int = 0
    withheld: int = 0
    gone: int = 0


def prepare(
    con: duckdb.DuckDBPyConnection, stores: Stores, dataset: Dataset, repair: Repair, *, stored: str | None
) -> Prepared:
    """Choose and repair rows; the quarantine stays as it is.

    Args:
        con: Takes the tables.
        stores: Where the quarantine lies.
        dataset: Whose quarantine.
        repair: What to do.
        stored: SQL that reads the dataset's rows in ``con``, where there are any.

    Raises:
        UsageError: If an expression cannot be computed, or the file is no export of this quarantine.
        UnknownNameError: If a column is changed that neither the contract nor the rows have.
    """
    if not attach_kept_out(con, stores, dataset.name):
        return Prepared()
    filtered = filter_sql(repair.check, repair.column, repair.source) or " WHERE true"
    given = take_file(con, repair.file) if repair.file is not None else None
    gone = 0
    if given is not None:
        gone = int(_one(con, "SELECT count(*) FROM given ANTI JOIN kept_out ON given.__id = kept_out.id"))
        filtered = f" SEMI JOIN given ON given.__id = kept_out.id{filtered}"
    whole = f"kept_out.* REPLACE ({_RAW} AS raw)"
    con.execute(f"CREATE TEMP TABLE chosen AS SELECT {whole} FROM kept_out{filtered} AND {_WHOLE_ROWS}")
    columns = raw_columns(con, "chosen")
    raw = f"id AS __id, {_ORIGIN}, reasons AS __reasons{listed_sql(columns)}"
    con.execute(f"CREATE TEMP VIEW raw_rows AS SELECT {raw} FROM chosen")
    _check_changes(con, dataset, repair, list(columns))
    condition = "true" if repair.where is None else f"({repair.where})::BOOLEAN"
    _run(con, f"CREATE TEMP TABLE asked AS SELECT * FROM raw_rows WHERE {condition}", repair.where)
    withheld = _leave_withheld(con, dataset, repair.changes)
    if given is None:
        listed = _changed(list(columns), repair.changes)
        _run(con, f"CREATE TEMP TABLE changed AS SELECT __id, {_ORIGIN}{listed} FROM asked", repair.changes)
    else:
        _refuse_edited(con, dataset, given, list(columns))
        listed = "".join(f", given.{quote_name(name)}" for name in given)
        con.execute(f"CREATE TEMP TABLE changed AS SELECT __id, {_ORIGIN}{listed} FROM asked JOIN given USING (__id)")
    outdated = 0
    if stored is not None and dataset.on_duplicate == "upsert":
        outdated = _leave_outdated(con, dataset, stored)
    con.execute(
        "CREATE TEMP TABLE repaired AS SELECT * FROM changed QUALIFY row_number() OVER "
        "(PARTITION BY _source, _source_row ORDER BY _arrived_at DESC, _ingest_id DESC) = 1"
    )
    return Prepared(
        columns=tuple(name for name in _columns_of(con, "repaired") if name not in {"__id", *ORIGIN}),
        taken=to_arrow(con.sql(f"SELECT {_ORIGIN} FROM changed")),
        rows=int(_one(con, "SELECT count(*) FROM repaired")),
        outdated=outdated,
        withheld=withheld,
        gone=gone,
    )


def _check_changes(con: duckdb.DuckDBPyConnection, dataset: Dataset, repair: Repair, names: Sequence[str]) -> None:
    known = [*names, *(item.name for item in dataset.contract.columns if item.name not in names)]
    for name, expression in repair.changes.items():
        if name not in known:
            raise UnknownNameError("column", name, known, where=f"in the quarantine of '{dataset.name}'")
        _run(con, f"SELECT ({expression}) FROM raw_rows LIMIT 0", {name: expression})


def _changed(names: Sequence[str], changes: Mapping[str, str]) -> str:
    listed = "".join(
        f", ({changes[name]}) AS {quote_name(name)}" if name in changes else f", {quote_name(name)}" for name in names
    )
    return listed + "".join(f", ({sql}) AS {quote_name(name)}" for name, sql in changes.items() if name not in names)


def _leave_withheld(con: duckdb.DuckDBPyConnection, dataset: Dataset, changes: Mapping[str, str]) -> int:
    names = [quote_text(name) for name in withheld_columns(dataset) if name not in changes]
    if not names:
        return 0
    broken = f'len(list_filter(__reasons, lambda reason: reason."column" IN ({", ".join(names)}))) > 0'
    left = int(_one(con, f"SELECT count(*) FROM asked WHERE {broken}"))
    con.execute(f"DELETE FROM asked WHERE {broken}")
    return left


def private_columns(dataset: Dataset) -> list[str]:
    """Return the columns whose values no record may keep: the sensitive ones, and the keys that rows are erased by."""
    return [*dataset.key, *(item.name for item in dataset.contract.columns if item.sensitive is not None)]


def _without_constants(column: str, expression: str, private: Collection[str]) -> str:
    named = "|".join(re.escape(name) for name in private)
    if column in private or (named and re.search(rf"(?i)(?<!\w)(?:{named})(?!\w)", expression)):
        return _CONSTANT.sub(HIDDEN, expression)
    return expression


def withheld_columns(dataset: Dataset) -> list[str]:
    """Return the columns of which the quarantine holds a pseudonym, an outline or nothing."""
    return [item.name for item in dataset.contract.columns if is_changed_at_ingest(item.sensitive)]


def _refuse_edited(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, given: Sequence[str], names: Sequence[str]
) -> None:
    """Refuse a file with new values of sensitive columns: among pseudonyms nobody could tell them apart."""
    for name in withheld_columns(dataset):
        if name not in given:
            continue
        before = f"asked.{quote_name(name)}::VARCHAR" if name in names else "NULL"
        query = (
            f"SELECT __id FROM given JOIN asked USING (__id) WHERE given.{quote_name(name)}::VARCHAR "
            f"IS DISTINCT FROM {before} ORDER BY __id LIMIT 1"
        )
        found = con.execute(query).fetchone()
        if found is not None:
            raise UsageError(
                f"The file changes the sensitive column '{name}' of the row _id = {found[0]}.",
                hint=f'Leave it as it is, or replay these rows with --set "{name}=…".',
            )


def _leave_outdated(con: duckdb.DuckDBPyConnection, dataset: Dataset, stored: str) -> int:
    """Leave out rows whose key is stored by a row that came later: put in now, they would count as the newer."""
    there = {name.lower() for name in _columns_of(con, "changed")}
    if not all(name.lower() in there for name in dataset.key):
        return 0
    con.execute(f"CREATE TEMP VIEW stored_now AS {stored}")
    types = dict(con.execute("SELECT column_name, column_type FROM (DESCRIBE stored_now)").fetchall())
    same = " AND ".join(
        f"TRY_CAST(changed.{quote_name(name)} AS {types[name]}) = stored_now.{quote_name(name)}" for name in dataset.key
    )
    con.execute(
        "CREATE TEMP TABLE outdated AS SELECT DISTINCT changed.__id FROM changed JOIN stored_now "
        f"ON {same} WHERE stored_now._arrived_at > changed._arrived_at"
    )
    con.execute("DELETE FROM changed WHERE __id IN (SELECT __id FROM outdated)")
    return int(_one(con, "SELECT count(*) FROM outdated"))


def _run(con: duckdb.DuckDBPyConnection, query: str, given: object) -> None:
    try:
        con.execute(query)
    except duckdb.Error as error:
        reason = str(error).split("\n", 1)[0]
        raise UsageError(
            f"{given!r} cannot be computed: {reason}.",
            hint="Write SQL over the raw columns, with a cast such as minutes::DOUBLE where a text is a number.",
        ) from error


def _one(con: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(con.execute(query).fetchall()[0][0])


def _columns_of(con: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return [str(row[0]) for row in con.execute(f"SELECT column_name FROM (DESCRIBE {table})").fetchall()]

"""Finds the few staged rows that need a closer look, because their key may be stored, or come twice among them.

Keys are compared by 64-bit hashes: the stored ones lie in sorted runs on this machine (see
:mod:`loopwright.core.storage.hash_runs`), which follow the table from version to version. Equal keys have equal hashes,
so a row whose hash is not there is new; for the others the exact comparison decides. A push costs the same however many
rows are stored, and no ingest holds more than some millions of hashes in memory at once.

The runs are a cache. They count up to the version that they name, and only while its commit is the one that they were
made from; what came to the table since, by whomever, is read and added. Without them, or after an erasure, which must
leave no trace of a key, they are made anew from the table.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import numpy as np

from loopwright.core.errors import StoreError
from loopwright.core.storage.columns import duck_type, storable_type
from loopwright.core.storage.duck import fetched, quote_name
from loopwright.core.storage.hash_runs import HashRuns
from loopwright.core.storage.hash_shelf import HashShelf
from loopwright.core.storage.table_changes import TableSpan
from loopwright.core.storage.table_log import commit_mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.core.storage.hash_runs import Hashes
    from loopwright.core.storage.stores import Stores
    from loopwright.data.ingest.stage import Positions, Stage

_BATCH_ROWS = 122_880
_FOLDER = "index"


@dataclass(frozen=True)
class Suspects:
    """Staged rows to look at.

    Attributes:
        positions: where they are in the stage, ascending; those of equal keys are all there, or none is.
        is_stored: whether any of their keys may be stored.
    """

    positions: Positions
    is_stored: bool


@dataclass
class _Waiting:
    """Hashes that become a run when their rows are committed."""

    runs: HashRuns
    drafted: tuple[int, int]
    version: int  # of the table, up to which the runs are up to date


class KnownKeys:
    """The hashes of one dataset's keys.

    Args:
        stores: the lake.
        dataset: the dataset's name.
        stage: where its staged rows are.
        stored: DuckDB types of the stored columns; empty where nothing is stored.
        erasures: how many erasures the dataset has on record.
    """

    def __init__(self, stores: Stores, dataset: str, stage: Stage, stored: Mapping[str, str], erasures: int) -> None:
        self._tables = stores.tables
        self._table = f"datasets/{dataset}"
        self._folder = stores.local / _FOLDER / dataset
        self._scratch = stores.local / "tmp"
        self._stage = stage
        self._stored = dict(stored)
        self._erasures = erasures
        self._waiting: list[_Waiting] = []

    def suspects(self, con: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> Suspects | None:
        """Find the staged rows whose values of some columns, none of them null, may be stored, or come twice.

        Returns:
            None where that cannot be told: the table is not a list of plain files, or no run can be written.
        """
        new = {name: duck_type(storable_type(kind)) for name, kind in self._stage.types.items()}
        types = [self._stored.get(name) or new[name] for name in columns]
        with HashShelf(self._stage.folder) as fresh:
            con.register("staged keys", self._stage.columns("good", columns))
            few = not self._stage.is_on_disk
            self._hash(con, fresh, 'SELECT * FROM "staged keys"', columns, types, is_small=few)
            con.unregister("staged keys")
            try:
                known = self._known(con, columns, types)
            except (StoreError, OSError):
                return None
            return self._found(fresh, known)

    def remember(self, version: int) -> None:
        """Add the hashes of the staged rows, which were committed as a version."""
        waiting, self._waiting = self._waiting, []
        with suppress(OSError):  # what is missing is read from the table next time
            for one in waiting:
                if version == one.version + 1 and (mark := self._mark(version)) is not None:
                    one.runs.publish(one.drafted, version, mark)

    def _found(self, fresh: HashShelf, known: tuple[HashRuns, int] | None) -> Suspects:
        repeated: list[Hashes] = []
        stored: list[Hashes] = []

        def looked_at(piece: Hashes) -> Hashes:
            is_again = piece[1:] == piece[:-1]
            if is_again.any():
                repeated.append(np.unique(piece[1:][is_again]))
            if known is not None and (found := known[0].find(piece)).any():
                stored.append(piece[found])
            return piece

        pieces = map(looked_at, fresh.ascending())
        if known is not None:
            with suppress(OSError):
                self._waiting.append(_Waiting(known[0], known[0].draft(pieces), known[1]))
        for _ in pieces:  # what is not written is looked at all the same
            pass
        positions = fresh.positions(np.unique(np.concatenate([*repeated, *stored]))) if repeated or stored else None
        if positions is None:
            return Suspects(np.empty(0, dtype=np.int64), is_stored=False)
        return Suspects(positions, is_stored=bool(stored))

    def _known(
        self, con: duckdb.DuckDBPyConnection, columns: Sequence[str], types: Sequence[str]
    ) -> tuple[HashRuns, int] | None:
        """Open the runs and bring them up to date with a version; None where the table lacks one of the columns."""
        newest = self._tables.span(self._table).until
        if newest and not set(columns) <= set(self._tables.schema(self._table, newest).names):
            return None
        said = json.dumps([list(columns), list(types), duckdb.__version__, self._erasures])
        identity = hashlib.sha256(said.encode()).hexdigest()[:32]
        folder = self._folder / hashlib.sha256(json.dumps(list(columns)).encode()).hexdigest()[:16]
        runs = HashRuns(folder, identity)
        if runs.until and runs.mark != self._mark(runs.until):
            runs.clear()
        span = TableSpan(self._table, runs.until, newest)
        if self._tables.added_sql(span) is not None:
            change = self._tables.change(span)
            with HashShelf(self._scratch) as came:
                self._hash(con, came, change.came.select(), columns, types)
                runs.publish(runs.draft(came.ascending()), span.until, self._mark(span.until) or "")
        return runs, newest

    def _hash(
        self,
        con: duckdb.DuckDBPyConnection,
        shelf: HashShelf,
        relation: str,
        columns: Sequence[str],
        types: Sequence[str],
        *,
        is_small: bool = False,
    ) -> None:
        """Put the hashes of a relation's rows on a shelf, in their order."""
        listed = ", ".join(f"{quote_name(name)}::{kind}" for name, kind in zip(columns, types, strict=True))
        whole = " AND ".join(f"{quote_name(name)} IS NOT NULL" for name in columns)
        query = f"SELECT hash({listed}) AS h, {whole} AS whole FROM ({relation})"
        for batch in fetched(con, query).to_batches() if is_small else con.sql(query).to_arrow_reader(_BATCH_ROWS):
            shelf.add(batch["h"].to_numpy(), batch["whole"].to_numpy(zero_copy_only=False))

    def _mark(self, version: int) -> str | None:
        return commit_mark(self._tables.location.child(self._table), version)

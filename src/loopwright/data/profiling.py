"""Opens the rows of a snapshot or a file for profiling, inferring a contract and looking for leakage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import quote_name
from loopwright.data.contract.contract import Contract
from loopwright.data.contract.words import PAYLOAD_TYPES, SYSTEM_COLUMNS
from loopwright.data.quality.opened import open_file

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from loopwright.data.dataset import Dataset
    from loopwright.data.lake import Lake
    from loopwright.data.versions.snapshot import Snapshot


@dataclass(frozen=True)
class Rows:
    """Rows under a name in a DuckDB connection.

    Attributes:
        name: What they are, for people.
        relation: SQL that may follow FROM.
        withheld: Columns of which nothing but counts is shown: payloads, and restricted values.
        key: The columns that identify a row.
        event_time: When a row's event happened.
        broken: Rows of a file that could not be taken apart, and are not among them.
        contract: What is declared of them; empty for a file.
    """

    name: str
    relation: str
    withheld: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    event_time: str | None = None
    broken: int = 0
    contract: Contract = field(default_factory=Contract)

    @property
    def entity(self) -> tuple[str, ...]:
        """The columns that say whose rows follow each other in time."""
        return tuple(name for name in self.key if name != self.event_time) if self.event_time in self.key else ()


def snapshot_rows(con: duckdb.DuckDBPyConnection, lake: Lake, dataset: Dataset, snapshot: Snapshot, name: str) -> Rows:
    """Open a snapshot; ``name`` is the view's. System columns are not part of it."""
    lake.attach(con, f"{name} whole", snapshot)
    hidden = ", ".join(map(quote_name, SYSTEM_COLUMNS))
    whole = quote_name(f"{name} whole")
    con.execute(f"CREATE OR REPLACE TEMP VIEW {quote_name(name)} AS SELECT * EXCLUDE ({hidden}) FROM {whole}")
    payloads = [item.name for item in dataset.contract.columns if item.type in PAYLOAD_TYPES]
    return Rows(
        str(snapshot.ref),
        quote_name(name),
        tuple(dict.fromkeys([*payloads, *dataset.contract.restricted()])),
        dataset.key,
        dataset.event_time,
        contract=dataset.contract,
    )


def file_rows(con: duckdb.DuckDBPyConnection, path: Path, folder: Path, name: str) -> Rows:
    """Open a file; what has to be read into another form lies in ``folder``."""
    broken = open_file(con, name, path, folder)
    return Rows(path.name, quote_name(name), broken=broken)

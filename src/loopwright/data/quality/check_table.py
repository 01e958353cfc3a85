"""Checks a table by a contract, without a lake: for the continuous integration of data, and before it is sent."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.core.clock import SystemClock
from loopwright.core.storage.duck import connect
from loopwright.data.contract.contract import Contract
from loopwright.data.quality.checking import Checking
from loopwright.data.quality.opening import opened
from loopwright.data.quality.past import Nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import duckdb

    from loopwright.core.clock import Clock
    from loopwright.data.contract.check import Check
    from loopwright.data.contract.column import Column
    from loopwright.data.quality.past import Past
    from loopwright.data.quality.report import CheckReport
    from loopwright.data.quality.spelled import Relation
    from loopwright.data.sources.frame import Frame


def check_table(
    data: Frame | str | Path,
    contract: Contract | Iterable[Column | Check],
    *,
    project: Path | str = ".",
    name: str | None = None,
    event_time: str | None = None,
    required: Iterable[str] = (),
    past: Past | None = None,
    stored_rows: int = 0,
    clock: Clock | None = None,
) -> CheckReport:
    """Check a file, files or a table in memory by a contract; nothing is stored.

    Args:
        data: A path, folder, glob or URL of table files; or a pandas, Polars or Arrow table, a dict of columns or a
            list of rows.
        contract: The rules.
        project: Where relative paths begin.
        name: What the report is called.
        event_time: The column by which ``fresh`` judges.
        required: Columns that must have a value whatever the contract says.
        past: What ``references``, ``volume`` and ``distribution`` compare with; a lake gives one.
        stored_rows: How many rows the dataset has without these.
        clock: Says what time it is.

    Raises:
        ContractError: If the contract cannot be checked against the data.
        SourceError: If there is no data, or it cannot be read.

    >>> from loopwright.data.contract.column import column
    >>> report = check_table({"km": [1.0, -2.0, 3.0]}, [column("km", "float", at_least=0)])
    >>> report.has_passed, report.rows_failing("at_least(km)")
    (False, [1])
    """

    def table(con: duckdb.DuckDBPyConnection, folder: Path) -> Relation:
        return opened(con, data, Path(project), folder)

    return check_relation(
        table,
        Contract.of(contract),
        name=name or (str(data) if isinstance(data, (str, Path)) else "table"),
        event_time=event_time,
        required=required,
        past=past or Nothing(),
        stored_rows=stored_rows,
        clock=clock or SystemClock(),
    )


def check_relation(
    table: Callable[[duckdb.DuckDBPyConnection, Path], Relation],
    contract: Contract,
    *,
    name: str,
    event_time: str | None,
    required: Iterable[str],
    past: Past,
    stored_rows: int,
    clock: Clock,
) -> CheckReport:
    """Check what ``table`` opens in a connection, with a folder for what has to be written down meanwhile."""
    started = clock.monotonic()
    with tempfile.TemporaryDirectory(prefix="loopwright-check-") as folder, connect(temp_folder=Path(folder)) as con:
        checking = Checking(
            con,
            contract,
            past=past,
            now=clock.now(),
            event_time=event_time,
            required=tuple(required),
            stored_rows=stored_rows,
        )
        report = checking.run(name, table(con, Path(folder)))
    return replace(report, seconds=clock.monotonic() - started)

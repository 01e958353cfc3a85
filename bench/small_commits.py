"""Many small commits: how long one takes, alone and after thousands, and how reads fare before and after compaction.

Rows are pushed to a dataset 1,000 at a time, with and without a key, each push durable when it returns. Beside them
delta-rs appends the same rows, bare, as it is used by default. Reads are an aggregate and the search for one key, over
the newest snapshot: as it is (pushes merge small files by themselves), and as it was without any merging.

``--commits 10000`` is the claim, and takes about ten minutes; ``cpu`` is processor time and hardly feels other work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from ingest import CONTRACT, order

import loopwright as lw
from loopwright.core.storage import table_compaction
from loopwright.core.storage.duck import connect
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.data.lake import Lake

ROWS = 1_000
SAMPLE = 30  # commits whose median is given


def pushes(project: Path, commits: int, *, key: str | None, merging: bool = True) -> dict[str, object]:
    """Push, and read what is there at the end."""
    if not merging:
        table_compaction._STEPS = ()  # noqa: SLF001 - what a table would be without
    dataset = lw.Loop("bench").dataset("pushed", source=lw.push(), event_time="placed_at", key=key, contract=CONTRACT)
    with Workspace.open(project) as workspace:
        lake = workspace.data
        found = timed(commits, lambda rows: lake.push(dataset, rows))
        found["reads"] = reads(lake, commits * ROWS)
        if merging:
            at = time.perf_counter()
            lake.compact("pushed")
            found["compact_s"] = time.perf_counter() - at
            found["reads_compacted"] = reads(lake, commits * ROWS)
        return found


def bare(project: Path, commits: int) -> dict[str, object]:
    """Append with delta-rs alone."""
    place = str(project / "bare")

    def append(rows: list[dict[str, object]]) -> None:
        write_deltalake(place, pa.Table.from_pylist(rows), mode="append")

    found = timed(commits, append)
    found["files"] = len(DeltaTable(place).file_uris())
    return found


def timed(commits: int, work: Callable[[list[dict[str, object]]], object]) -> dict[str, object]:
    """Commit again and again; give the medians around the 10th, and around a tenth and the whole of all commits."""
    wall, cpu = [], []
    for number in range(commits):
        rows = [order(number * ROWS + index) for index in range(ROWS)]
        at, busy = time.perf_counter(), time.process_time()
        work(rows)
        wall.append(1_000 * (time.perf_counter() - at))
        cpu.append(1_000 * (time.process_time() - busy))
    found: dict[str, object] = {"worst_ms": max(wall[3:])}
    for place in sorted({min(10, commits), max(commits // 10, 1), commits}):
        part = slice(max(place - SAMPLE, 3), max(place, 8))
        found[f"{place}"] = {"ms": statistics.median(wall[part]), "cpu_ms": statistics.median(cpu[part])}
    return found


def reads(lake: Lake, rows: int) -> dict[str, float]:
    """Time an aggregate and the search for one key, in ms; the least of three."""
    snapshot = lake.snapshot("pushed")
    sql = lake.scan_sql(snapshot)
    queries = {
        "aggregate_ms": f"SELECT city, avg(minutes), count(*) FROM ({sql}) GROUP BY city",
        "key_ms": f"SELECT * FROM ({sql}) WHERE order_id = {rows // 2}",
    }
    found: dict[str, float] = {"files": sql.count(".parquet")}
    with connect() as con:
        for name, query in queries.items():
            times = []
            for _ in range(3):
                at = time.perf_counter()
                con.execute(query).fetchall()
                times.append(1_000 * (time.perf_counter() - at))
            found[name] = min(times)
    return found


PARTS: dict[str, Callable[[Path, int], dict[str, object]]] = {
    "push": lambda project, commits: pushes(project, commits, key=None),
    "push with a key": lambda project, commits: pushes(project, commits, key="order_id"),
    "push, never merging": lambda project, commits: pushes(project, commits, key=None, merging=False),
    "delta-rs, bare": bare,
}


def main() -> None:
    """Run every part in a process of its own, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--only", choices=PARTS, help="run one part")
    parser.add_argument("--project", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.project:
        print(json.dumps(PARTS[chosen.only](chosen.project, chosen.commits)))
        return
    found = {}
    for part in [chosen.only] if chosen.only else PARTS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--only", part, "--commits", str(chosen.commits), "--project", folder]
            found[part] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            print(f"{part}: {found[part]}", file=sys.stderr, flush=True)
    if chosen.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{chosen.commits:,} commits of {ROWS:,} rows")
    for part, one in found.items():
        print(f"  {part}: slowest {one.pop('worst_ms'):.0f} ms")
        for name, value in one.items():
            shown = value if not isinstance(value, dict) else ", ".join(f"{k} {v:.1f}" for k, v in value.items())
            print(f"    {name:>16}  {shown if isinstance(shown, str) else f'{shown:.2f}'}")


if __name__ == "__main__":
    main()

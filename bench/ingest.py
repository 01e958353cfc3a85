"""How fast rows come in: our ingest beside a bare DuckDB copy of the same file, small pushes, and a folder of images.

    python bench/ingest.py                  # 1,000,000 rows x 15 columns
    python bench/ingest.py --rows 100000 --images 2000 --json

DuckDB's part of the comparison reads the CSV file and writes Parquet, no more. Ours reads the same file, judges every
cell by a contract of ten columns, keeps out what breaks it with a reason, commits to a versioned table exactly once
under a kill at any moment, and records the file's digest; with a key it also looks for rows that are stored already.
Each part runs in a process of its own, so that its processor time and its peak memory are its own; the processor time
is that of all threads, and is what to compare on a machine that does other work.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
from PIL import Image

import loopwright as lw
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.data.lake import Lake

CITIES = ["Oslo", "Bergen", "Trondheim", "Stavanger"]
PUSHES, PUSH_ROWS = 30, 1_000
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
CONTRACT = [
    lw.column("order_id", "int"),
    lw.column("distance_km", "float", between=(0, 200)),
    lw.column("city", "category", among=CITIES),
    lw.column("placed_at", "timestamp"),
    lw.column("minutes", "float", at_least=0, required=False),
    lw.column("courier_id", "int"),
    lw.column("price", "float"),
    lw.column("weight_kg", "float"),
    lw.column("express", "bool"),
    lw.column("note", "string", matches="note [0-9]+"),
    lw.column("customer_id", "int"),
    lw.column("rating", "float", between=(0, 100)),
    lw.column("items", "int", between=(0, 12)),
    lw.column("payment", "category", among=["card", "cash", "invoice"]),
    lw.column("total", "float", at_least=0),
]


def write_csv(path: Path, rows: int) -> None:
    """Write the orders; the same for the same number of rows."""
    with duckdb.connect() as con:
        con.execute(
            "COPY (SELECT i AS order_id, (hash(i) % 200000 / 1000)::DECIMAL(8, 3) AS distance_km, "
            f"{CITIES}[1 + i % 4] AS city, TIMESTAMPTZ '2026-01-01T00:00:00Z' + to_seconds(i) AS placed_at, "
            "(hash(i + 1) % 60000 / 1000)::DECIMAL(8, 3) AS minutes, i % 5000 AS courier_id, "
            "hash(i + 2) / 2e19 AS price, hash(i + 3) / 2e18 AS weight_kg, hash(i + 4) % 2 = 0 AS express, "
            "'note ' || (i % 1000) AS note, hash(i + 5) % 100000 AS customer_id, "
            "(hash(i + 6) % 1000 / 10)::DECIMAL(8, 1) AS rating, hash(i + 7) % 12 AS items, "
            "['card', 'cash', 'invoice'][1 + (hash(i + 8) % 3)::INT] AS payment, "
            "(hash(i + 9) % 100000 / 100)::DECIMAL(8, 2) AS total "
            f"FROM range({rows}) t(i)) TO '{path}' (HEADER)"
        )


def write_images(folder: Path, count: int) -> None:
    """Write small PNG files of noise, and a label table."""
    (folder / "images").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for number in range(count):
        buffer = io.BytesIO()
        Image.fromarray(noise.integers(0, 255, (28, 28), dtype=np.uint8)).save(buffer, "PNG")
        (folder / f"images/{number:06d}.png").write_bytes(buffer.getvalue())
    labels = "".join(f"{number:06d}.png,{number % 10}\n" for number in range(count))
    (folder / "labels.csv").write_text("file,label\n" + labels)


def copied(project: Path) -> dict[str, float]:
    """Copy the file with DuckDB alone."""
    with duckdb.connect(config={"threads": 2}) as con:
        source, target = project / "in/orders.csv", project / "orders.parquet"
        return measured(lambda: con.execute(f"COPY (SELECT * FROM read_csv('{source}')) TO '{target}'"))


def ingested(project: Path, *, key: str | None = None) -> dict[str, float]:
    """Ingest the file."""
    dataset = lw.Loop("bench").dataset(
        "orders", source=lw.files("in/*.csv"), event_time="placed_at", key=key, contract=CONTRACT
    )
    return in_lake(project, lambda lake: lake.ingest(dataset))


def pushed(project: Path, *, key: str | None = None) -> dict[str, float]:
    """Push small batches, one after the other; the first three, which open everything, are not counted."""
    dataset = lw.Loop("bench").dataset("pushed", source=lw.push(), event_time="placed_at", key=key, contract=CONTRACT)
    wall, cpu = [], []
    with Workspace.open(project) as workspace:
        for number in range(PUSHES + 3):
            rows = [order(number * PUSH_ROWS + index) for index in range(PUSH_ROWS)]
            at, busy = time.perf_counter(), time.process_time()
            workspace.data.push(dataset, rows)
            wall.append(1_000 * (time.perf_counter() - at))
            cpu.append(1_000 * (time.process_time() - busy))
    return {"ms_median": statistics.median(wall[3:]), "ms_least": min(wall[3:]), "cpu_ms": statistics.median(cpu[3:])}


def order(number: int) -> dict[str, object]:
    """One order as a client would push it."""
    return {
        "order_id": number,
        "distance_km": 1.5,
        "city": CITIES[number % 4],
        "placed_at": (FIRST + timedelta(seconds=number)).isoformat(),
        "minutes": 3.0,
        "courier_id": number % 5000,
        "price": 0.1,
        "weight_kg": 0.2,
        "express": True,
        "note": f"note {number % 1000}",
        "customer_id": number % 100_000,
        "rating": 0.5 * (number % 200),
        "items": number % 12,
        "payment": "card",
        "total": 12.5,
    }


def images(project: Path) -> dict[str, float]:
    """Ingest the folder of images with its labels, then ask whether there is anything new."""
    dataset = lw.Loop("bench").dataset(
        "digits",
        source=lw.files("images/*.png", labels="labels.csv"),
        contract=[lw.column("label", "int", between=(0, 9))],
    )
    found = in_lake(project, lambda lake: lake.ingest(dataset))
    again = in_lake(project, lambda lake: lake.has_new(dataset))
    return found | {"has_new_seconds": again["seconds"]}


def in_lake(project: Path, work: Callable[[Lake], object]) -> dict[str, float]:
    """Measure some work on the lake of a project."""
    with Workspace.open(project) as workspace:
        return measured(lambda: work(workspace.data))


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Run some work; give its wall and processor seconds and the process's peak memory."""
    at, busy = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - at, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak}


PARTS: dict[str, Callable[[Path], dict[str, float]]] = {
    "duckdb": copied,
    "ingest": ingested,
    "ingest with a key": lambda project: ingested(project, key="order_id"),
    "push": pushed,
    "push with a key": lambda project: pushed(project, key="order_id"),
    "images": images,
}


def child(part: str, project: Path) -> dict[str, float]:
    """Measure a part in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--project", str(project)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(f"{part}: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items()), file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Run every part in its own process, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1, help="of the copy and the ingests; medians are given")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--project", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        print(json.dumps(PARTS[chosen.part](chosen.project)))
        return
    found: dict[str, dict[str, float]] = {}
    more: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_csv(folder / "orders.csv", chosen.rows)
        write_images(folder / "images", chosen.images)
        for part in PARTS:
            project = folder / "images" if part == "images" else folder / part.replace(" ", "-")
            (project / "in").mkdir(parents=True, exist_ok=True)
            (project / "in/orders.csv").hardlink_to(folder / "orders.csv")
            found[part] = child(part, project)
        for number in range(1, chosen.rounds):
            for part in ("duckdb", "ingest", "ingest with a key"):
                project = folder / f"{part.replace(' ', '-')}-{number}"
                (project / "in").mkdir(parents=True)
                (project / "in/orders.csv").hardlink_to(folder / "orders.csv")
                more.setdefault(part, [found[part]]).append(child(part, project))
                shutil.rmtree(project)
    found |= {
        part: {name: statistics.median(one[name] for one in all_) for name in all_[0]} for part, all_ in more.items()
    }
    if chosen.json:
        print(json.dumps(found, indent=2))
        return
    bare = found["duckdb"]
    print(f"{chosen.rows:,} rows x 15 columns of CSV")
    for part in ("duckdb", "ingest", "ingest with a key"):
        one = found[part]
        print(
            f"  {part:18} {one['seconds']:6.2f} s wall {one['cpu_seconds']:6.2f} s processor "
            f"{chosen.rows / one['cpu_seconds']:12,.0f} rows/s of it {one['peak_mb']:6.0f} MB peak  "
            f"{bare['seconds'] / one['seconds']:.2f} of DuckDB by wall, "
            f"{bare['cpu_seconds'] / one['cpu_seconds']:.2f} by processor"
        )
    print(f"pushes of {PUSH_ROWS:,} rows, {PUSHES} of each")
    for part in ("push", "push with a key"):
        one = found[part]
        print(
            f"  {part:18} {one['ms_median']:6.1f} ms median {one['ms_least']:6.1f} ms least "
            f"{one['cpu_ms']:6.1f} ms processor"
        )
    one = found["images"]
    print(f"{chosen.images:,} PNG files of 28 x 28 with a label table")
    print(
        f"  {'images':18} {one['seconds']:6.2f} s wall {one['cpu_seconds']:6.2f} s processor {one['peak_mb']:6.0f} MB "
        f"peak  {one['has_new_seconds']:.2f} s to find nothing new"
    )


if __name__ == "__main__":
    main()

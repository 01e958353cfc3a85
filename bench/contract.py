"""Time a contract of 20 checks on a million rows against Great Expectations with the same suite, and compare the rows.

    python bench/contract.py                    # 1,000,000 rows, three rounds
    python bench/contract.py --rows 100000 --json
    python bench/contract.py --install-peers    # makes bench/.envs/great_expectations first

The suite is written once, by Great Expectations, and imported here. Each side runs in a process of its own, in turn:

- *checks alone*: Great Expectations with the table in memory as a pandas frame, ours from the Parquet file, each called
  twice in its process, the second call counted. Great Expectations is asked for the failing rows (``COMPLETE``), which
  ours gives too, and once more for a summary only (``SUMMARY``).
- *from process start to verdict*: interpreter, imports, reading, checks.

The processor time is that of all threads of the process, and is what to compare on a machine that does other work. The
numbers of the failing rows are compared one by one. Of repeated values Great Expectations names every row and ours all
but the first, so that the first ones are taken out before the comparison.
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

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
PEER = HERE / ".envs" / "great_expectations"
TYPES = {
    "order_id": "int", "distance_km": "float", "city": "category", "note": "string", "code": "string",
    "minutes": "float", "status": "category", "placed_at": "timestamp", "delivered_at": "timestamp", "price": "float",
    "courier_id": "int", "casual": "int", "registered": "int",
}  # fmt: skip

PEER_SCRIPT = """
import json, resource, sys, time, warnings
warnings.filterwarnings("ignore")
started = time.perf_counter()
import os
os.environ["GX_ANALYTICS_ENABLED"] = "False"
import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd

path, out, mode = sys.argv[1:4]
context = gx.get_context(mode="ephemeral")
suite = context.suites.add(gx.ExpectationSuite("orders"))
for one in [
    gxe.ExpectColumnValuesToNotBeNull(column="order_id"),
    gxe.ExpectColumnValuesToBeUnique(column="order_id"),
    gxe.ExpectColumnValuesToBeBetween(column="distance_km", min_value=0, max_value=200),
    gxe.ExpectColumnValuesToNotBeNull(column="distance_km"),
    gxe.ExpectColumnValuesToBeInSet(column="city", value_set=["Oslo", "Bergen", "Trondheim", "Stavanger"]),
    gxe.ExpectColumnValuesToMatchRegex(column="note", regex="^note [0-9]+$"),
    gxe.ExpectColumnValueLengthsToEqual(column="code", value=8),
    gxe.ExpectColumnValuesToBeBetween(column="minutes", min_value=0, max_value=600, strict_max=True),
    gxe.ExpectColumnValuesToNotBeInSet(column="status", value_set=["lost", "void"]),
    gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A="delivered_at", column_B="placed_at", or_equal=True, ignore_row_if="either_value_is_missing"),
    gxe.ExpectColumnValuesToBeIncreasing(column="placed_at"),
    gxe.ExpectMulticolumnSumToEqual(column_list=["casual", "registered"], sum_total=100),
    gxe.ExpectColumnMeanToBeBetween(column="distance_km", min_value=90, max_value=110),
    gxe.ExpectColumnStdevToBeBetween(column="price", min_value=0, max_value=100),
    gxe.ExpectColumnMaxToBeBetween(column="price", max_value=1000),
    gxe.ExpectColumnMinToBeBetween(column="price", min_value=0),
    gxe.ExpectColumnMedianToBeBetween(column="minutes", min_value=200, max_value=400),
    gxe.ExpectColumnDistinctValuesToContainSet(column="city", value_set=["Oslo", "Bergen"]),
    gxe.ExpectColumnUniqueValueCountToBeBetween(column="courier_id", min_value=1000, max_value=10000),
    gxe.ExpectTableRowCountToBeBetween(min_value=1000),
]:
    suite.add_expectation(one)
frame = pd.read_parquet(path)
source = context.data_sources.add_pandas("memory")
batch = source.add_dataframe_asset("orders").add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
seconds, busy = [], []
for _ in range(1 if mode == "start" else 2):
    at, cpu = time.perf_counter(), time.process_time()
    shown = "SUMMARY" if mode == "summary" else "COMPLETE"
    result = batch.validate(suite, result_format={"result_format": shown})
    seconds.append(time.perf_counter() - at)
    busy.append(time.process_time() - cpu)
used = resource.getrusage(resource.RUSAGE_SELF)
found = {
    "seconds": seconds[-1], "cpu": busy[-1], "whole_cpu": used.ru_utime + used.ru_stime, "mb": used.ru_maxrss / 1024,
    "version": gx.__version__,
}
if mode == "rows":
    json.dump(suite.to_json_dict(), open(out + ".suite", "w"), default=str)
    found["rows"] = [
        [one.expectation_config.type, one.expectation_config.kwargs.get("column"), bool(one.success),
         one.result.get("unexpected_index_list")]
        for one in result.results
    ]
json.dump(found, open(out, "w"))
"""

OUR_SCRIPT = """
import json, resource, sys, time
path, out, mode, suite = sys.argv[1:5]
import loopwright as lw
types = json.loads(sys.argv[5])
contract = lw.import_contract(open(suite).read(), types=types).contract
seconds, busy = [], []
for _ in range(1 if mode == "start" else 2):
    at, cpu = time.perf_counter(), time.process_time()
    report = lw.check_table(path, contract)
    seconds.append(time.perf_counter() - at)
    busy.append(time.process_time() - cpu)
used = resource.getrusage(resource.RUSAGE_SELF)
found = {"seconds": seconds[-1], "cpu": busy[-1], "whole_cpu": used.ru_utime + used.ru_stime}
found["mb"] = used.ru_maxrss / 1024
if mode == "rows":
    found["rows"] = {one.check: [one.has_passed, report.rows_failing(one.check)] for one in report.results}
json.dump(found, open(out, "w"))
"""

SAME = {
    ("expect_column_values_to_be_unique", "order_id"): "unique(order_id)",
    ("expect_column_values_to_not_be_null", "order_id"): "required(order_id)",
    ("expect_column_values_to_be_between", "distance_km"): "between(distance_km)",
    ("expect_column_values_to_not_be_null", "distance_km"): "required(distance_km)",
    ("expect_column_values_to_be_in_set", "city"): "among(city)",
    ("expect_column_values_to_match_regex", "note"): "matches(note)",
    ("expect_column_value_lengths_to_equal", "code"): "length(code)",
    ("expect_column_values_to_be_between", "minutes"): ("at_least(minutes)", "below(minutes)"),
    ("expect_column_values_to_not_be_in_set", "status"): "not_among(status)",
    ("expect_column_pair_values_a_to_be_greater_than_b", None): "expect(delivered_at >= placed_at)",
    ("expect_column_values_to_be_increasing", "placed_at"): "increasing(placed_at)",
    ("expect_multicolumn_sum_to_equal", None): "expect(casual + registered = 100)",
    ("expect_column_mean_to_be_between", "distance_km"): "mean(distance_km)",
    ("expect_column_stdev_to_be_between", "price"): "stdev(price)",
    ("expect_column_max_to_be_between", "price"): "max(price)",
    ("expect_column_min_to_be_between", "price"): "min(price)",
    ("expect_column_median_to_be_between", "minutes"): "median(minutes)",
    ("expect_column_distinct_values_to_contain_set", "city"): "distinct_values(city contain)",
    ("expect_column_unique_value_count_to_be_between", "courier_id"): "distinct_count(courier_id)",
    ("expect_table_row_count_to_be_between", None): "row_count",
}


def write_orders(path: Path, rows: int, seed: int = 0) -> None:
    """Write orders, a few in a thousand of which break each rule; no row breaks two."""
    rng = np.random.default_rng(seed)
    number = np.arange(rows)
    kind = np.where(rng.random(rows) < 0.03, rng.integers(0, 9, rows), -1)
    kind[(number == 0) | (number == rows - 1) | (np.roll(kind, 1) >= 0)] = -1  # never two bad rows in a row

    alone = (kind < 0) & (np.roll(kind, -1) != 3)  # the row before one that repeats it stays good

    def broken(which: int, good: np.ndarray, bad: object) -> np.ndarray:
        return np.where(kind == which, bad, good)  # type: ignore[call-overload,no-any-return]

    distance = broken(0, rng.uniform(0, 200, rows), 250.0)
    placed = 1_767_225_600_000_000 + number * 1_000_000 - np.where(kind == 1, 5_500_000, 0)
    delivered = placed + np.where(kind == 2, -5_000_000, 600_000_000)
    casual = rng.integers(0, 100, rows)
    identity = np.where(kind == 3, np.roll(number, 1), number)
    notes = np.char.add("note ", (number % 1000).astype(str))
    table = pa.table(
        {
            "order_id": identity,
            "distance_km": pa.array(distance, mask=kind == 4),
            "city": broken(5, np.array(["Oslo", "Bergen", "Trondheim", "Stavanger"])[number % 4], "oslo"),
            "note": broken(6, notes, "no note"),
            "code": broken(7, np.char.zfill((number % 10**8).astype(str), 8), "short"),
            "minutes": broken(8, rng.uniform(0, 600, rows), 600.0),
            "status": np.array(["done", "open", "lost"])[np.where(alone & (number % 997 == 5), 2, number % 2)],
            "placed_at": pa.array(placed, pa.timestamp("us")),
            "delivered_at": pa.array(delivered, pa.timestamp("us")),
            "price": rng.gamma(2.0, 10.0, rows),
            "courier_id": number % 5000,
            "casual": casual,
            "registered": np.where(alone & (number % 1009 == 7), 101, 100) - casual,
        }
    )
    pq.write_table(table, path)


def run(python: str, script: str, *arguments: str) -> dict[str, object]:
    """Run a script in a process of its own; give what it wrote, and the wall time of the process."""
    at = time.perf_counter()
    subprocess.run([python, "-c", script, *arguments], check=True, capture_output=True)
    seconds = time.perf_counter() - at
    found: dict[str, object] = json.loads(Path(arguments[1]).read_text())
    return found | {"whole_seconds": seconds}


def compared(peer: list[list[object]], ours: dict[str, list[object]], path: Path) -> list[str]:
    """Compare verdicts and failing rows, check by check; give what differs."""
    identities = pq.read_table(path, columns=["order_id"])["order_id"].to_numpy()
    _, first = np.unique(identities, return_index=True)
    firsts = set(first.tolist())
    differences = []
    for type_, column, has_passed, rows in peer:
        label = SAME[(str(type_), None if column is None else str(column))]
        labels = (label,) if isinstance(label, str) else label
        mine = {row for one in labels for row in ours[one][1]}  # type: ignore[attr-defined]
        theirs = set(rows or [])  # type: ignore[call-overload]
        if type_ == "expect_column_values_to_be_unique":
            theirs -= firsts
        if theirs != mine or has_passed != all(ours[one][0] for one in labels):
            differences.append(f"{type_}({column}): {len(theirs)} rows there, {len(mine)} here")
    return differences


def main() -> None:
    """Run both sides in turn, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--install-peers", action="store_true", help="make bench/.envs/great_expectations first")
    chosen = parser.parse_args()
    if chosen.install_peers:
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        packages = ["great_expectations", "pandera[io]", "pyarrow"]
        subprocess.run([str(PEER / "bin/pip"), "install", "-q", *packages], check=True)
    python = str(PEER / "bin/python")
    if not Path(python).exists():
        print("Great Expectations is not there: run with --install-peers.")
        return
    with tempfile.TemporaryDirectory() as name:
        path, out = Path(name) / "orders.parquet", str(Path(name) / "out.json")
        write_orders(path, chosen.rows)
        peer = run(python, PEER_SCRIPT, str(path), out, "rows")
        suite, types = out + ".suite", json.dumps(TYPES)
        ours = run(sys.executable, OUR_SCRIPT, str(path), out, "rows", suite, types)
        differences = compared(peer.pop("rows"), ours.pop("rows"), path)  # type: ignore[arg-type]
        figures: dict[str, list[dict[str, object]]] = {
            "peer": [],
            "summary": [],
            "peer start": [],
            "ours": [],
            "ours start": [],
        }
        for _ in range(chosen.rounds):
            figures["peer"].append(run(python, PEER_SCRIPT, str(path), out, "again"))
            figures["ours"].append(run(sys.executable, OUR_SCRIPT, str(path), out, "again", suite, types))
            figures["summary"].append(run(python, PEER_SCRIPT, str(path), out, "summary"))
            figures["peer start"].append(run(python, PEER_SCRIPT, str(path), out, "start"))
            figures["ours start"].append(run(sys.executable, OUR_SCRIPT, str(path), out, "start", suite, types))
    middle = {
        side: {key: statistics.median(float(one[key]) for one in found) for key in found[0] if key != "version"}  # type: ignore[arg-type]
        for side, found in figures.items()
    }
    if chosen.json:
        print(json.dumps({"figures": middle, "differences": differences, "version": peer["version"]}, indent=2))
        return
    print(f"{chosen.rows:,} rows, 20 checks; Great Expectations {peer['version']}; medians of {chosen.rounds} rounds")
    print(f"  the same rows and verdicts: {'yes, all 20' if not differences else ''}")
    for line in differences:
        print(f"    {line}")
    for title, key, cpu_key, sides in (
        ("checks alone", "seconds", "cpu", ("ours", "peer", "summary")),
        ("process start to verdict", "whole_seconds", "whole_cpu", ("ours start", "peer start")),
    ):
        print(f"  {title}")
        mine = middle[sides[0]]
        for side in sides:
            one = middle[side]
            print(
                f"    {side:12} {one[key]:7.2f} s wall {one[cpu_key]:7.2f} s processor {one['mb']:6.0f} MB peak   "
                f"{one[key] / mine[key]:6.1f} x wall, {one[cpu_key] / mine[cpu_key]:6.1f} x processor"
            )


if __name__ == "__main__":
    main()

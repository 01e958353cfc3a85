# ruff: noqa: PLC0415, N806 - each role imports what it needs; X is scikit-learn's name
"""Batch scoring: rows per second of `score`, of the bare compiled model, memory, and rows after three kills.

    python bench/scoring.py                       # 1M rows x 20 columns, 2 workers
    python bench/scoring.py --rows 10000000

The same histogram gradient boosting regressor (100 trees) on 20 floats, compiled to ONNX, over the same Parquet file,
with the same number of processes, each with one thread. Both sides read the file, compute and write Parquet or the
lake. The bare side has what the model needs and nothing else: processes that take row groups in turn, Arrow batches of
65,536 rows to one float32 matrix each, the graph, and a Parquet file with the row number and the prediction. Ours is
the whole command: the job and its parts on record, requests' fields checked, features assembled, version, moment and
job with each row, commits in Delta tables under transactions, fsync; its workers import and load the version too, as
bare ones do. Rounds alternate. ``cpu`` is processor time of the process and its children; memory is the largest sum of
resident sizes seen, sampled every 50 ms (pages that processes share are counted once for each).

Then one job is killed three times with its workers, at a quarter, a half and three quarters of its parts, and started
again each time; the table is asked whether each row is there exactly once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = [f"x{number}" for number in range(20)]
GROUP_ROWS = 131_072
BATCH_ROWS = 65_536


def prepare(folder: Path, rows: int) -> None:
    """Train, register and promote the model; write the rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from sklearn.ensemble import HistGradientBoostingRegressor

    from loopwright.core.ref import Ref
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.features.assembly import FeatureAssembly, assembly_to_bytes
    from loopwright.features.columns import model_input
    from loopwright.features.field import Field
    from loopwright.features.request import RequestField
    from loopwright.registry.alias import Aliases, Override
    from loopwright.registry.candidate import Candidate
    from loopwright.registry.registry import Registry
    from loopwright.training.estimators.choice import save_model

    fields = tuple(Field(name, "float64") for name in NAMES)
    random = np.random.default_rng(0)
    data = {name: random.normal(size=20_000) for name in NAMES}
    X = model_input(data, fields)
    model = HistGradientBoostingRegressor(max_iter=100, random_state=0).fit(X, X["x0"] * 3 + X["x1"] ** 2 + X["x2"])
    stores = open_stores(Settings.load(folder, environ={}))
    (folder / "run").mkdir()
    version = Registry(stores).register(
        Candidate(
            model="eta",
            run_id="run",
            model_file=save_model(model, folder / "run", trust=True),
            model_path=folder / "run",
            fields=fields,
            assembly=assembly_to_bytes(FeatureAssembly(tuple(RequestField(n, "float") for n in NAMES), fields)),
            training_set=Ref("training_set", "bench"),
            training_rows=pa.table(data).slice(0, 2_000),
        )
    )
    stores.blobs.fetch(version.compiled.digest, folder / "model.onnx")
    Aliases(stores).move("eta", "champion", 1, expected=None, by="bench", override=Override("bench", "a benchmark"))
    stores.close()
    with pq.ParquetWriter(folder / "rows.parquet", pa.schema([(name, pa.float64()) for name in NAMES])) as writer:
        for first in range(0, rows, GROUP_ROWS):
            count = min(GROUP_ROWS, rows - first)
            writer.write_table(pa.table({name: random.normal(size=count) for name in NAMES}), row_group_size=count)


def run_ours(folder: Path, workers: int, name: str) -> None:
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.data.lake import Lake
    from loopwright.serving.scoring.destination import LakeTable
    from loopwright.serving.scoring.job import ScoreRequest
    from loopwright.serving.scoring.scorer import Scorer
    from loopwright.serving.scoring.source import FileRows

    stores = open_stores(Settings.load(folder, environ={}))
    request = ScoreRequest("eta", FileRows("rows.parquet"), LakeTable(name))

    def show(progress) -> None:
        print(progress.job.parts_done, progress.job.parts, flush=True)

    job = Scorer(stores, Lake(stores), workers=workers).score(request, on_progress=show).job
    print(json.dumps({"scored": job.scored, "rejected": job.rejected}), flush=True)


def run_bare(folder: Path, workers: int, name: str) -> None:
    """Read, compute and write in processes of their own, which take row groups in turn."""
    out = folder / name
    out.mkdir()
    command = [sys.executable, __file__, "--role", "bare-worker", "--folder", str(folder), "--name", name]
    children = [
        subprocess.Popen([*command, "--workers", str(workers), "--place", str(place)]) for place in range(workers)
    ]
    assert [child.wait() for child in children] == [0] * workers


def run_bare_worker(folder: Path, workers: int, name: str, place: int) -> None:
    import numpy as np
    import onnxruntime
    import pyarrow as pa
    import pyarrow.parquet as pq

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    given = session.get_inputs()[0]
    kind = np.float64 if "double" in given.type else np.float32
    with pq.ParquetFile(folder / "rows.parquet") as file:
        groups = file.metadata.num_row_groups
        for group in range(place, groups, workers):
            first, rows, answers = group * GROUP_ROWS, 0, []
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], use_threads=False):
                matrix = np.empty((batch.num_rows, len(NAMES)), dtype=kind)
                for number, column in enumerate(batch.columns):
                    matrix[:, number] = column.to_numpy()
                answers.append(session.run(None, {given.name: matrix})[0].reshape(-1))
                rows += batch.num_rows
            table = pa.table({"row": np.arange(first, first + rows), "prediction": np.concatenate(answers)})
            pq.write_table(table, folder / name / f"part-{group:05d}.parquet")


def measured(role: str, folder: Path, workers: int, name: str) -> dict[str, float]:
    """Run one side in a process of its own; return seconds, processor seconds, and the largest memory."""
    import psutil

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    process = subprocess.Popen(command_of(role, folder, workers, name), stdout=subprocess.DEVNULL)
    largest = most = 0
    seen = psutil.Process(process.pid)
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            sizes = [seen.memory_info().rss, *(child.memory_info().rss for child in seen.children(recursive=True))]
            largest, most = max(largest, sum(sizes)), max(most, *sizes)
        time.sleep(0.05)
    assert process.returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": time.monotonic() - began, "cpu_s": cpu, "sum_mb": largest / 1e6, "one_mb": most / 1e6}


def command_of(role: str, folder: Path, workers: int, name: str) -> list[str]:
    made = [sys.executable, __file__, "--role", role, "--folder", str(folder)]
    return [*made, "--workers", str(workers), "--name", name]


def killed(folder: Path, workers: int, rows: int) -> None:
    """Kill a job and its workers at a quarter, a half and three quarters; let it end, and count its rows."""
    import psutil

    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores

    for quarter in (1, 2, 3):
        process = subprocess.Popen(
            command_of("ours", folder, workers, "killed"), stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        at = ""
        for line in process.stdout:
            done, _, parts = line.partition(" ")
            at = line.strip()
            if int(done) >= max(1, int(parts) * quarter // 4):
                break
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for one in family:
            with contextlib.suppress(psutil.Error):
                os.kill(one.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        print(f"killed with {len(family) - 1} workers after {at.replace(' ', ' of ')} parts")
    subprocess.run(command_of("ours", folder, workers, "killed"), check=True, stdout=subprocess.DEVNULL)
    stores = open_stores(Settings.load(folder, environ={}))
    found = stores.tables.read("scores/killed", columns=["row"])["row"].to_numpy()
    once = len(found) == rows and len(set(found.tolist())) == rows and found.min() == 0 and found.max() == rows - 1
    print(f"after three kills: {len(found):,} rows, each of {rows:,} exactly once: {once}")
    stores.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--role", choices=["ours", "bare", "bare-worker"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--place", type=int)
    given = parser.parse_args()
    if given.role == "bare-worker":
        run_bare_worker(given.folder, given.workers, given.name, given.place)
    elif given.role:
        (run_ours if given.role == "ours" else run_bare)(given.folder, given.workers, given.name)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), given)


def compare(folder: Path, given: argparse.Namespace) -> None:
    prepare(folder, given.rows)
    size = (folder / "rows.parquet").stat().st_size / 1e6
    load = os.getloadavg()[0]
    print(f"{given.rows:,} rows x {len(NAMES)} floats ({size:.0f} MB), {given.workers} workers, load {load:.1f}")
    found: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
    for number in range(given.rounds):
        for role in ("ours", "bare") if number % 2 else ("bare", "ours"):
            name = f"{role}{number}"
            found[role].append(measured(role, folder, given.workers, name))
            shutil.rmtree(folder / name, ignore_errors=True)
    for role, rounds in found.items():
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        speed, per_core = given.rows / middle["wall_s"], given.rows / middle["cpu_s"]
        print(
            f"{role}: {middle['wall_s']:6.1f} s wall {middle['cpu_s']:6.1f} s cpu  {speed:10,.0f} rows/s  "
            f"{per_core:10,.0f} rows per cpu second  {middle['sum_mb']:5.0f} MB in all, {middle['one_mb']:5.0f} MB the "
            "largest process"
        )
    for key in ("wall_s", "cpu_s"):
        ratios = [bare[key] / ours[key] for ours, bare in zip(found["ours"], found["bare"], strict=True)]
        shown = ", ".join(f"{one:.2f}" for one in ratios)
        by = key.removesuffix("_s")
        print(f"ours / bare, speed by {by}: {statistics.median(ratios):.2f} x (rounds: {shown}); reach 0.7")
    killed(folder, given.workers, given.rows)


if __name__ == "__main__":
    main()

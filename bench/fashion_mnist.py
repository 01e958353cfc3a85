"""70,000 images through the whole path: the numbers of each step, the accuracy on the official test images, the memory.

    python bench/fashion_mnist.py                       # reads ../shared/data/fashion_mnist_png.parquet
    python bench/fashion_mnist.py --data other.parquet --trees 40

The images are PNG bytes in a Parquet file, in the order of the data set's own split: 60,000 to learn from, then 10,000
test images. Position in the file is made the event time, one second per image, so that the official test images are the
latest 10,000 seconds, sealed. What is timed is one turn of a loop as a user declares it: ingest (each image is decoded
once to see that it is whole, and stored once, packed), the training set (the transform decodes again), training in a
process of its own, registration, and the verdict on the sealed images.
"""

from __future__ import annotations

import argparse
import io
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.ensemble import ExtraTreesClassifier

import loopwright as lw
from loopwright.loop.turn import run_turn
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from loopwright.loop.step import StepEvent

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data" / "fashion_mnist_png.parquet"
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
TEST_IMAGES = 10_000
TARGET = 0.87


def images(path: Path) -> pa.Table:
    """Read the file and make each image's position its event time."""
    table = pq.read_table(path, columns=["split", "index", "label", "png"])
    split = table.column("split").cast(pa.string())
    number = np.arange(table.num_rows)
    taken = pa.array(np.datetime64(FIRST.replace(tzinfo=None), "us") + number * np.timedelta64(1, "s"))
    return pa.table(
        {
            "image_id": pa.array([f"{part}-{at}" for part, at in zip(split.to_pylist(), number, strict=True)]),
            "image": table.column("png"),
            "label": table.column("label").cast(pa.int64()),
            "taken_at": taken.cast(pa.timestamp("us", tz="UTC")),
        }
    )


def declare(path: Path, trees: int, seed: int) -> lw.Loop:
    """Declare the loop."""
    loop = lw.Loop("fashion")
    clothes = loop.dataset(
        "clothes",
        source=lw.frame(lambda: images(path)),
        event_time="taken_at",
        key="image_id",
        contract=[
            lw.column("image_id", "string"),
            lw.column("image", "image"),
            lw.column("label", "int", between=(0, 9)),
            lw.column("taken_at", "timestamp"),
        ],
    )

    @loop.transform(clothes.image)
    def pixels(pngs):
        decoded = [np.asarray(Image.open(io.BytesIO(png)), dtype=np.float32).reshape(784) for png in pngs]
        return np.stack(decoded)

    @loop.model(
        "clothing",
        label=lw.label(clothes.label),
        features=[pixels],
        holdout=lw.latest(timedelta(seconds=TEST_IMAGES)),
        metrics=["accuracy", "f1"],
        params={"n_estimators": trees, "min_samples_leaf": 2, "max_features": 0.1},
        gates=[lw.at_least("accuracy", 0.86)],
        seed=seed,
    )
    def clothing(train: lw.TrainingSet, params: lw.Params, seed: int):
        return ExtraTreesClassifier(**params, random_state=seed, n_jobs=-1).fit(train.X, train.y)

    return loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--trees", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.data.is_file():
        sys.exit(f"{options.data} is not there. Put the file there, or name it with --data.")
    rows = {"ingest": 70_000, "training": 70_000, "train": 60_000, "register": 0, "evaluate": TEST_IMAGES, "release": 0}

    def show(event: StepEvent) -> None:
        if event.kind == "finished":
            count = rows[event.step.partition(" ")[0]]
            rate = f"{count / event.seconds:>10,.0f} rows/s" if count else " " * 17
            print(f"{event.step:<24} {event.seconds:>7.2f} s {rate}   {event.output.get('summary', '')}", flush=True)

    with tempfile.TemporaryDirectory(prefix="fashion-") as folder:
        began = time.perf_counter()
        with Workspace.open(Path(folder)) as workspace:
            outcome = run_turn(declare(options.data, options.trees, options.seed), workspace, listener=show)
            result = outcome.models["clothing"]
            run = workspace.runs.get(str(result["run_id"]))
            stored = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
            files = sum(file.is_file() for file in Path(folder).rglob("*"))
        seconds = time.perf_counter() - began
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"total {seconds:.1f} s; {files} files, {stored / 1e6:.0f} MB stored")
    print(
        f"peak memory: {own / 1e6:,.0f} MB here, {(run.peak_memory_bytes or 0) / 1e6:,.0f} MB in the training process"
    )
    print(f"accuracy on {TEST_IMAGES:,} test images: {result['metrics']['accuracy']:.4f} (to reach: {TARGET})")
    print(f"verdict: {result['verdict']}")
    if result["metrics"]["accuracy"] < TARGET:
        sys.exit(1)


if __name__ == "__main__":
    main()

"""What we serve against the model as it came out of training: one row, and 1,000 rows.

    python bench/compiled.py                         # all models whose libraries are installed
    python bench/compiled.py --models xgboost torch
    python bench/compiled.py --prepare folder --models xgboost   # only train, register and promote, for a server

Each model is trained, registered and loaded as a server loads it. Ours is asked with plain columns, as a request's rows
reach it; the native model with a frame that is made before the clock starts, which is kind to it: a server would have
to make one per request. Processor time of the process on one thread, medians of alternating rounds; the answers of both
are compared first.
"""

# ruff: noqa: E402, PLC0415 - the number of threads is set before NumPy is there; each library only where it is measured
from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.features.columns import model_input
from loopwright.registry.alias import Aliases, Override
from loopwright.registry.forms import as_served
from loopwright.registry.given import given_candidate
from loopwright.registry.parity import compare
from loopwright.registry.registry import Registry

ROWS = 5000
FEATURES = 50
ROUNDS = 15
SIZES = (1, 1000)


def numbers():
    random = np.random.default_rng(0)
    columns = {f"x{place}": random.normal(size=ROWS) for place in range(FEATURES)}
    return columns, 10 * columns["x0"] + columns["x1"] ** 2 * 3 + columns["x2"] * columns["x3"]


def hist_gradient_boosting():
    from sklearn.ensemble import HistGradientBoostingRegressor

    columns, y = numbers()
    return HistGradientBoostingRegressor(max_iter=100, random_state=0), columns, y


def random_forest():
    from sklearn.ensemble import RandomForestClassifier

    columns, y = numbers()
    return RandomForestClassifier(100, max_depth=12, random_state=0, n_jobs=1), columns, (y > 0).astype(int)


def logistic_with_texts():
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    random = np.random.default_rng(0)
    columns = {f"x{place}": random.normal(size=ROWS) for place in range(8)}
    columns["city"] = random.choice(np.array(["Oslo", "Bergen", "Trondheim", "Stavanger"], dtype=object), size=ROWS)
    columns["kind"] = random.choice(np.array([f"kind {n}" for n in range(30)], dtype=object), size=ROWS)
    prepared = ColumnTransformer(
        [
            ("numbers", StandardScaler(), [f"x{place}" for place in range(8)]),
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["city", "kind"]),
        ]
    )
    y = columns["x0"] + (columns["city"] == "Oslo") > 0.3
    return make_pipeline(prepared, LogisticRegression(max_iter=500)), columns, y.astype(int)


def xgboost():
    import xgboost

    columns, y = numbers()
    return xgboost.XGBRegressor(n_estimators=300, max_depth=6, n_jobs=1), columns, y


def lightgbm():
    import lightgbm

    columns, y = numbers()
    return lightgbm.LGBMRegressor(n_estimators=300, max_depth=6, num_leaves=63, n_jobs=1, verbose=-1), columns, y


class Network:
    """What trains a PyTorch network."""

    def fit(self, frame, y):
        """Give a trained network."""
        import torch

        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(FEATURES, 128),
            torch.nn.ReLU(),
            torch.nn.Linear(128, 128),
            torch.nn.ReLU(),
            torch.nn.Linear(128, 1),
        )
        rows = torch.tensor(frame.to_numpy(dtype=np.float32))
        wanted = torch.tensor(np.asarray(y, dtype=np.float32))
        steps = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(30):
            steps.zero_grad()
            torch.nn.functional.mse_loss(net(rows)[:, 0], wanted).backward()
            steps.step()
        return net


def torch():
    columns, y = numbers()
    return Network(), columns, y


MODELS = {
    "hist_gradient_boosting": hist_gradient_boosting,
    "random_forest": random_forest,
    "logistic_with_texts": logistic_with_texts,
    "xgboost": xgboost,
    "lightgbm": lightgbm,
    "torch": torch,
}
NEEDS = {"xgboost": "xgboost", "lightgbm": "lightgbm", "torch": "torch"}


def prepare(folder: Path, name: str):
    """Train a model, register it under its name and make it champion; returns its version and example rows."""
    estimator, columns, y = MODELS[name]()
    (folder / "runs" / name).mkdir(parents=True)
    stores = open_stores(Settings.load(folder, environ={}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        candidate = given_candidate(name, _fit(estimator, columns, y), columns, folder / "runs" / name)
        version = Registry(stores).register(candidate)
    champion = Override("bench", "a benchmark")
    Aliases(stores).move(name, "champion", version.version, expected=None, by="bench", override=champion)
    stores.close()
    return version, columns


def _fit(estimator, columns, y):
    import pandas as pd

    return estimator.fit(pd.DataFrame({name: _texts(values) for name, values in columns.items()}), y)


def _texts(values):
    import pandas as pd

    return pd.array(values, dtype="str") if values.dtype.kind == "O" else values


def cost_us(call, times: int) -> float:
    began = time.process_time_ns()
    for _ in range(times):
        call()
    return (time.process_time_ns() - began) / times / 1000


def measure(folder: Path, name: str) -> None:
    version, columns = prepare(folder, name)
    stores = open_stores(Settings.load(folder, environ={}))
    loaded = Registry(stores).load(version)
    loaded.prepare()
    fields = version.signature.inputs
    print(f"\n{name}: {version.choice}")
    if version.not_compiled_because:
        print(f"  not compiled: {version.not_compiled_because}")
    for rows in SIZES:
        frame = model_input({key: values[:rows] for key, values in columns.items()}, fields)
        served = as_served(frame, fields)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parity = compare(loaded.predict_native(frame), loaded.predict(served))
            calls = {"native": lambda: loaded.predict_native(frame), "ours": lambda: loaded.predict(served)}  # noqa: B023
            times = {side: max(1, int(20_000 / max(1.0, cost_us(call, 1)))) for side, call in calls.items()}
            rounds = {side: [] for side in calls}
            for _ in range(ROUNDS):
                for side, call in calls.items():
                    rounds[side].append(cost_us(call, times[side]))
        native, ours = (statistics.median(rounds[side]) for side in ("native", "ours"))
        print(
            f"  {rows:>5,} rows: native {native:>10,.1f} us, ours {ours:>10,.1f} us, {native / ours:>7,.1f} x"
            f"   (largest difference {parity.largest_difference:.1g})"
        )
    stores.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--prepare", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    for name in options.models:
        needed = NEEDS.get(name)
        if needed and importlib.util.find_spec(needed) is None:
            print(f"\n{name}: not installed here", file=sys.stderr)
            continue
        if options.prepare is not None:
            version, _ = prepare(options.prepare, name)
            print(f"{version.id}: {version.choice}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), name)


if __name__ == "__main__":
    main()

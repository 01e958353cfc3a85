"""A project with registered champions on four numbers, and rows for them; also for the processes that tests kill."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from loopwright.core.ref import Ref
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import Stores, open_stores
from loopwright.features.assembly import FeatureAssembly, assembly_to_bytes
from loopwright.features.columns import model_input
from loopwright.features.field import Field
from loopwright.features.request import RequestField
from loopwright.registry.alias import Aliases, Override
from loopwright.registry.candidate import Candidate
from loopwright.registry.registry import Registry
from loopwright.training.estimators.choice import save_model

NAMES = ("x0", "x1", "x2", "x3")


def numbers(rows: int, seed: int = 0) -> pa.Table:
    """Return rows with an id and what the models take."""
    random = np.random.default_rng(seed)
    columns = {"id": np.arange(rows), "city": np.array(["Oslo", "Graz"], dtype=object)[np.arange(rows) % 2]}
    return pa.table({**columns, **{name: random.normal(size=rows) for name in NAMES}})


def register(folder: Path, stores: Stores, model: str = "eta", *, classifies: bool = False, run: str = "run") -> str:
    """Train a small model, register it and make it champion; return its id."""
    fields = tuple(Field(name, "float64") for name in NAMES)
    table = numbers(400, seed=7).select(list(NAMES))
    X = model_input({name: table[name].to_numpy() for name in NAMES}, fields)
    kind = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
    score = X["x0"] * 3 + X["x1"]
    estimator = kind(max_iter=5, random_state=0).fit(X, np.where(score > 0, "late", "soon") if classifies else score)
    path = folder / "runs" / model / run
    path.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        version = Registry(stores).register(
            Candidate(
                model=model,
                run_id=run,
                model_file=save_model(estimator, path, trust=True),
                model_path=path,
                fields=fields,
                assembly=assembly_to_bytes(
                    FeatureAssembly(tuple(RequestField(name, "float") for name in NAMES), fields)
                ),
                training_set=Ref("training_set", "test"),
                training_rows=table,
            )
        )
    before = Aliases(stores).current(model)
    Aliases(stores).move(
        model, "champion", version.version, expected=before, by="test", override=Override("test", "a test")
    )
    return version.id


def opened(folder: Path) -> Stores:
    """Open the stores of a project."""
    return open_stores(Settings.load(folder, environ={}))

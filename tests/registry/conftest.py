"""Candidates as a finished run would hand them over."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_limits

from loopwright.core.ref import Ref
from loopwright.features.assembly import FeatureAssembly, assembly_to_bytes
from loopwright.features.columns import model_input, to_arrow
from loopwright.features.field import Field
from loopwright.features.request import RequestField
from loopwright.registry.candidate import Candidate
from loopwright.registry.form_choice import FormChoice
from loopwright.training.estimators.choice import save_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = 400


@pytest.fixture
def compiled_first(monkeypatch):
    """The compiled form answers, whichever is the fastest on this machine at this moment."""

    def first(calls):
        form = next(iter(calls))
        return FormChoice(form, form)

    monkeypatch.setattr("loopwright.registry.forms.measured", first)


def scalar_fields(dtype: str = "float64", count: int = 4) -> tuple[Field, ...]:
    return tuple(Field(f"x{position}", dtype, nullable=False) for position in range(count))


def columns_of(fields: tuple[Field, ...], rows: int = ROWS, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for field in fields:
        if field.is_vector:
            made[field.name] = random.normal(size=(rows, *field.shape)).astype(np.float32)
        elif field.dtype == "category":
            made[field.name] = random.integers(0, len(field.categories), size=rows).astype(np.int32)
        elif field.dtype == "string":
            made[field.name] = random.choice(np.array(["red", "green", "blue"], dtype=object), size=rows)
        elif field.dtype == "int64":
            made[field.name] = random.integers(0, 50, size=rows)
        else:
            made[field.name] = random.normal(size=rows).astype(field.dtype)
    return made


def target(columns: dict[str, np.ndarray], kind: str) -> np.ndarray:
    first = next(value for value in columns.values() if value.dtype.kind == "f")
    score = first if first.ndim == 1 else first[:, 0] + first[:, 1]
    if kind == "regression":
        return 10 * score + 3
    if kind == "binary":
        return np.where(score > 0, "yes", "no")
    return np.digitize(score, [-0.5, 0.5])


def make_candidate(
    estimator: object,
    folder: Path,
    *,
    fields: tuple[Field, ...] | None = None,
    kind: str = "regression",
    model: str = "eta",
    run_id: str = "run-1",
    trust: bool = False,
    fitted: bool = False,
) -> Candidate:
    fields = fields or scalar_fields()
    columns = columns_of(fields)
    if not fitted:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(model_input(columns, fields), target(columns, kind))
    folder.mkdir(parents=True, exist_ok=True)
    model_file = save_model(estimator, folder, trust=trust)
    assembly = FeatureAssembly(
        tuple(RequestField(f.name, "category" if f.dtype == "category" else "float", required=True) for f in fields),
        fields,
    )
    return Candidate(
        model=model,
        run_id=run_id,
        model_file=model_file,
        model_path=folder,
        fields=fields,
        assembly=assembly_to_bytes(assembly),
        training_set=Ref("training_set", "abc"),
        training_rows=pa.table({f.name: to_arrow(columns[f.name], f) for f in fields}),
        metrics={"mae": 1.5},
        parameters={"alpha": 1.0},
        description="Minutes to the door.",
    )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small fits on many threads spend their time waiting for each other."""
    with threadpool_limits(limits=1):
        yield


class Runs:
    """What finished runs would hand over."""

    scalar_fields = staticmethod(scalar_fields)
    columns_of = staticmethod(columns_of)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def candidate(self, estimator: object, **options: object) -> Candidate:
        return make_candidate(estimator, self.folder / "run", **options)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)

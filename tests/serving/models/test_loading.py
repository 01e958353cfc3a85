"""What makes a version ready gives it rows in the form in which requests will."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from loopwright.evaluation.outputs import Outputs
from loopwright.features.assembly import FeatureAssembly
from loopwright.features.field import Field
from loopwright.features.request import RequestField
from loopwright.registry.golden import Golden
from loopwright.registry.rows import matrix
from loopwright.registry.signature import OutputSpec, Signature
from loopwright.serving.models.loading import prepare

X, TOWN, ANGLE = (
    Field("x", "float64"),
    Field("town", "category", categories=("a", "b")),
    Field("angle", "float32", (2,)),
)
TABLE = {
    "x": [1.0, 2.0],
    "town": ["b", "a"],
    "angle": pa.array([[0.5, 1.0], [1.5, 2.0]], pa.list_(pa.float32(), 2)),
}


class Summing:
    """Answers the sum of a row's numbers, reading rows as a compiled model does."""

    form = "onnx"

    def __init__(self, fields, version):
        self.version = version
        self.signature = Signature(fields, OutputSpec("regression"))
        self.assembly = FeatureAssembly((RequestField("x", "float"),), fields)
        self._names = tuple(
            name
            for field in fields
            for name in ((f"{field.name}_0", f"{field.name}_1") if field.shape else (field.name,))
        )

    def predict(self, rows):
        read = matrix(rows, self.signature.inputs, self._names, np.dtype(np.float64))
        return Outputs("regression", read.sum(axis=1))

    def golden(self):
        table = pa.table({field.name: TABLE[field.name] for field in self.signature.inputs})
        numbers = {"x": [1.0, 2.0], "town": [1.0, 0.0], "angle": [1.5, 3.5]}
        sums = np.sum([numbers[field.name] for field in self.signature.inputs], axis=0)
        return Golden(table, Outputs("regression", sums))


@pytest.mark.parametrize(
    "fields",
    [(X,), (ANGLE,), (X, ANGLE), (X, TOWN), (X, TOWN, ANGLE)],
    ids=lambda fields: "-".join(field.name for field in fields),
)
def test_every_kind_of_input_becomes_ready(nonce, clock, fields):
    slot = prepare(Summing(fields, nonce.Version("sum/1")), online=None, clock=clock)
    assert slot.predictor.version == 1

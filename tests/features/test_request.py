"""Whole numbers of a request are exact or refused, however the rows come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import InvalidRequestError
from loopwright.features.assembly import FeatureAssembly
from loopwright.features.field import Field
from loopwright.features.request import RequestField
from loopwright.features.row_batch import RowBatch


def assembly(kind: str, *, required: bool) -> FeatureAssembly:
    dtype = "int64" if kind == "int" and required else "float64"
    return FeatureAssembly((RequestField("x", kind, required),), (Field("x", dtype),))


large = st.integers(-(2**63), 2**63 - 1) | st.integers(2**53 - 3, 2**53 + 3)


@given(large, st.sampled_from(["float", "int"]), st.booleans(), st.lists(st.just(1), max_size=2))
def test_a_whole_number_is_exact_or_refused(number, kind, required, before):
    values = [*before, number]
    for rows in (
        [{"x": value} for value in values],
        RowBatch({"x": values}, len(values)),
        RowBatch({"x": np.array(values)}, len(values)),
    ):
        model = assembly(kind, required=required)
        if int(float(number)) == number or (kind == "int" and required):
            assert int(model.assemble(rows).columns["x"][-1].item()) == number
        else:
            with pytest.raises(InvalidRequestError) as raised:
                model.assemble(rows)
            assert (raised.value.field, raised.value.row) == ("x", len(before))


@pytest.mark.parametrize("number", [2**63, 2**80, -(2**63) - 1, 1e300])
def test_what_is_no_integer_of_64_bits_is_refused(number):
    for rows in ([{"x": number}], RowBatch({"x": [number]}, 1)):
        with pytest.raises(InvalidRequestError, match="too large"):
            assembly("int", required=True).assemble(rows)


def test_what_is_too_large_for_32_bits_is_refused():
    pixels = FeatureAssembly((RequestField("pixels", "float", shape=(2,)),), (Field("pixels", "float32", shape=(2,)),))
    assert pixels.assemble([{"pixels": [1, 2.5]}]).columns["pixels"].tolist() == [[1.0, 2.5]]
    with pytest.raises(InvalidRequestError, match="32 bits"):
        pixels.assemble([{"pixels": [1, 1e300]}])

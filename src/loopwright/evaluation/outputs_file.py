"""Outputs as bytes: what a model answered on the holdout, kept so that a comparison never asks it again."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, cast

import numpy as np

from loopwright.evaluation.outputs import Outputs

if TYPE_CHECKING:
    from loopwright.evaluation.outputs import OutputKind


def outputs_to_bytes(outputs: Outputs) -> bytes:
    """Write outputs as an npz archive without pickles; the same outputs give the same bytes."""
    values = outputs.values
    if values.dtype.kind == "O":
        values = np.asarray(values.tolist())
    if values.dtype.kind == "O":
        values = np.array([str(value) for value in outputs.values.tolist()], dtype=np.str_)
    header = {"kind": outputs.kind, "classes": None if outputs.classes is None else _plain(outputs.classes)}
    arrays = {"values": values, "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)}
    if outputs.probabilities is not None:
        arrays["probabilities"] = outputs.probabilities
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def outputs_from_bytes(data: bytes) -> Outputs:
    """Read what `outputs_to_bytes` wrote.

    >>> outputs_from_bytes(outputs_to_bytes(Outputs("regression", np.array([1.5])))).values.tolist()
    [1.5]
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        header = json.loads(archive["header"].tobytes())
        probabilities = archive.get("probabilities", None)
        classes = header["classes"]
        return Outputs(
            cast("OutputKind", header["kind"]),
            archive["values"],
            probabilities,
            None if classes is None else tuple(classes),
        )


def _plain(classes: tuple[object, ...]) -> list[object]:
    return [label.item() if isinstance(label, np.generic) else label for label in classes]

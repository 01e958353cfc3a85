"""The JSON part of the Open Inference Protocol v2: tensors in, tensors out, and what a model says of itself.

A model's request fields are the inputs (one tensor each, one element per row); a single tensor of another name and
shape ``[n, fields]`` is taken by position. Outputs are ``predict``, ``predict_proba`` where the model gives
probabilities, and ``prediction_id`` on request.

Source: the protocol's ``inference_rest.md`` (kserve/open-inference-protocol).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import InvalidRequestError, TooLargeError
from loopwright.serving.http_message import BadFieldError
from loopwright.serving.rows_body import MAX_ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.features.request import RequestField
    from loopwright.registry.signature import Signature
    from loopwright.serving.endpoint import Served

_INTEGERS = {f"{sign}INT{bits}": (sign, bits) for sign in ("", "U") for bits in (8, 16, 32, 64)}
_FLOATS = frozenset({"FP32", "FP64"})
_NO_JSON = frozenset({"FP16", "BF16"})
_DATATYPE_OF = {"float": "FP64", "int": "INT64", "bool": "BOOL"}
_OUTPUTS = ("predict", "predict_proba", "prediction_id")


@dataclass(frozen=True)
class TensorRequest:
    """A request in rows, with what its answer needs.

    Attributes:
        request_id: The caller's id, echoed, or None.
        outputs: The outputs asked for; empty for the usual ones.
        timeout_us: ``parameters.timeout`` in microseconds, or None.
    """

    rows: list[dict[str, object]]
    request_id: str | None
    outputs: tuple[str, ...]
    timeout_us: float | None


def read_request(document: object, inputs: Sequence[RequestField]) -> TensorRequest:
    """Turn an inference request into rows.

    Raises:
        InvalidRequestError: When it breaks the protocol; names the tensor.
        TooLargeError: When there are more than 100,000 rows.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be an object with 'inputs'.")
    tensors = document.get("inputs")
    if not isinstance(tensors, list) or not tensors:
        raise BadFieldError("'inputs' must be a list of at least one tensor.", field="inputs")
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise BadFieldError("'id' must be a string.", field="id")
    columns: dict[str, list[object]] = {}
    names = [field.name for field in inputs]
    for tensor in tensors:
        name, shape, values = _tensor(tensor)
        if name in names or len(tensors) > 1 or len(shape) != 2 or shape[1] != len(names):
            _add(columns, name, _per_row(values, shape))
        else:
            width = shape[1]
            for position, field in enumerate(names):
                _add(columns, field, values[position::width])
    counts = {name: len(values) for name, values in columns.items()}
    if len(set(counts.values())) > 1:
        raise InvalidRequestError(f"The tensors have different numbers of rows: {counts}.")
    count = next(iter(counts.values()))
    if count == 0:
        raise InvalidRequestError("The request has no rows.")
    if count > MAX_ROWS:
        raise TooLargeError(f"The request has {count} rows; at most {MAX_ROWS} are accepted.", hint="Send fewer rows.")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return TensorRequest(rows, request_id, _asked(document), _timeout(document))


def _add(columns: dict[str, list[object]], name: str, values: list[object]) -> None:
    if name in columns:
        raise BadFieldError(f"The tensor '{name}' is there twice.", field=name)
    columns[name] = values


def _tensor(tensor: object) -> tuple[str, list[int], list[object]]:
    """Check one tensor and return its name, shape and flat values."""
    if not isinstance(tensor, dict):
        raise BadFieldError("A tensor must be an object.", field="inputs")
    name = tensor.get("name")
    if not isinstance(name, str) or not name:
        raise BadFieldError("A tensor needs a 'name'.", field="inputs")
    shape, datatype, data = tensor.get("shape"), tensor.get("datatype"), tensor.get("data")
    if (
        not isinstance(shape, list)
        or not shape
        or not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape)
    ):
        raise BadFieldError(f"The tensor '{name}' needs a 'shape' of whole numbers.", field=name)
    if not isinstance(datatype, str):
        raise BadFieldError(f"The tensor '{name}' needs a 'datatype'.", field=name)
    if not isinstance(data, list):
        raise BadFieldError(f"The tensor '{name}' needs 'data' as a list.", field=name)
    values: list[object] = []
    _flatten(data, values, name, 0)
    if len(values) != math.prod(shape):
        raise BadFieldError(
            f"The tensor '{name}' has {len(values)} elements; the shape {shape} needs {math.prod(shape)}.", field=name
        )
    return name, shape, _checked(name, datatype.upper(), values)


def _flatten(data: list[object], into: list[object], name: str, depth: int) -> None:
    if depth > 16:
        raise BadFieldError(f"The data of the tensor '{name}' is nested too deep.", field=name)
    for item in data:
        if isinstance(item, list):
            _flatten(item, into, name, depth + 1)
        else:
            into.append(item)


def _checked(name: str, datatype: str, values: list[object]) -> list[object]:
    if datatype in _FLOATS:
        return [_float(value, name, datatype) for value in values]
    if datatype in _INTEGERS:
        sign, bits = _INTEGERS[datatype]
        low, high = (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        fits = all(isinstance(value, int) and not isinstance(value, bool) and low <= value <= high for value in values)
        return values if fits else _wrong(name, datatype)
    if datatype == "BOOL":
        whole = [value == 1 if isinstance(value, int) and value in (0, 1) else value for value in values]
        return whole if all(isinstance(value, bool) for value in whole) else _wrong(name, datatype)
    if datatype == "BYTES":
        return values if all(value is None or isinstance(value, str) for value in values) else _wrong(name, datatype)
    if datatype in _NO_JSON:
        raise BadFieldError(f"The tensor '{name}': {datatype} has no JSON form. Send FP32.", field=name)
    known = ", ".join(["BOOL", *_INTEGERS, *sorted(_FLOATS), "BYTES"])
    raise BadFieldError(f"The tensor '{name}' has the unknown datatype {datatype!r}. Known: {known}.", field=name)


def _float(value: object, name: str, datatype: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        _wrong(name, datatype)
        return None
    return float(value)


def _wrong(name: str, datatype: str) -> list[object]:
    raise BadFieldError(f"The tensor '{name}' holds a value that is no {datatype}.", field=name)


def _per_row(values: list[object], shape: list[int]) -> list[object]:
    width = math.prod(shape[1:])
    if width == 1:
        return values
    return [values[start : start + width] for start in range(0, len(values), width)] if width else []


def _asked(document: Mapping[str, object]) -> tuple[str, ...]:
    outputs = document.get("outputs")
    if outputs is None:
        return ()
    if not isinstance(outputs, list) or not all(
        isinstance(item, dict) and isinstance(item.get("name"), str) for item in outputs
    ):
        raise BadFieldError("'outputs' must be a list of objects with a 'name'.", field="outputs")
    names = tuple(item["name"] for item in outputs)
    for name in names:
        if name not in _OUTPUTS:
            raise BadFieldError(f"There is no output '{name}'. Known: {', '.join(_OUTPUTS)}.", field="outputs")
    return names


def _timeout(document: Mapping[str, object]) -> float | None:
    parameters = document.get("parameters")
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise BadFieldError("'parameters' must be an object.", field="parameters")
    timeout = parameters.get("timeout")
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout < 0:
        raise BadFieldError("'parameters.timeout' must be microseconds, 0 or more.", field="parameters")
    return float(timeout) or None


def response_document(served: Served, request: TensorRequest) -> dict[str, object]:
    """Write an answer as an inference response.

    Raises:
        InvalidRequestError: When probabilities were asked for and the model gives none.
    """
    answers = served.answers
    rows = len(answers.values)
    asked = request.outputs or (("predict",) if answers.probabilities is None else ("predict", "predict_proba"))
    outputs: list[dict[str, object]] = []
    for name in asked:
        if name == "predict":
            outputs.append({"name": name, "shape": [rows], **_typed(answers.values)})
        elif name == "prediction_id":
            outputs.append({"name": name, "datatype": "BYTES", "shape": [rows], "data": served.prediction_ids})
        else:
            if answers.probabilities is None:
                raise BadFieldError("The model gives no probabilities.", field="outputs")
            flat = [value for row in answers.probabilities for value in row]
            shape = [rows, len(answers.probabilities[0])]
            outputs.append({"name": name, "datatype": "FP64", "shape": shape, "data": flat})
    document: dict[str, object] = {"model_name": served.model, "model_version": str(served.version)}
    if request.request_id is not None:
        document["id"] = request.request_id
    document["outputs"] = outputs
    return document


def _typed(values: list[object]) -> dict[str, object]:
    first = values[0]
    if isinstance(first, bool):
        return {"datatype": "BOOL", "data": values}
    if isinstance(first, int):
        return {"datatype": "INT64", "data": values}
    if isinstance(first, float):
        return {"datatype": "FP64", "data": values}
    return {"datatype": "BYTES", "data": [str(value) for value in values]}


def model_document(
    model: str, versions: Sequence[int], inputs: Sequence[RequestField], signature: Signature
) -> dict[str, object]:
    """Write a model's metadata."""
    output = signature.output
    predicted = {"float64": "FP64", "int64": "INT64", "bool": "BOOL"}.get(output.dtype, "BYTES")
    outputs: list[dict[str, object]] = [{"name": "predict", "datatype": predicted, "shape": [-1]}]
    if output.probabilities:
        outputs.append({"name": "predict_proba", "datatype": "FP64", "shape": [-1, len(output.classes or ())]})
    return {
        "name": model,
        "versions": [str(version) for version in versions],
        "platform": "loopwright",
        "inputs": [
            {"name": field.name, "datatype": _DATATYPE_OF.get(field.type, "BYTES"), "shape": [-1]} for field in inputs
        ],
        "outputs": outputs,
    }

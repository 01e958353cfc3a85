"""Requests and responses of the Open Inference Protocol v2 over HTTP: JSON, and the binary tensor extension.

A request is a JSON object; with ``Inference-Header-Content-Length`` it is that many bytes of JSON, and behind them the
raw bytes of each tensor that has ``parameters.binary_data_size``, in order. A response puts those outputs behind its
JSON that were asked for with ``parameters.binary_data``, or all where the request says ``binary_data_output``.

Sources: ``inference_rest.md`` (kserve/open-inference-protocol) and the extension "binary tensor data" of the same
protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loopwright.core.errors import InvalidRequestError
from loopwright.serving.http.message import HttpResponse, decode_json, json_response
from loopwright.serving.tensors.tensor import DATATYPES, Tensor, datatype_named, from_raw, to_raw
from loopwright.serving.tensors.tensor_answer import model_outputs, served_tensors
from loopwright.serving.tensors.tensor_few import FEW, few_rows
from loopwright.serving.tensors.tensor_rows import raw_input, row_batch
from loopwright.serving.tensors.tensor_values import from_values, to_values

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from loopwright.features.request import RequestField
    from loopwright.features.row_batch import RowBatch
    from loopwright.registry.signature import Signature
    from loopwright.serving.calls.endpoint import Served

HEADER_LENGTH = b"inference-header-content-length"
_OCTETS = b"application/octet-stream"
_DATATYPE_OF = {"float": "FP64", "int": "INT64", "bool": "BOOL"}
_FIELD_DATATYPE = {"float32": "FP32", "int32": "INT32"}
_NO_NAMES: frozenset[str] = frozenset()
_ALL = frozenset({"*"})
_NOTHING = memoryview(b"")


@dataclass(frozen=True)
class TensorRequest:
    """A request in rows, with what its answer needs.

    Attributes:
        rows: The rows; by column where they are many.
        request_id: The caller's id, echoed, or None.
        outputs: The outputs asked for; empty for all.
        binary: Of those, the ones to answer as raw bytes.
        timeout_us: ``parameters.timeout`` in microseconds, or None.
        binary_by_default: Whether outputs are answered as raw bytes where none is asked for by name.
    """

    rows: Sequence[Mapping[str, object]]
    request_id: str | None = None
    outputs: tuple[str, ...] = ()
    binary: frozenset[str] = _NO_NAMES
    timeout_us: float | None = None
    binary_by_default: bool = False


def split_body(body: bytes, header_length: str) -> tuple[object, memoryview]:
    """Divide a body of the binary extension into its JSON and the raw bytes behind it.

    Args:
        body: The whole body.
        header_length: The value of ``Inference-Header-Content-Length``.

    Raises:
        InvalidRequestError: When the value is no length within the body, or the JSON is none.
    """
    if not (header_length.isascii() and header_length.isdecimal()) or len(header_length) > 10:
        raise InvalidRequestError(f"Inference-Header-Content-Length must be a number of bytes, got {header_length!r}.")
    length = int(header_length)
    if length > len(body):
        raise InvalidRequestError(f"Inference-Header-Content-Length is {length}; the body has {len(body)} bytes.")
    return decode_json(body[:length]), memoryview(body)[length:]


def raw_request(body: bytes, inputs: Sequence[RequestField], signature: Signature) -> TensorRequest:
    """Read a body that is only the raw bytes of a model's single input; its answer is raw too.

    Raises:
        InvalidRequestError: When the model has several inputs, or the bytes are no whole rows.
    """
    datatype = DATATYPES["BYTES"] if len(inputs) != 1 else DATATYPES[input_datatype(inputs[0], signature)]
    rows = row_batch([raw_input(body, inputs, datatype)], inputs)
    return TensorRequest(rows, binary_by_default=True)


def read_request(
    document: object,
    inputs: Sequence[RequestField],
    known: Collection[str] = _NO_NAMES,
    *,
    further: Sequence[RequestField] = (),
    raw: memoryview | None = None,
) -> TensorRequest:
    """Turn an inference request into rows.

    Args:
        document: The request's JSON.
        inputs: The fields of a request row.
        known: Names of other tensors that are left aside.
        further: Fields that only the other version in force takes.
        raw: The bytes behind the JSON, or None where the request is JSON alone.

    Raises:
        InvalidRequestError: When it breaks the protocol; names the tensor.
        TooLargeError: When there are more than 100,000 rows.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be an object with 'inputs'.")
    given = document.get("inputs")
    if not isinstance(given, list) or not given:
        raise InvalidRequestError("'inputs' must be a list of at least one tensor.", field="inputs")
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidRequestError("'id' must be a string.", field="id")
    parameters = _parameters(document, "the request", "parameters")
    timeout_us = _timeout(parameters)
    outputs, binary = _asked(document, by_default=_flag(parameters, "binary_data_output", "parameters"))
    few = few_rows(given, inputs) if raw is None and not further else None
    if few is not None:
        return TensorRequest(few, request_id, outputs, binary, timeout_us, not outputs and bool(binary))
    rest = _NOTHING if raw is None else raw
    tensors = []
    for item in given:
        tensor, rest = _tensor(item, rest)
        tensors.append(tensor)
    if len(rest):
        raise InvalidRequestError(f"{len(rest)} bytes behind the request's JSON belong to no tensor.", field="inputs")
    if further and len(tensors) > 1:
        names = {field.name for field in inputs}
        inputs = (*inputs, *(field for field in further if field.name not in names))
    rows = _plain_if_few(row_batch(tensors, inputs, known))
    return TensorRequest(rows, request_id, outputs, binary, timeout_us, not outputs and bool(binary))


def _plain_if_few(batch: RowBatch) -> Sequence[Mapping[str, object]]:
    """Return few rows as mappings, which may be computed together with those of other callers."""
    if len(batch) > FEW or any(isinstance(values, np.ndarray) and values.ndim > 1 for values in batch.columns.values()):
        return batch
    return list(batch)


def _tensor(item: object, raw: memoryview) -> tuple[Tensor, memoryview]:
    """Read one tensor, and return it with the bytes that are left for the next."""
    if not isinstance(item, dict):
        raise InvalidRequestError("A tensor must be an object.", field="inputs")
    name = item.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequestError("A tensor needs a 'name'.", field="inputs")
    shape = item.get("shape")
    if not isinstance(shape, list):
        raise InvalidRequestError(f"The tensor '{name}' needs a 'shape' of whole numbers.", field=name)
    datatype = datatype_named(name, item.get("datatype"))
    parameters = _parameters(item, f"the tensor '{name}'", name)
    if "shared_memory_region" in parameters:
        message = f"The tensor '{name}' lies in shared memory, which is not supported."
        raise InvalidRequestError(message, field=name, hint="Send its data.")
    size = parameters.get("binary_data_size")
    if size is None:
        return from_values(name, datatype, shape, item.get("data")), raw
    if type(size) is not int or size < 0:
        raise InvalidRequestError(f"The tensor '{name}' needs a number of bytes in 'binary_data_size'.", field=name)
    if "data" in item:
        raise InvalidRequestError(f"The tensor '{name}' has 'data' and 'binary_data_size'; send one.", field=name)
    if size > len(raw):
        message = f"The tensor '{name}' has {size} bytes behind the JSON, of which {len(raw)} are there."
        raise InvalidRequestError(message, field=name)
    return from_raw(name, datatype, shape, raw[:size]), raw[size:]


def _parameters(item: Mapping[str, Any], what: str, field: str) -> Mapping[str, Any]:
    parameters = item.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"'parameters' of {what} must be an object.", field=field)
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, field: str, *, otherwise: bool = False) -> bool:
    value = parameters.get(name, otherwise)
    if not isinstance(value, bool):
        raise InvalidRequestError(f"'{name}' must be true or false.", field=field)
    return value


def _asked(document: Mapping[str, Any], *, by_default: bool) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the names of the outputs asked for, and which of them as raw bytes."""
    outputs = document.get("outputs")
    if not outputs and (outputs is None or isinstance(outputs, list)):
        return (), _ALL if by_default else _NO_NAMES
    if not isinstance(outputs, list) or not all(
        isinstance(item, dict) and isinstance(item.get("name"), str) for item in outputs
    ):
        raise InvalidRequestError("'outputs' must be a list of objects with a 'name'.", field="outputs")
    names, binary = [], set()
    for item in outputs:
        name = item["name"]
        parameters = _parameters(item, f"the output '{name[:200]}'", name)
        if name in names:
            raise InvalidRequestError(f"The output '{name[:200]}' is asked for twice.", field=name)
        unsupported = {"classification", "shared_memory_region"} & parameters.keys()
        if unsupported:
            message = f"The output '{name[:200]}' asks for {', '.join(sorted(unsupported))}, which is not supported."
            raise InvalidRequestError(message, field=name)
        names.append(name)
        if _flag(parameters, "binary_data", name, otherwise=by_default):
            binary.add(name)
    return tuple(names), frozenset(binary)


def _timeout(parameters: Mapping[str, Any]) -> float | None:
    timeout = parameters.get("timeout")
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout < 0:
        raise InvalidRequestError("'parameters.timeout' must be microseconds, 0 or more.", field="parameters")
    return float(timeout) or None


def response(served: Served, request: TensorRequest, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> HttpResponse:
    """Write an answer as an inference response, with raw bytes behind its JSON where they were asked for.

    Raises:
        InvalidRequestError: When an output has no JSON form, or the version that answered does not have it.
    """
    outputs: list[dict[str, object]] = []
    blobs: list[bytes] = []
    for tensor in served_tensors(served, request.outputs):
        output: dict[str, object] = {
            "name": tensor.name,
            "datatype": tensor.datatype.name,
            "shape": tensor.shape,
        }
        if request.binary_by_default or tensor.name in request.binary:
            blob = to_raw(tensor)
            blobs.append(blob)
            output["parameters"] = {"binary_data_size": len(blob)}
        else:
            output["data"] = to_values(tensor)
        outputs.append(output)
    document: dict[str, object] = {"model_name": served.model, "model_version": str(served.version)}
    if request.request_id is not None:
        document["id"] = request.request_id
    document["outputs"] = outputs
    written = json_response(document, headers=headers)
    if not blobs:
        return written
    length = (HEADER_LENGTH, str(len(written.body)).encode())
    body = b"".join([written.body, *blobs])
    return HttpResponse(200, body, content_type=_OCTETS, headers=[*headers, length])


def input_datatype(field: RequestField, signature: Signature) -> str:
    """Return the datatype that a request field is declared with."""
    for known in signature.inputs:
        if known.name == field.name and known.origin == "column" and known.dtype in _FIELD_DATATYPE:
            return _FIELD_DATATYPE[known.dtype]
    return _DATATYPE_OF.get(field.type, "BYTES")


def model_document(
    model: str, versions: Sequence[int], inputs: Sequence[RequestField], signature: Signature
) -> dict[str, object]:
    """Write a model's metadata."""
    return {
        "name": model,
        "versions": [str(version) for version in versions],
        "platform": "loopwright",
        "inputs": [
            {"name": field.name, "datatype": input_datatype(field, signature), "shape": [-1, *field.shape]}
            for field in inputs
        ],
        "outputs": [
            {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
            for output in model_outputs(signature.output)
        ],
    }

"""The tensors of a gRPC message: raw bytes beside the message, or typed lists within it.

Raw contents are used for all tensors of a message or for none; typed ones stand in the list that belongs to the
datatype. FP16 and BF16 have no list and are raw only.

Source: ``inference_grpc.md`` (kserve/open-inference-protocol), "Tensor Data".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import InvalidRequestError
from loopwright.serving.tensors.tensor import datatype_named, from_raw, to_raw
from loopwright.serving.tensors.tensor_values import from_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.serving.grpc.proto_file import Message
    from loopwright.serving.tensors.tensor import Tensor

_LIST_OF = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
MAX_TENSORS = 10_000


def read_tensors(request: Message) -> list[Tensor]:
    """Return the tensors of a request.

    Raises:
        InvalidRequestError: When one breaks the protocol; names it.
    """
    inputs = request.inputs
    if not inputs:
        raise InvalidRequestError("The request has no 'inputs'.", field="inputs", hint="Send at least one tensor.")
    if len(inputs) > MAX_TENSORS:
        raise InvalidRequestError(f"The request has {len(inputs)} tensors; at most {MAX_TENSORS} are read.")
    raw = request.raw_input_contents
    if not raw:
        return [_typed(tensor) for tensor in inputs]
    if len(raw) != len(inputs):
        raise InvalidRequestError(
            f"'raw_input_contents' has {len(raw)} entries for {len(inputs)} inputs.",
            field="raw_input_contents",
            hint="Send raw contents for all inputs, or for none.",
        )
    return [_raw(tensor, data) for tensor, data in zip(inputs, raw, strict=True)]


def _named(tensor: Message) -> str:
    name: str = tensor.name
    if not name:
        raise InvalidRequestError("A tensor needs a 'name'.", field="inputs")
    if tensor.parameters and "shared_memory_region" in tensor.parameters:
        raise InvalidRequestError(
            f"The tensor '{name}' is in shared memory, which is not served.", field=name, hint="Send its contents."
        )
    return name


def _raw(tensor: Message, data: bytes) -> Tensor:
    name = _named(tensor)
    if tensor.HasField("contents"):
        raise InvalidRequestError(
            f"The tensor '{name}' has 'contents' beside 'raw_input_contents'.", field=name, hint="Send one of them."
        )
    return from_raw(name, datatype_named(name, tensor.datatype), tensor.shape, data)


def _typed(tensor: Message) -> Tensor:
    name = _named(tensor)
    datatype = datatype_named(name, tensor.datatype)
    expected = _LIST_OF.get(datatype.name)
    if expected is None:
        raise InvalidRequestError(
            f"The tensor '{name}': {datatype.name} has no typed contents.",
            field=name,
            hint="Send it in raw_input_contents.",
        )
    for listed, _ in tensor.contents.ListFields():
        if listed.name != expected:
            raise InvalidRequestError(
                f"The tensor '{name}' is {datatype.name}, and its values are in '{listed.name}'.",
                field=name,
                hint=f"Put them in '{expected}'.",
            )
    values: Sequence[object] = getattr(tensor.contents, expected)
    return from_values(name, datatype, tensor.shape, list(values))


def write_tensors(response: Message, tensors: Sequence[Tensor], *, is_raw: bool) -> None:
    """Put the tensors of an answer into a response."""
    for tensor in tensors:
        into = response.outputs.add(name=tensor.name, datatype=tensor.datatype.name, shape=tensor.shape)
        listed = _LIST_OF.get(tensor.datatype.name)
        if is_raw or listed is None:
            response.raw_output_contents.append(to_raw(tensor))
        elif tensor.datatype.kind == "bytes":
            values = tensor.array.reshape(-1).tolist()
            encoded = [value.encode() if isinstance(value, str) else value or b"" for value in values]
            into.contents.bytes_contents.extend(encoded)
        else:
            getattr(into.contents, listed).extend(tensor.array.reshape(-1).tolist())

"""A request for inference as a gRPC message, in the terms of no protocol; and the answer as a message again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import InvalidRequestError
from loopwright.registry.signature import PREDICTION_ID
from loopwright.serving.calls.endpoint import InferenceCall
from loopwright.serving.grpc.call import checked_timeout_us
from loopwright.serving.grpc.contents import read_tensors, write_tensors
from loopwright.serving.grpc.rows import rows_for
from loopwright.serving.tensors.tensor_answer import check_outputs, served_tensors

if TYPE_CHECKING:
    from loopwright.serving.calls.endpoint import Served
    from loopwright.serving.calls.slot import Active
    from loopwright.serving.grpc.call import CallHead
    from loopwright.serving.grpc.proto_file import Message, Messages

PROTOCOL = "oip-grpc"
MOST_LISTED_IDS = 100  # of more rows the ids are in the output of that name only
_UNSUPPORTED = ("classification", "shared_memory_region")


@dataclass(frozen=True, slots=True)
class AskedInference:
    """A request, and what its answer needs.

    Attributes:
        call: The request for the endpoint.
        request_id: The message's id, echoed.
        outputs: The outputs asked for; empty for all.
        is_raw: Whether the answer has raw contents, because the request had.
    """

    call: InferenceCall
    request_id: str
    outputs: tuple[str, ...]
    is_raw: bool


def read_inference(request: Message, active: Active, head: CallHead, *, began: float, size: int) -> AskedInference:
    """Turn a message into a call.

    Args:
        request: The message.
        active: The versions in force of the model that it names.
        head: What the call says of itself.
        began: The moment of arrival on the monotonic clock, seconds.
        size: The message's bytes.

    Raises:
        NotFoundRequestError: When the version asked for is no number.
        InvalidRequestError: When the message breaks the protocol; says where.
        TooLargeError: When there are more than 100,000 rows.
    """
    pinned = head.pinned(request.model_version)
    challenger = active.challenger
    slot, further = active.champion, None
    if challenger is not None:
        if pinned == challenger.predictor.version:
            slot = challenger
        elif pinned is None:
            further = challenger.predictor.inputs
    predictor = slot.predictor
    parameters = request.parameters
    timeout_us = checked_timeout_us(parameters["timeout"]) if parameters and "timeout" in parameters else None
    outputs = _asked_outputs(request) if request.outputs else ()
    if outputs:
        check_outputs(outputs, predictor.loaded.signature.output)
    request_id: str = request.id
    call = InferenceCall(
        rows=rows_for(read_tensors(request), predictor.inputs, predictor.assembly.known, further=further or ()),
        protocol=PROTOCOL,
        request_id=head.request_id or request_id or None,
        unit=head.routing_key,
        pinned=pinned,
        deadline=head.deadline(began, timeout_us),
        size_bytes=size,
    )
    return AskedInference(call, request_id, outputs, bool(request.raw_input_contents))


def _asked_outputs(request: Message) -> tuple[str, ...]:
    names: list[str] = []
    for output in request.outputs:
        name = output.name
        if name in names:
            raise InvalidRequestError(f"The output '{name[:200]}' is asked for twice.", field=name)
        unsupported = [extension for extension in _UNSUPPORTED if extension in output.parameters]
        if unsupported:
            message = f"The output '{name[:200]}' asks for {', '.join(unsupported)}, which is not supported."
            raise InvalidRequestError(message, field=name)
        names.append(name)
    return tuple(names)


class InferenceAnswers:
    """Write answers.

    Args:
        messages: The message classes.
    """

    def __init__(self, messages: Messages) -> None:
        self._response = messages["inference.ModelInferResponse"]

    def write(self, served: Served, asked: AskedInference) -> Message:
        """Turn an answer into a message: its outputs, and as parameters who answered and under which ids.

        Raises:
            InvalidRequestError: When the version that answered does not have an output that was asked for.
        """
        response = self._response(model_name=served.model, model_version=str(served.version), id=asked.request_id)
        parameters = response.parameters
        parameters["route"].string_param = served.route
        parameters["request_id"].string_param = served.request_id
        tensors = served_tensors(served, asked.outputs)
        if len(served.prediction_ids) <= MOST_LISTED_IDS and tensors[-1].name != PREDICTION_ID:
            parameters["prediction_ids"].string_param = ",".join(served.prediction_ids)
        write_tensors(response, tensors, is_raw=asked.is_raw)
        return response

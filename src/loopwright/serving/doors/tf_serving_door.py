"""The REST routes of TensorFlow Serving, so that its clients move without a change: everything under ``/v1/models``.

``:predict`` takes ``instances`` (rows) and ``inputs`` (columns) and answers ``predictions`` and ``outputs``. A
regression answers plain numbers; a classifier with probabilities answers the two outputs ``predict`` and
``predict_proba``, under those names. Versions are registry versions; the labels ``champion`` and ``stable``,
``challenger`` and ``canary`` are the versions in force.

Source: TensorFlow Serving's "RESTful API".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from loopwright.core.errors import InvalidRequestError, NotFoundRequestError, NotReadyError
from loopwright.serving.bodies.json_rows import columnar_rows, decode_python_json, listed_rows, name_of
from loopwright.serving.bodies.row_bounds import check_rows
from loopwright.serving.bodies.rows_body import RowsBody
from loopwright.serving.doors.door_answer import only, served_headers
from loopwright.serving.doors.model_calls import CallForm
from loopwright.serving.http.message import BadFieldError, json_response
from loopwright.serving.http.request_headers import version_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.features.request import RequestField
    from loopwright.serving.calls.endpoint import Active, Endpoint
    from loopwright.serving.calls.inference_call import Served
    from loopwright.serving.calls.slot import Slot
    from loopwright.serving.doors.door_answer import Answer
    from loopwright.serving.doors.model_calls import ModelCalls
    from loopwright.serving.http.message import HttpRequest, HttpResponse

_SIGNATURE = "serving_default"
_CHAMPION, _CHALLENGER = ("champion", "stable"), ("challenger", "canary")
_DTYPES = {"float": "DT_DOUBLE", "int": "DT_INT64", "bool": "DT_BOOL"}
_OUTPUT_DTYPES = {"float64": "DT_DOUBLE", "int64": "DT_INT64", "bool": "DT_BOOL"}
_HINT = "Known: /v1/models/<model>, …/metadata and …:predict, with /versions/<n> or /labels/<label> before them."


class TfServingDoor:
    """Answer TensorFlow Serving's routes for the models of one server."""

    def __init__(self, calls: ModelCalls) -> None:
        self._calls = calls

    def respond(self, request: HttpRequest, path: str, given: str | None) -> Answer:
        """Answer a request.

        Args:
            request: The request, whole.
            path: The part of its path after ``/v1/``.
            given: The request's id from its header, or None.

        Raises:
            RequestError: When the request is refused.
        """
        target, colon, verb = path.partition(":")
        parts = target.strip("/").split("/")
        if parts[0] != "models" or len(parts) < 2:
            raise NotFoundRequestError(f"There is nothing at {request.path[:200]}.", hint=_HINT)
        endpoint = self._calls.endpoint(parts[1])
        pinned, rest = _pinned(endpoint, parts[2:])
        if colon:
            if verb != "predict" or rest:
                raise NotFoundRequestError(f"There is nothing at {request.path[:200]}.", hint=_HINT)
            only(request, "POST")
            return self._calls.ask(endpoint, request, given, _FORM, pinned=pinned)
        only(request, "GET", "HEAD")
        active = _active(endpoint)
        slots = _slots(active)
        if pinned is not None and pinned not in slots:
            raise NotFoundRequestError(f"Version {pinned} of '{endpoint.model}' is not being served.")
        if not rest:
            return json_response({"model_version_status": [_status(number) for number in _shown(slots, pinned)]})
        if rest == ["metadata"]:
            return json_response(_metadata(endpoint.model, active.champion if pinned is None else slots[pinned]))
        raise NotFoundRequestError(f"There is nothing at {request.path[:200]}.", hint=_HINT)


def _pinned(endpoint: Endpoint, parts: list[str]) -> tuple[int | None, list[str]]:
    """Return the version that a path asks for, and what follows it."""
    if len(parts) >= 2 and parts[0] == "versions":
        return version_number(parts[1]), parts[2:]
    if len(parts) >= 2 and parts[0] == "labels":
        active = _active(endpoint)
        slot = active.champion if parts[1] in _CHAMPION else active.challenger if parts[1] in _CHALLENGER else None
        if slot is None:
            raise NotFoundRequestError(f"No version of '{endpoint.model}' has the label {parts[1][:50]!r} now.")
        return slot.predictor.version, parts[2:]
    return None, parts


def _active(endpoint: Endpoint) -> Active:
    if endpoint.active is None:
        raise NotReadyError(f"The model '{endpoint.model}' is not loaded.", hint="Try again in a moment.")
    return endpoint.active


def _slots(active: Active) -> dict[int, Slot]:
    return {slot.predictor.version: slot for slot in (active.champion, active.challenger) if slot is not None}


def _shown(slots: dict[int, Slot], pinned: int | None) -> list[int]:
    return sorted(slots, reverse=True) if pinned is None else [pinned]


def _status(version: int) -> dict[str, object]:
    status = {"error_code": "OK", "error_message": ""}
    return {"version": str(version), "state": "AVAILABLE", "status": status}


def _metadata(model: str, slot: Slot) -> dict[str, object]:
    output = slot.predictor.loaded.signature.output
    inputs = {field.name: _tensor(field.name, _DTYPES.get(field.type, "DT_STRING")) for field in slot.predictor.inputs}
    outputs = {"predict": _tensor("predict", _OUTPUT_DTYPES.get(output.dtype, "DT_STRING"))}
    if output.probabilities:
        outputs["predict_proba"] = _tensor("predict_proba", "DT_DOUBLE", len(output.classes or ()))
    signature = {"inputs": inputs, "outputs": outputs, "method_name": "tensorflow/serving/predict"}
    return {
        "model_spec": {"name": model, "signature_name": "", "version": str(slot.predictor.version)},
        "metadata": {"signature_def": {"signature_def": {_SIGNATURE: signature}}},
    }


def _tensor(name: str, dtype: str, width: int | None = None) -> dict[str, object]:
    sizes = ["-1"] if width is None else ["-1", str(width)]
    shape = {"dim": [{"size": size, "name": ""} for size in sizes], "unknown_rank": False}
    return {"dtype": dtype, "tensor_shape": shape, "name": name}


def _read(body: bytes, content_type: str | None, inputs: Sequence[RequestField]) -> RowsBody:  # noqa: ARG001 - a form
    document = decode_python_json(body)
    if not isinstance(document, dict):
        raise InvalidRequestError(f"The body must be an object, got {name_of(document)}.")
    signature = document.get("signature_name")
    if signature not in (None, "", _SIGNATURE):
        message = f"There is no signature {str(signature)[:50]!r}; there is {_SIGNATURE!r}."
        raise BadFieldError(message, field="signature_name")
    if ("instances" in document) == ("inputs" in document):
        raise InvalidRequestError("The body must have either 'instances' or 'inputs'.")
    form = "instances" if "instances" in document else "inputs"
    content = document[form]
    names = [field.name for field in inputs]
    if form == "inputs" and isinstance(content, dict):
        rows = columnar_rows({name: _columns(values) for name, values in content.items()})
    elif isinstance(content, list):
        rows = listed_rows([_instance(row) for row in content], names)
    else:
        raise BadFieldError(f"'{form}' must be a list, got {name_of(content)}.", field=form)
    if not rows:
        raise InvalidRequestError("The request has no rows.")
    check_rows(len(rows))
    return RowsBody(rows, form=form)


def _instance(row: object) -> object:
    """Return a row with its base64 objects as texts."""
    if isinstance(row, dict) and row.keys() != {"b64"}:
        return {name: _value(value) for name, value in row.items()}
    if isinstance(row, list):
        return [_value(value) for value in row]
    return _value(row)


def _columns(values: object) -> object:
    return [_value(value) for value in values] if isinstance(values, list) else _value(values)


def _value(value: object) -> object:
    """Return a value; ``{"b64": "…"}`` is the text in it, and a list of one value that value."""
    while isinstance(value, list) and len(value) == 1:  # a tensor of shape (rows, 1)
        value = value[0]
    return value["b64"] if isinstance(value, dict) and value.keys() == {"b64"} else value


def _write(served: Served, asked: RowsBody) -> HttpResponse:
    answers = served.answers
    by_row = asked.form == "instances"
    content: object = answers.values
    if answers.probabilities is not None:
        pairs = zip(answers.values, cast("list[object]", answers.probabilities), strict=True)
        if by_row:
            content = [{"predict": value, "predict_proba": row} for value, row in pairs]
        else:
            content = {"predict": answers.values, "predict_proba": answers.probabilities}
    document: dict[str, object] = {"predictions" if by_row else "outputs": content}
    if answers.ignored:
        document["ignored"] = answers.ignored
    return json_response(document, headers=served_headers(served))


_FORM = CallForm("tf-serving", _read, _write)

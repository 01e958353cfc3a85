"""From a request with rows to a call of a model, and from its answer to a response: what the doors for rows share.

A door brings a form: how its bodies are read, and how its answers are written. Small bodies are read where they
arrive; large and packed ones beside the event loop, so that nobody else waits for them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import NotFoundRequestError, NotReadyError
from loopwright.serving.calls.inference_call import InferenceCall
from loopwright.serving.doors.door_answer import written
from loopwright.serving.http.content_encoding import unpacked
from loopwright.serving.http.request_headers import deadline, pinned_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loopwright.core.clock import Clock
    from loopwright.features.request import RequestField
    from loopwright.serving.bodies.rows_body import RowsBody
    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.calls.inference_call import Served
    from loopwright.serving.doors.door_answer import Answer
    from loopwright.serving.http.message import HttpRequest, HttpResponse

_LARGE_BYTES = 64 << 10


@dataclass(frozen=True)
class CallForm:
    """How one door reads and writes.

    Attributes:
        protocol: The door's name in the metrics.
        read: Turns a body, its content type and the model's fields into rows; raises a `RequestError`.
        write: Turns an answer, and what was asked, into a response.
    """

    protocol: str
    read: Callable[[bytes, str | None, Sequence[RequestField]], RowsBody]
    write: Callable[[Served, RowsBody], HttpResponse]


class ModelCalls:
    """Call the endpoints of one server."""

    def __init__(self, endpoints: Mapping[str, Endpoint], *, clock: Clock) -> None:
        self._endpoints = endpoints
        self._clock = clock

    @property
    def models(self) -> list[str]:
        """Return the names of the models, sorted."""
        return sorted(self._endpoints)

    def endpoint(self, model: str) -> Endpoint:
        """Return a model's endpoint.

        Raises:
            NotFoundRequestError: When there is none of this name.
        """
        endpoint = self._endpoints.get(model)
        if endpoint is None:
            known = ", ".join(self.models) or "none"
            raise NotFoundRequestError(f"There is no model '{model[:200]}' here.", hint=f"Served: {known}.")
        return endpoint

    def ask(
        self, endpoint: Endpoint, request: HttpRequest, given: str | None, form: CallForm, *, pinned: int | None = None
    ) -> Answer:
        """Answer a request with rows.

        Args:
            endpoint: The model that is asked.
            request: The request, whole.
            given: The request's id from its header, or None.
            form: How its body is read and its answer written.
            pinned: The version that the path asks for; else the header may.

        Raises:
            RequestError: When it is refused.
        """
        began = self._clock.monotonic()
        inputs = _inputs(endpoint)
        encoding = request.header(b"content-encoding")
        if encoding is not None or len(request.body) > _LARGE_BYTES:
            return self._ask_beside(endpoint, request, given, form, pinned, began)
        parsed = form.read(request.body, request.header(b"content-type"), inputs)
        call = _call(endpoint, request, given, form, pinned, began, parsed)
        request.counted = True
        return written(endpoint.begin(call), lambda served: form.write(served, parsed))

    async def _ask_beside(
        self,
        endpoint: Endpoint,
        request: HttpRequest,
        given: str | None,
        form: CallForm,
        pinned: int | None,
        began: float,
    ) -> HttpResponse:
        parsed = await asyncio.to_thread(_read, request, form, _inputs(endpoint))
        call = _call(endpoint, request, given, form, pinned, began, parsed)
        request.counted = True
        served = await endpoint.answer(call)
        return await asyncio.to_thread(form.write, served, parsed)


def _inputs(endpoint: Endpoint) -> Sequence[RequestField]:
    active = endpoint.active
    if active is None:
        raise NotReadyError(f"The model '{endpoint.model}' is not loaded.", hint="Try again in a moment.")
    return active.champion.predictor.inputs


def _read(request: HttpRequest, form: CallForm, inputs: Sequence[RequestField]) -> RowsBody:
    encoding = request.header(b"content-encoding")
    body = request.body if encoding is None else unpacked(request.body, encoding)
    return form.read(body, request.header(b"content-type"), inputs)


def _call(
    endpoint: Endpoint,
    request: HttpRequest,
    given: str | None,
    form: CallForm,
    pinned: int | None,
    began: float,
    parsed: RowsBody,
) -> InferenceCall:
    return InferenceCall(
        rows=parsed.rows,
        protocol=form.protocol,
        request_id=given,
        keys=endpoint.stored_keys(parsed.keys),
        unit=request.header(b"x-routing-key"),
        pinned=pinned_version(request) if pinned is None else pinned,
        deadline=deadline(request, began),
        size_bytes=len(request.body),
    )

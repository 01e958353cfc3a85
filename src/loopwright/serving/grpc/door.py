"""The calls of the Open Inference Protocol's gRPC service, for the endpoints of one server.

Guard, endpoint, log and metrics are those of HTTP. A call of one message costs no task: it enters the turn of the event
loop in which it arrived, is computed with the others of that turn, and is answered from the endpoint's callback.

``ModelStreamInfer`` answers the requests of a stream one after another, and tells a failure in ``error_message``
without ending the stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import NotFoundRequestError, NotReadyError, RequestError
from loopwright.serving.grpc.inference import PROTOCOL, InferenceAnswers, read_inference
from loopwright.serving.grpc.metadata import ModelDescriptions
from loopwright.serving.grpc.method import Method
from loopwright.serving.grpc.protocol import INFERENCE
from loopwright.serving.grpc.serve import named, read, streamed, unary

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.serving.calls.endpoint import Endpoint, Served
    from loopwright.serving.grpc.call import CallHead
    from loopwright.serving.grpc.inference import AskedInference
    from loopwright.serving.grpc.proto_file import Message, Messages
    from loopwright.serving.grpc.stream import Stream
    from loopwright.serving.server.further_door import DoorParts

_OPEN_CALLS = frozenset({"ServerLive", "ServerReady"})  # as the health paths of HTTP


class GrpcDoor:
    """Answer the service's calls.

    Args:
        parts: What the doors of a server work with.
        messages: The message classes.
    """

    def __init__(self, parts: DoorParts, messages: Messages) -> None:
        self._parts = parts
        self._messages = messages
        self._request = messages["inference.ModelInferRequest"]
        self._stream_response = messages["inference.ModelStreamInferResponse"]
        self._answers = InferenceAnswers(messages)
        self._descriptions = ModelDescriptions(parts, messages)

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        described = {
            name: Method(unary=unary(self._described(name, answer)))
            for name, answer in self._descriptions.answers.items()
        }
        inferring = {
            "ModelInfer": Method(unary=unary(self._model_infer)),
            "ModelStreamInfer": Method(streamed=streamed(self._stream_infer)),
        }
        return {f"/{INFERENCE.service_name}/{name}": method for name, method in (described | inferring).items()}

    def admit(self, head: CallHead, call: str) -> None:
        """Let a caller pass.

        Raises:
            UnauthorizedRequestError: If it has no valid token, where one is needed.
            ForbiddenRequestError: If the token's role does not include what is asked.
        """
        self._parts.guard.admit(head.authorization, needs="viewer", asked=call)

    def _described(self, name: str, answer: Callable[[Message], Message]) -> Callable[[Stream, bytes], None]:
        kind = self._messages[f"inference.{name}Request"]

        def begin(stream: Stream, content: bytes) -> None:
            if name not in _OPEN_CALLS:
                self.admit(stream.head, name)
            stream.answer(answer(read(kind, content)).SerializeToString())

        return begin

    def _model_infer(self, stream: Stream, content: bytes) -> None:
        endpoint, asked = self._asked(stream.head, content)

        def then(outcome: Served | RequestError) -> None:
            stream.on_cancel = None
            if isinstance(outcome, RequestError):
                stream.refuse(outcome)
                return
            try:
                stream.answer(self._answers.write(outcome, asked).SerializeToString())
            except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets a status, and the others theirs
                stream.refuse(named(error, stream.head.path))

        stream.on_cancel = endpoint.begin(asked.call, then).cancel

    def _asked(self, head: CallHead, content: bytes) -> tuple[Endpoint, AskedInference]:
        """Read a request for inference; one that is refused here is counted here."""
        model = ""
        try:
            self.admit(head, "ModelInfer")
            request = read(self._request, content)
            endpoint = self._endpoint(request.model_name)
            model = endpoint.model
            active = endpoint.active
            if active is None:
                raise NotReadyError(f"The model '{model}' is not loaded.", hint="Try again in a moment.")
            began = self._parts.clock.monotonic()
            return endpoint, read_inference(request, active, head, began=began, size=len(content))
        except RequestError as error:
            self._parts.metrics.refused(model, PROTOCOL, error.status)
            raise

    def _endpoint(self, model: str) -> Endpoint:
        endpoint = self._parts.endpoints.get(model)
        if endpoint is None:
            known = ", ".join(sorted(self._parts.endpoints)) or "none"
            raise NotFoundRequestError(
                f"Request for unknown model: '{model[:200]}' is not served here.", hint=f"Served: {known}."
            )
        return endpoint

    async def _stream_infer(self, stream: Stream) -> None:
        self.admit(stream.head, "ModelStreamInfer")
        while (content := await stream.next_message()) is not None:
            response = self._stream_response()
            try:
                endpoint, asked = self._asked(stream.head, content)
                served = await endpoint.answer(asked.call)
                response.infer_response.CopyFrom(self._answers.write(served, asked))
            except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets a message
                self._tell(response, content, named(error, stream.head.path))
            await stream.send(response.SerializeToString())

    def _tell(self, response: Message, content: bytes, error: RequestError) -> None:
        """Say what failed, and of which request, as far as it can be read."""
        response.error_message = str(error)
        try:
            request = read(self._request, content)
        except RequestError:
            return
        response.infer_response.id = request.id
        response.infer_response.model_name = request.model_name

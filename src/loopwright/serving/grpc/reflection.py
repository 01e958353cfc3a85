"""Server reflection: callers such as grpcurl ask which services there are and how their messages look.

Version 1 has the messages of its alpha, letter for letter; callers ask for one or the other, and get both.

Source: grpc/grpc-proto, ``grpc/reflection/v1/reflection.proto`` and ``v1alpha``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from loopwright.serving.grpc.method import Method
from loopwright.serving.grpc.proto_file import ProtoFile, Rpc
from loopwright.serving.grpc.serve import read, streamed
from loopwright.serving.grpc.status import CODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.serving.grpc.call import CallHead
    from loopwright.serving.grpc.proto_file import Message, Messages
    from loopwright.serving.grpc.stream import Stream

_FACTS = {
    "ServerReflectionRequest": (
        "string host=1; oneof message_request; |string file_by_filename=3; |string file_containing_symbol=4; "
        "|ExtensionRequest file_containing_extension=5; |string all_extension_numbers_of_type=6; "
        "|string list_services=7"
    ),
    "ExtensionRequest": "string containing_type=1; int32 extension_number=2",
    "ServerReflectionResponse": (
        "string valid_host=1; ServerReflectionRequest original_request=2; oneof message_response; "
        "|FileDescriptorResponse file_descriptor_response=4; "
        "|ExtensionNumberResponse all_extension_numbers_response=5; "
        "|ListServiceResponse list_services_response=6; |ErrorResponse error_response=7"
    ),
    "FileDescriptorResponse": "*bytes file_descriptor_proto=1",
    "ExtensionNumberResponse": "string base_type_name=1; *int32 extension_number=2",
    "ListServiceResponse": "*ServiceResponse service=1",
    "ServiceResponse": "string name=1",
    "ErrorResponse": "int32 error_code=1; string error_message=2",
}
_INFO = Rpc(
    "ServerReflectionInfo",
    "ServerReflectionRequest",
    "ServerReflectionResponse",
    takes_stream=True,
    gives_stream=True,
)
REFLECTION = tuple(
    ProtoFile(
        f"grpc/reflection/{version}/reflection.proto",
        f"grpc.reflection.{version}",
        _FACTS,
        "ServerReflection",
        (_INFO,),
    )
    for version in ("v1", "v1alpha")
)


class ReflectionService:
    """Answer what there is, from the pool of the messages.

    Args:
        messages: The message classes, and their descriptors.
        services: The names of the services that are served.
        admit: Lets a caller pass, or raises.
    """

    def __init__(
        self, messages: Messages, services: tuple[str, ...], *, admit: Callable[[CallHead, str], None]
    ) -> None:
        self._messages = messages
        self._services = services
        self._admit = admit

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {
            f"/{file.service_name}/{_INFO.name}": Method(streamed=streamed(partial(self._info, file.package)))
            for file in REFLECTION
        }

    async def _info(self, package: str, stream: Stream) -> None:
        """Answer the questions of a stream in their order."""
        self._admit(stream.head, _INFO.name)
        kind = self._messages[f"{package}.{_INFO.takes}"]
        while (content := await stream.next_message()) is not None:
            response = self._messages[f"{package}.{_INFO.gives}"]()
            self._answer(read(kind, content), response)
            await stream.send(response.SerializeToString())

    def _answer(self, request: Message, response: Message) -> None:
        response.original_request.CopyFrom(request)
        asked = request.WhichOneof("message_request")
        if asked == "list_services":
            for name in self._services:
                response.list_services_response.service.add(name=name)
            return
        try:
            found = self._found(asked, request)
        except KeyError:
            response.error_response.error_code = CODES["NOT_FOUND"]
            response.error_response.error_message = "There is nothing of this name."
            return
        if asked == "all_extension_numbers_of_type":
            response.all_extension_numbers_response.base_type_name = found.full_name  # and it has no extensions
        else:
            response.file_descriptor_response.file_descriptor_proto.append(found.serialized_pb)

    def _found(self, asked: str | None, request: Message) -> Message:
        """Return the descriptor that is asked for; KeyError when there is none."""
        pool = self._messages.pool
        if asked == "file_by_filename":
            return pool.FindFileByName(request.file_by_filename)
        if asked == "file_containing_symbol":
            return pool.FindFileContainingSymbol(request.file_containing_symbol)
        if asked == "all_extension_numbers_of_type":
            return pool.FindMessageTypeByName(request.all_extension_numbers_of_type)
        raise KeyError(asked)

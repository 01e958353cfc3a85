"""The messages of the Open Inference Protocol's gRPC service, built from the protocol's facts when they are needed.

`Messages` makes the classes in a descriptor pool of its own: a process that also imports a client of the protocol
(with descriptors of its own in the default pool) is not disturbed, and no generated file is kept here. Beside the
protocol's six calls stand two that Triton's clients know and that are really served: ``ModelStreamInfer`` and
``RepositoryIndex``.

Source of names, numbers and types: ``open_inference_grpc.proto`` (kserve/open-inference-protocol, package
``inference``); for the two further calls ``grpc_service.proto`` (triton-inference-server/common).
``bench/grpc_facts.py`` compiles the originals and compares field by field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from loopwright.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "inference.GRPCInferenceService"
FILE_NAME = "open_inference_grpc.proto"
# Messages are made at run time: there is no class to name in an annotation.
Message: TypeAlias = Any

# One line per message: "type name = number"; "*" marks a repeated field, "name<T>" a map from strings to T, "|" a
# member of the message's only oneof.
_TENSOR = "string name=1; string datatype=2; *int64 shape=3; map<InferParameter> parameters=4; "
_FACTS: Mapping[str, str] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live=1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready=1",
    "ModelReadyRequest": "string name=1; string version=2",
    "ModelReadyResponse": "bool ready=1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name=1; string version=2; *string extensions=3",
    "ModelMetadataRequest": "string name=1; string version=2",
    "ModelMetadataResponse": (
        "string name=1; *string versions=2; string platform=3; *ModelMetadataResponse.TensorMetadata inputs=4; "
        "*ModelMetadataResponse.TensorMetadata outputs=5; map<string> properties=6"
    ),
    "ModelMetadataResponse.TensorMetadata": "string name=1; string datatype=2; *int64 shape=3",
    "InferParameter": (
        "|bool bool_param=1; |int64 int64_param=2; |string string_param=3; |double double_param=4; "
        "|uint64 uint64_param=5"
    ),
    "InferTensorContents": (
        "*bool bool_contents=1; *int32 int_contents=2; *int64 int64_contents=3; *uint32 uint_contents=4; "
        "*uint64 uint64_contents=5; *float fp32_contents=6; *double fp64_contents=7; *bytes bytes_contents=8"
    ),
    "ModelInferRequest": (
        "string model_name=1; string model_version=2; string id=3; map<InferParameter> parameters=4; "
        "*ModelInferRequest.InferInputTensor inputs=5; *ModelInferRequest.InferRequestedOutputTensor outputs=6; "
        "*bytes raw_input_contents=7"
    ),
    "ModelInferRequest.InferInputTensor": _TENSOR + "InferTensorContents contents=5",
    "ModelInferRequest.InferRequestedOutputTensor": "string name=1; map<InferParameter> parameters=2",
    "ModelInferResponse": (
        "string model_name=1; string model_version=2; string id=3; map<InferParameter> parameters=4; "
        "*ModelInferResponse.InferOutputTensor outputs=5; *bytes raw_output_contents=6"
    ),
    "ModelInferResponse.InferOutputTensor": _TENSOR + "InferTensorContents contents=5",
    "ModelStreamInferResponse": "string error_message=1; ModelInferResponse infer_response=2",
    "RepositoryIndexRequest": "string repository_name=1; bool ready=2",
    "RepositoryIndexResponse": "*RepositoryIndexResponse.ModelIndex models=1",
    "RepositoryIndexResponse.ModelIndex": "string name=1; string version=2; string state=3; string reason=4",
}
CALLS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "ModelStreamInfer",
    "RepositoryIndex",
)
_STREAMED = frozenset({"ModelStreamInfer"})
_SCALARS = {
    "double": "TYPE_DOUBLE",
    "float": "TYPE_FLOAT",
    "int64": "TYPE_INT64",
    "uint64": "TYPE_UINT64",
    "int32": "TYPE_INT32",
    "bool": "TYPE_BOOL",
    "string": "TYPE_STRING",
    "bytes": "TYPE_BYTES",
    "uint32": "TYPE_UINT32",
}
_ONEOF = "parameter_choice"  # the protocol's only oneof


class Messages:
    """The message classes of the service, by the last part of their names.

    Args:
        with_files: Further files for the pool, as serialized descriptors, so that reflection can describe them.

    Raises:
        MissingExtraError: When protobuf is not installed.
    """

    def __init__(self, *with_files: bytes) -> None:
        try:
            from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingExtraError("protobuf", extra="grpc") from None
        self.pool = descriptor_pool.DescriptorPool()
        self.pool.AddSerializedFile(_file(descriptor_pb2).SerializeToString())
        for content in with_files:
            self.pool.AddSerializedFile(content)

        def made(name: str) -> Message:
            return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"inference.{name}"))

        self.by_name: dict[str, Message] = {name: made(name) for name in _FACTS}

    def request(self, call: str) -> Message:
        """Return the class of what a call takes."""
        return self.by_name[_taken(call)]

    def response(self, call: str) -> Message:
        """Return the class of what a call answers."""
        return self.by_name[f"{call}Response"]


def _taken(call: str) -> str:
    return "ModelInferRequest" if call in _STREAMED else f"{call}Request"


def _file(pb: Message) -> Message:
    """Write the whole file as a descriptor."""
    file = pb.FileDescriptorProto(name=FILE_NAME, package="inference", syntax="proto3")
    written: dict[str, Message] = {}
    for name, facts in _FACTS.items():
        outer, _, inner = name.rpartition(".")
        message = written[outer].nested_type.add() if outer else file.message_type.add()
        message.name = inner
        written[name] = message
        for fact in filter(None, facts.split("; ")):
            _add(message, f".inference.{name}", fact, pb.FieldDescriptorProto)
    service = file.service.add(name=SERVICE.rpartition(".")[2])
    for call in CALLS:
        service.method.add(
            name=call,
            input_type=f".inference.{_taken(call)}",
            output_type=f".inference.{call}Response",
            client_streaming=call in _STREAMED,
            server_streaming=call in _STREAMED,
        )
    return file


def _add(message: Message, path: str, fact: str, kind: Message) -> None:
    """Write one field; a map is a repeated entry of a key and a value, as the protocol buffers' guide says."""
    declared, _, number = fact.partition("=")
    typed, _, name = declared.partition(" ")
    field = message.field.add(name=name, number=int(number), json_name=_json_name(name))
    field.label = kind.LABEL_REPEATED if typed.startswith(("*", "map<")) else kind.LABEL_OPTIONAL
    if typed.startswith("map<"):
        entry = message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        for place, (part, of) in enumerate((("key", "string"), ("value", typed[4:-1])), start=1):
            _typed(entry.field.add(name=part, number=place, json_name=part, label=kind.LABEL_OPTIONAL), of, kind)
        field.type, field.type_name = kind.TYPE_MESSAGE, f"{path}.{entry.name}"
        return
    if typed.startswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name=_ONEOF)
        field.oneof_index = 0
    _typed(field, typed.lstrip("*|"), kind)


def _typed(field: Message, of: str, kind: Message) -> None:
    if of in _SCALARS:
        field.type = getattr(kind, _SCALARS[of])
    else:
        field.type, field.type_name = kind.TYPE_MESSAGE, f".inference.{of}"


def _json_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)

"""Protocol buffers from a table of facts: descriptors and message classes, without generated files.

`Messages` makes the classes in a descriptor pool of its own, so a process that also imports a client of the same
protocol (with descriptors in the default pool) is not disturbed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from loopwright.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Messages are made at run time: there is no class to name in an annotation.
Message: TypeAlias = Any

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


@dataclass(frozen=True)
class Rpc:
    """One method of a service; the types are those of its file."""

    name: str
    takes: str
    gives: str
    takes_stream: bool = False
    gives_stream: bool = False


@dataclass(frozen=True)
class ProtoFile:
    """A file of protocol buffers, version 3.

    Attributes:
        name: Its name, as reflection shows it.
        package: Its package.
        messages: The fields of each message, parted by ``"; "``: ``type name=number`` with ``*`` before the type of a
            repeated field, ``map<T> name=number`` for a map from strings, ``|`` before the members of the oneof that a
            fact ``oneof name`` announces, and ``enum Name A=0 B=1`` for an enum within. Nested ones have a dot in their
            names and come after their outer ones.
        service: The last part of the service's name.
        rpcs: Its methods.
    """

    name: str
    package: str
    messages: Mapping[str, str]
    service: str
    rpcs: tuple[Rpc, ...]

    @property
    def service_name(self) -> str:
        """Return the service's whole name."""
        return f"{self.package}.{self.service}"


class Messages:
    """The message classes of some files.

    Args:
        files: The files; each stands alone.

    Attributes:
        pool: Their descriptors.

    Raises:
        MissingExtraError: When protobuf is not installed.
    """

    def __init__(self, files: Iterable[ProtoFile]) -> None:
        try:
            from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingExtraError("protobuf", extra="grpc") from None
        self.pool = descriptor_pool.DescriptorPool()
        self._of: dict[str, Message] = {}
        for file in files:
            self.pool.AddSerializedFile(_descriptor(file, descriptor_pb2).SerializeToString())
            for name in file.messages:
                full = f"{file.package}.{name}"
                self._of[full] = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(full))

    def __getitem__(self, name: str) -> Message:
        """Return a class by its whole name."""
        return self._of[name]


def _descriptor(file: ProtoFile, pb: Message) -> Message:
    written = pb.FileDescriptorProto(name=file.name, package=file.package, syntax="proto3")
    made: dict[str, Message] = {}
    enums = {
        f"{name}.{fact.split()[1]}"
        for name, facts in file.messages.items()
        for fact in facts.split("; ")
        if fact.startswith("enum ")
    }
    for name, facts in file.messages.items():
        outer, _, inner = name.rpartition(".")
        message = made[outer].nested_type.add() if outer else written.message_type.add()
        message.name = inner
        made[name] = message
        for fact in filter(None, facts.split("; ")):
            _Fields(message, f".{file.package}", name, enums, pb.FieldDescriptorProto).add(fact)
    service = written.service.add(name=file.service)
    for rpc in file.rpcs:
        service.method.add(
            name=rpc.name,
            input_type=f".{file.package}.{rpc.takes}",
            output_type=f".{file.package}.{rpc.gives}",
            client_streaming=rpc.takes_stream,
            server_streaming=rpc.gives_stream,
        )
    return written


class _Fields:
    """Write the fields of one message."""

    def __init__(self, message: Message, package: str, name: str, enums: set[str], kind: Message) -> None:
        self._message = message
        self._package = package
        self._name = name
        self._enums = enums
        self._kind = kind

    def add(self, fact: str) -> None:
        """Write what a fact says."""
        message, kind = self._message, self._kind
        if fact.startswith("oneof "):
            message.oneof_decl.add(name=fact.removeprefix("oneof "))
            return
        if fact.startswith("enum "):
            _, name, *values = fact.split()
            enum = message.enum_type.add(name=name)
            for value in values:
                label, _, number = value.partition("=")
                enum.value.add(name=label, number=int(number))
            return
        declared, _, number = fact.partition("=")
        typed, _, name = declared.partition(" ")
        field = message.field.add(name=name, number=int(number), json_name=_json_name(name))
        field.label = kind.LABEL_REPEATED if typed.startswith(("*", "map<")) else kind.LABEL_OPTIONAL
        if typed.startswith("map<"):
            self._map(field, name, typed[4:-1])
            return
        if typed.startswith("|"):
            field.oneof_index = len(message.oneof_decl) - 1
        self._typed(field, typed.lstrip("*|"))

    def _map(self, field: Message, name: str, of: str) -> None:
        """Write a map as what it is: repeated entries of a key and a value."""
        kind = self._kind
        entry = self._message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        for number, (part, typed) in enumerate((("key", "string"), ("value", of)), start=1):
            self._typed(entry.field.add(name=part, number=number, json_name=part, label=kind.LABEL_OPTIONAL), typed)
        field.type, field.type_name = kind.TYPE_MESSAGE, f"{self._package}.{self._name}.{entry.name}"

    def _typed(self, field: Message, of: str) -> None:
        if of in _SCALARS:
            field.type = getattr(self._kind, _SCALARS[of])
            return
        field.type = self._kind.TYPE_ENUM if of in self._enums else self._kind.TYPE_MESSAGE
        field.type_name = f"{self._package}.{of}"


def _json_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)

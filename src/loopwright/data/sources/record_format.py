"""How one record of a stream becomes a row: JSON, Avro or Protobuf, by schema, and what stands beside the value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from loopwright.core.errors import DeclarationError, UnknownNameError

Format = Literal["json", "avro", "protobuf"]
Attribute = Literal["key", "part", "offset", "timestamp", "headers"]
Attributes: TypeAlias = Mapping[str, str] | Sequence[str]


@dataclass(frozen=True)
class RecordFormat:
    """What the values of a stream are. Make it with :func:`record_format`, which checks it.

    Attributes:
        format: ``json``, ``avro`` or ``protobuf``.
        schema: Path of the Avro schema (``.avsc``), or of the compiled descriptors of Protobuf.
        message: Full name of the Protobuf message.
        framed: Whether values begin with Confluent's five bytes, which name a schema in a registry.
        attributes: Columns for what stands beside the value, each with what it holds.
    """

    format: Format = "json"
    schema: str | None = None
    message: str | None = None
    framed: bool = False
    attributes: tuple[tuple[str, str], ...] = ()

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        described: dict[str, object] = {
            "format": self.format,
            "schema": self.schema,
            "message": self.message,
            "framed": self.framed or None,
            "attributes": dict(self.attributes) or None,
        }
        return {key: value for key, value in described.items() if value is not None}


def record_format(
    source: str, *, format: str, schema: str | None, message: str | None, framed: bool, attributes: Attributes
) -> RecordFormat:
    """Check how a source's values are said to be read.

    Raises:
        DeclarationError: If the parts do not go together.

    >>> record_format("kafka", format="json", schema=None, message=None, framed=False, attributes=["key"]).attributes
    (('key', 'key'),)
    """
    if format not in get_args(Format):
        unknown = UnknownNameError("format of records", str(format), get_args(Format))
        raise DeclarationError(f"{source}(): {unknown.message}", hint=unknown.hint)
    if (format == "json") != (schema is None):
        wanted = {"avro": "schema='orders.avsc'", "protobuf": "schema='orders.desc' (protoc --descriptor_set_out)"}
        hint = f"Give {wanted[format]}." if format in wanted else "Leave it out, or say format='avro'."
        raise DeclarationError(f"{source}(): format={format!r} and schema={schema!r} do not go together.", hint=hint)
    if (format == "protobuf") != (message is not None):
        raise DeclarationError(
            f"{source}(): format={format!r} and message={message!r} do not go together.",
            hint="Protobuf needs the full name of its message, such as message='shop.Order'; the others have none.",
        )
    named = attributes if isinstance(attributes, Mapping) else {name: name for name in attributes}
    for name, what in named.items():
        if what not in get_args(Attribute):
            unknown = UnknownNameError("attribute of a record", str(what), get_args(Attribute))
            raise DeclarationError(f"{source}(): {unknown.message}", hint=unknown.hint)
        if not isinstance(name, str) or not name or name.startswith("_"):
            raise DeclarationError(f"{source}(): {name!r} is no name for a column.", hint="Begin it with a letter.")
    return RecordFormat(format, schema, message, framed, tuple(named.items()))  # type: ignore[arg-type]

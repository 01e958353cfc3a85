"""The frame that serialisers of a schema registry put before a value, and what all decoders of records share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

_MAGIC = 0
_FRAME_BYTES = 5


class RecordDecoder(Protocol):
    """Reads values by a format."""

    def table(self, values: Sequence[bytes | None]) -> tuple[pa.Table, list[str | None]]:
        """Return one row per value, and why a value could not be read, or None."""
        ...


def payload(value: bytes | None, *, is_framed: bool) -> bytes:
    """Return the value without its frame.

    Five bytes: a zero, then the number of the schema. Source: Confluent, "Formats, Serializers and Deserializers",
    wire format.

    Raises:
        ValueError: If there is no value, or no frame.
    """
    if value is None:
        raise ValueError("there is no value (a tombstone)")
    if not is_framed:
        return value
    if len(value) < _FRAME_BYTES or value[0] != _MAGIC:
        raise ValueError("the value does not begin with the frame of a schema registry")
    return value[_FRAME_BYTES:]


def reason(error: BaseException) -> str:
    """Return the first line of what a decoder says."""
    return (str(error).split("\n", 1)[0] or type(error).__name__)[:200]

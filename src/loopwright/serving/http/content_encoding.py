"""Packed bodies (``Content-Encoding``), unpacked to no more than a body may have."""

from __future__ import annotations

import zlib

import pyarrow as pa

from loopwright.core.errors import InvalidRequestError, UnsupportedMediaError
from loopwright.serving.http.message import MAX_BODY_BYTES, too_large

ENCODINGS = ("gzip", "deflate", "zstd")
_GZIP = 16 + zlib.MAX_WBITS


def unpacked(body: bytes, encoding: str) -> bytes:
    """Return a body as it was before it was packed.

    Args:
        body: The body as it came.
        encoding: The header's value: ``gzip``, ``deflate``, ``zstd`` or ``identity``.

    Raises:
        UnsupportedMediaError: When it is packed in another way, or twice.
        InvalidRequestError: When it cannot be unpacked.
        TooLargeError: When more than 16 MiB would come out; no more than that is ever held.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _from_gzip(body)
        case "deflate":
            return _from_deflate(body)
        case "zstd":
            return _from_zstd(body)
    raise UnsupportedMediaError(
        f"The content encoding {encoding[:50]!r} is not read.", hint=f"Use one of {', '.join(ENCODINGS)}."
    )


def _from_gzip(body: bytes) -> bytes:
    parts: list[bytes] = []
    room = MAX_BODY_BYTES + 1
    rest = body
    try:
        while rest:  # a file may have several members
            member = zlib.decompressobj(_GZIP)
            part = member.decompress(rest, room)
            parts.append(part)
            room -= len(part)
            if room <= 0:
                raise too_large()
            if not member.eof:
                raise InvalidRequestError("The gzip body ends too early.")
            rest = member.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise InvalidRequestError(f"The body cannot be unpacked as gzip: {error}.") from error
    return b"".join(parts)


def _from_deflate(body: bytes) -> bytes:
    """Unpack the zlib format, which is what HTTP means by deflate (RFC 9110, 8.4.1.2)."""
    member = zlib.decompressobj()
    try:
        content = member.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise InvalidRequestError(f"The body cannot be unpacked as deflate: {error}.") from error
    if len(content) > MAX_BODY_BYTES:
        raise too_large()
    if not member.eof or member.unused_data:
        raise InvalidRequestError("The deflate body ends too early, or something stands behind it.")
    return content


def _from_zstd(body: bytes) -> bytes:
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
            content = stream.read(MAX_BODY_BYTES + 1)
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequestError("The body cannot be unpacked as zstd.") from error
    if len(content) > MAX_BODY_BYTES:
        raise too_large()
    return bytes(content)

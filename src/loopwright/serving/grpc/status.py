"""gRPC's status codes, and how an error is told to a caller: a code, a message, and when to come again.

Source: grpc/grpc, ``doc/statuscodes.md``; for ``grpc-retry-pushback-ms`` gRPC proposal A6, "Pushback".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from loopwright.core.errors import OverloadedError
from loopwright.serving.grpc.hpack import written

if TYPE_CHECKING:
    from loopwright.core.errors import RequestError

CODES = {
    "OK": 0,
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}
_OF_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_LONGEST_MESSAGE = 1_000  # it travels as a header, and callers bound those
_UNQUOTED = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


@dataclass(frozen=True)
class Refusal:
    """How a call ends that is not answered.

    Attributes:
        code: A name of `CODES`.
        message: What the caller reads.
        retry_ms: When to come again, milliseconds; negative for never, None where nothing is known.
    """

    code: str
    message: str
    retry_ms: int | None = None

    @classmethod
    def of(cls, error: RequestError) -> Refusal:
        """Say an error."""
        retry_ms = None
        if isinstance(error, OverloadedError):
            retry_ms = max(1, round(error.retry_after_s * 1000))
        elif error.status == 413:
            retry_ms = -1  # too large is not too many: the code is the same, and coming again does not help
        return cls(_OF_STATUS.get(error.status, "INTERNAL"), str(error)[:_LONGEST_MESSAGE], retry_ms)

    def trailers(self) -> bytes:
        """Return the trailing metadata as a header block."""
        fields = [
            (b"grpc-status", str(CODES[self.code]).encode()),
            (b"grpc-message", quote(self.message, safe=_UNQUOTED).encode()),
        ]
        if self.retry_ms is not None:
            fields.append((b"grpc-retry-pushback-ms", str(self.retry_ms).encode()))
        return written(tuple(fields))

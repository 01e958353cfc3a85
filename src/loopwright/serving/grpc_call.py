"""What a gRPC call says about itself in its metadata, and how an error is told to its caller.

Keys are those of the HTTP door: ``x-request-id``, ``x-routing-key``, ``x-model-version``, ``x-request-timeout-ms`` and
``authorization: Bearer …``; the deadline of gRPC itself (``grpc-timeout``) counts too, and the earliest one holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from loopwright.core.errors import OverloadedError
from loopwright.serving.request_headers import checked_request_id, deadline_of, version_number

if TYPE_CHECKING:
    from loopwright.core.errors import RequestError

Context: TypeAlias = Any  # gRPC is an extra: its ServicerContext cannot be named here
_LONGEST_MESSAGE = 1_000  # the message travels as a header, and callers bound those
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class CallMetadata:
    """The metadata of one call, each key by its last value."""

    __slots__ = ("_texts",)

    def __init__(self, context: Context) -> None:
        # Binary values (keys that end in "-bin") are bytes; none of them is read here.
        self._texts = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}

    @property
    def authorization(self) -> str | None:
        """Return what the caller shows to be let in, or None."""
        return self._texts.get("authorization")

    @property
    def routing_key(self) -> str | None:
        """Return what sticks to a version during a canary, or None."""
        return self._texts.get("x-routing-key")

    @property
    def request_id(self) -> str | None:
        """Return the caller's id of the request, or None.

        Raises:
            InvalidRequestError: When it is empty, too long or not printable.
        """
        given = self._texts.get("x-request-id")
        return None if given is None else checked_request_id(given)

    def pinned(self, model_version: str) -> int | None:
        """Return the version asked for: by the message, else by ``x-model-version``, else None.

        Raises:
            NotFoundRequestError: When it is no version number.
        """
        text = model_version or self._texts.get("x-model-version")
        return version_number(text) if text else None

    def deadline(self, context: Context, began: float, timeout_us: float | None) -> float | None:
        """Return the moment after which no answer is wanted, on the clock of ``began``, or None.

        Raises:
            InvalidRequestError: When ``x-request-timeout-ms`` is no number of milliseconds.
        """
        remaining = context.time_remaining()
        ends = None if remaining is None else began + remaining
        if timeout_us is not None:
            ends = _earliest(ends, began + timeout_us / 1e6)
        text = self._texts.get("x-request-timeout-ms")
        return ends if text is None else _earliest(ends, deadline_of(text, began))


def _earliest(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)


def code_of(error: RequestError) -> str:
    """Return the name of the gRPC status for an error."""
    return _CODES.get(error.status, "INTERNAL")


def message_of(error: RequestError) -> str:
    """Return what the caller reads."""
    return str(error)[:_LONGEST_MESSAGE]


def trailers_of(error: RequestError) -> tuple[tuple[str, str], ...]:
    """Return the trailing metadata for an error: when to come again, where that is known.

    ``grpc-retry-pushback-ms`` is the key that gRPC's own retries obey (gRPC proposal A6).
    """
    if isinstance(error, OverloadedError):
        return (("grpc-retry-pushback-ms", str(max(1, round(error.retry_after_s * 1000)))),)
    return ()

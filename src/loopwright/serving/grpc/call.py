"""What a gRPC call says about itself in its metadata.

Keys are those of the HTTP door: ``x-request-id``, ``x-routing-key``, ``x-model-version``, ``x-request-timeout-ms`` and
``authorization: Bearer …``; the deadline of gRPC itself (``grpc-timeout``) counts too, and the earliest one holds.

Source: the protocol of gRPC over HTTP/2 (grpc/grpc, ``doc/PROTOCOL-HTTP2.md``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import InvalidRequestError
from loopwright.serving.http.request_headers import checked_request_id, deadline_of, version_number

if TYPE_CHECKING:
    from loopwright.serving.grpc.hpack import Fields
    from loopwright.serving.grpc.proto_file import Message

_UNIT_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class CallHead:
    """The metadata of a call; of each key the last value counts.

    Attributes:
        path: ``/service/method``, or empty when the call lacks what HTTP/2 asks of it.
        is_grpc: Whether the content is gRPC's.
        encoding: How its messages may be packed.
        timeout_s: How long the caller waits, or None.
        authorization: What the caller shows to be let in, or None.
    """

    __slots__ = ("_texts", "authorization", "encoding", "is_grpc", "path", "timeout_s")

    def __init__(self, fields: Fields) -> None:
        texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
        is_whole = texts.get(":method") == "POST" and all(name == name.lower() for name in texts)
        self._texts = texts
        self.path = texts.get(":path", "") if is_whole else ""
        self.is_grpc = texts.get("content-type", "").startswith("application/grpc")
        self.encoding = texts.get("grpc-encoding", "identity")
        self.timeout_s = timeout_seconds(texts["grpc-timeout"]) if "grpc-timeout" in texts else None
        self.authorization = texts.get("authorization")

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

    def deadline(self, began: float, timeout_us: float | None) -> float | None:
        """Return the moment after which no answer is wanted, on the clock of ``began``, or None.

        Raises:
            InvalidRequestError: When ``x-request-timeout-ms`` is no number of milliseconds.
        """
        ends = None if self.timeout_s is None else began + self.timeout_s
        if timeout_us is not None:
            ends = _earliest(ends, began + timeout_us / 1e6)
        text = self._texts.get("x-request-timeout-ms")
        return ends if text is None else _earliest(ends, deadline_of(text, began))


def _earliest(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)


def timeout_seconds(text: str) -> float | None:
    """Read gRPC's timeout: up to 8 digits and a unit; None for what is none.

    >>> timeout_seconds("250m"), timeout_seconds("2S"), timeout_seconds("soon")
    (0.25, 2.0, None)
    """
    digits, unit = text[:-1], text[-1:]
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 8 or unit not in _UNIT_S:
        return None
    return int(digits) * _UNIT_S[unit]


def checked_timeout_us(parameter: Message) -> float | None:
    """Return the ``timeout`` parameter of a message, microseconds; None for 0, which means none.

    Raises:
        InvalidRequestError: When it is no number, or negative.
    """
    chosen = parameter.WhichOneof("parameter_choice")
    value = getattr(parameter, chosen) if chosen else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise InvalidRequestError("'parameters.timeout' must be microseconds, 0 or more.", field="parameters")
    return float(value) or None

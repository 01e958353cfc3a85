"""How what answers a call becomes a method: whatever it raises, the caller gets a status, and never a traceback."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from loopwright.core.errors import DeadlineError, InvalidRequestError, ModelFailedError, RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loopwright.serving.grpc.proto_file import Message
    from loopwright.serving.grpc.stream import Stream

_log = structlog.get_logger(__name__)


def unary(answer: Callable[[Stream, bytes], None]) -> Callable[[Stream, bytes], None]:
    """Let a function answer the calls of one message; it sees to it that each is answered, now or later."""

    def begin(stream: Stream, content: bytes) -> None:
        try:
            answer(stream, content)
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets a status
            stream.refuse(named(error, stream.head.path))

    return begin


def streamed(answer: Callable[[Stream], Awaitable[None]]) -> Callable[[Stream], Awaitable[None]]:
    """Let a function answer the calls of several messages; when it returns, the call is over."""

    async def begin(stream: Stream) -> None:
        try:
            async with asyncio.timeout(stream.head.timeout_s):
                await answer(stream)
        except TimeoutError:
            stream.refuse(DeadlineError("The deadline of the stream has passed."))
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets a status
            stream.refuse(named(error, stream.head.path))
        else:
            stream.end()

    return begin


def named(error: Exception, path: str) -> RequestError:
    """Return an error as one that a caller may see; others go to the log."""
    if isinstance(error, RequestError):
        return error
    _log.error("a gRPC call failed", path=path, exc_info=error)
    return ModelFailedError(f"The call failed: {type(error).__name__}.", hint="See the server's log.")


def read(kind: Message, content: bytes) -> Message:
    """Read a message.

    Raises:
        InvalidRequestError: When the bytes are none.
    """
    try:
        return kind.FromString(content)
    except Exception as error:
        if type(error).__name__ != "DecodeError":  # protobuf is an extra: its class cannot be named here
            raise
        raise InvalidRequestError(f"The bytes are no {kind.DESCRIPTOR.name}.") from None

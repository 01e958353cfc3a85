"""What answers the calls of one path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loopwright.serving.grpc.stream import Stream


@dataclass(frozen=True)
class Method:
    """One method of a service: either ``unary`` or ``streamed``.

    Attributes:
        unary: Gets the call and its message, and sees to it that the call is answered, now or later; does not raise.
        streamed: Reads messages and sends messages until it returns; does not raise.
    """

    unary: Callable[[Stream, bytes], None] | None = None
    streamed: Callable[[Stream], Awaitable[None]] | None = None

    @property
    def takes_stream(self) -> bool:
        """Return whether messages are answered one by one."""
        return self.streamed is not None

    def begin(self, stream: Stream, message: bytes) -> None:
        """Answer a call of one message."""
        if self.unary is not None:
            self.unary(stream, message)

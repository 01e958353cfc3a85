"""What the HTTP doors share: an answer that is there now or is awaited, its headers, and the methods of a path."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, TypeAlias

from loopwright.core.errors import WrongMethodError
from loopwright.serving.endpoint import Served
from loopwright.serving.http_message import HttpResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.serving.http_message import HttpRequest

Answer: TypeAlias = HttpResponse | Coroutine[object, None, HttpResponse]


def written(served: Served | Coroutine[object, None, Served], write: Callable[[Served], HttpResponse]) -> Answer:
    """Write an answer out, now or when it is there."""
    if isinstance(served, Served):
        return write(served)

    async def wait() -> HttpResponse:
        return write(await served)

    return wait()


def served_headers(served: Served) -> list[tuple[bytes, bytes]]:
    """Return the headers of every prediction: the version that computed it, and the request's id."""
    return [
        (b"x-model-version", str(served.version).encode()),
        (b"x-request-id", served.request_id.encode("latin-1", "replace")),
    ]


def only(request: HttpRequest, *methods: str) -> None:
    """Refuse a request of another method.

    Raises:
        WrongMethodError: With the methods that are possible.
    """
    if request.method not in methods:
        raise WrongMethodError(f"{request.method} is not possible here.", allowed=methods, hint=f"Use {methods[0]}.")

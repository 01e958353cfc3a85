"""What the HTTP doors share: an answer that is there now, comes with its turn or is awaited; headers and methods."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, TypeAlias

from loopwright.core.errors import RequestError, WrongMethodError
from loopwright.serving.http.message import HttpResponse
from loopwright.serving.http.pending_response import PendingResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.serving.calls.call_entry import CallEntry
    from loopwright.serving.calls.inference_call import Served
    from loopwright.serving.http.message import HttpRequest

Answer: TypeAlias = HttpResponse | PendingResponse | Coroutine[object, None, HttpResponse]


def written(entry: CallEntry, write: Callable[[Served], HttpResponse]) -> HttpResponse | PendingResponse:
    """Write the answer to a call out, now or when it is there.

    Raises:
        RequestError: When the call has failed already.
    """
    outcome = entry.outcome
    if outcome is None:
        return PendingResponse(entry, write)
    if isinstance(outcome, RequestError):
        raise outcome
    return write(outcome)


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


def posted(request: HttpRequest) -> bytes:
    """Return the body of a POST.

    Raises:
        WrongMethodError: When it is none.
    """
    only(request, "POST")
    return request.body

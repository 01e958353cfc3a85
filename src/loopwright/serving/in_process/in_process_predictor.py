"""One model inside an application of one's own: what ``workspace.serving.predictor("eta")`` gives.

It is the same endpoint as behind HTTP, without HTTP: releases, admission, batches of what arrives together, online
features for what a row does not carry, the prediction log and the metrics. Its records are on disk before an answer
returns, so that a prediction that was seen survives the end of the process, also by ``kill -9``.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from loopwright.core.errors import InvalidRequestError, NotReadyError, RequestError
from loopwright.serving.calls.inference_call import InferenceCall
from loopwright.serving.http.request_headers import checked_request_id
from loopwright.serving.in_process.given_rows import read_given
from loopwright.serving.in_process.prediction import predictions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from loopwright.core.clock import Clock
    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.calls.inference_call import Served
    from loopwright.serving.in_process.call_loop import CallLoop
    from loopwright.serving.in_process.given_rows import GivenRows
    from loopwright.serving.in_process.prediction import Prediction

PROTOCOL = "in-process"


class CallOptions(TypedDict, total=False):
    """What a call may say beside its rows.

    Attributes:
        unit: What sticks to a version during a canary; by default the only key, or the call's id.
        version: The number of a version in force to ask in place of the routing.
        request_id: The caller's id of the call, 1 to 128 printable characters; by default the first prediction's id.
        timeout_s: Seconds after which no answer is wanted.
    """

    unit: str | None
    version: int | None
    request_id: str | None
    timeout_s: float | None


class InProcessPredictor:
    """Answer rows with the version in force, from any thread and any event loop.

    Each ``predict`` waits for its answer on the calling thread; in ``async`` code await its ``…_async`` form, so that
    the event loop is free meanwhile.

    All raise:

    - `InvalidRequestError` when the rows do not fit the model,
    - `TooLargeError` beyond 100,000 rows,
    - `NotFoundRequestError` when the version asked for is not in force,
    - `OverloadedError` when too much waits; it says when to come again,
    - `ModelFailedError` when the features or the model raised,
    - `DeadlineError` when ``timeout_s`` is over,
    - `NotReadyError` when the workspace is closed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        calls: CallLoop,
        *,
        clock: Clock,
        pseudonym: Callable[[], Callable[[str], str] | None],
        close: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._calls = calls
        self._clock = clock
        self._pseudonym = pseudonym
        self._close = close

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._endpoint.model

    @property
    def version(self) -> int:
        """Number of the champion in force.

        Raises:
            NotReadyError: When no version is loaded.
        """
        active = self._endpoint.active
        if active is None:
            raise NotReadyError(f"The model '{self.model}' is not loaded.", hint="Try again in a moment.")
        return active.champion.predictor.version

    def predict_one(
        self, row: Mapping[str, object], *, key: str | None = None, **options: Unpack[CallOptions]
    ) -> Prediction:
        """Answer one row.

        Args:
            row: The fields of the request by name; of features that the online store has, the entity alone.
            key: The caller's name of the row: what an outcome can be joined by.
            options: See `CallOptions`; for the errors, the class.
        """
        call = self._call([row], None if key is None else [key], options)
        return predictions_of(self._answer(call))[0]

    def predict_many(
        self, rows: GivenRows, *, keys: Sequence[str | None] | None = None, **options: Unpack[CallOptions]
    ) -> list[Prediction]:
        """Answer rows in one call of the model, in their order.

        Args:
            rows: One mapping per row, or a table that speaks Arrow, such as a DataFrame.
            keys: The caller's name of each row.
            options: See `CallOptions`; for the errors, the class.
        """
        return predictions_of(self._answer(self._call(rows, keys, options)))

    async def predict_one_async(
        self, row: Mapping[str, object], *, key: str | None = None, **options: Unpack[CallOptions]
    ) -> Prediction:
        """Answer one row as `predict_one` does, without holding up the event loop.

        Args:
            row: As there.
            key: As there.
            options: See `CallOptions`.
        """
        call = self._call([row], None if key is None else [key], options)
        return predictions_of(await self._awaited(call))[0]

    async def predict_many_async(
        self, rows: GivenRows, *, keys: Sequence[str | None] | None = None, **options: Unpack[CallOptions]
    ) -> list[Prediction]:
        """Answer rows as `predict_many` does, without holding up the event loop.

        Args:
            rows: As there.
            keys: As there.
            options: See `CallOptions`.
        """
        return predictions_of(await self._awaited(self._call(rows, keys, options)))

    def close(self) -> None:
        """Finish what has begun, flush the log and let the versions go; the workspace does so for all as it closes."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, rows: GivenRows, keys: Sequence[str | None] | None, options: CallOptions) -> InferenceCall:
        active = self._endpoint.active
        if active is None:
            raise NotReadyError(f"The model '{self.model}' is not loaded.", hint="Try again in a moment.")
        taken = read_given(rows, active.champion.predictor.inputs)
        request_id, timeout_s = options.get("request_id"), options.get("timeout_s")
        return InferenceCall(
            rows=taken,
            protocol=PROTOCOL,
            request_id=None if request_id is None else checked_request_id(request_id),
            keys=self._stored(keys, len(taken)),
            unit=options.get("unit"),
            pinned=options.get("version"),
            deadline=None if timeout_s is None else self._clock.monotonic() + timeout_s,
        )

    def _stored(self, keys: Sequence[str | None] | None, rows: int) -> Sequence[str | None] | None:
        """Return the keys as the dataset has them: pseudonyms where its key is hashed."""
        if keys is None:
            return None
        if len(keys) != rows:
            raise InvalidRequestError(f"There are {len(keys)} keys for {rows} rows.", hint="Give one key per row.")
        change = self._pseudonym()
        return list(keys) if change is None else [None if key is None else change(key) for key in keys]

    def _answer(self, call: InferenceCall) -> Served:
        answered: Future[Served] = Future()

        def then(outcome: Served | RequestError) -> None:
            if isinstance(outcome, RequestError):
                answered.set_exception(outcome)
            else:
                answered.set_result(outcome)

        handed = self._calls.submit(self._endpoint, call, then)
        try:
            return answered.result()
        except KeyboardInterrupt:
            handed.cancel()
            raise

    async def _awaited(self, call: InferenceCall) -> Served:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Served] = loop.create_future()

        def settle(outcome: Served | RequestError) -> None:
            if answered.done():
                return
            if isinstance(outcome, RequestError):
                answered.set_exception(outcome)
            else:
                answered.set_result(outcome)

        def then(outcome: Served | RequestError) -> None:
            with suppress(RuntimeError):  # that event loop has ended: nobody waits any more
                loop.call_soon_threadsafe(settle, outcome)

        handed = self._calls.submit(self._endpoint, call, then)
        try:
            return await answered
        except asyncio.CancelledError:
            handed.cancel()
            raise

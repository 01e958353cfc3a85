"""One served model: admission, routing, computation, the log and the shadow, in the order a request meets them.

Every door (rows, Open Inference Protocol, later others) turns its bytes into an `InferenceCall` and hands it to
``answer``. The versions in force are one immutable object that is read once per request and replaced as a whole, so a
swap never fails a request and an answer always names the version that computed it.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.errors import DeadlineError, NotReadyError, OverloadedError, RequestError
from loopwright.serving.call_entry import CallEntry
from loopwright.serving.shadow import ShadowTask

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from concurrent.futures import Executor
    from datetime import datetime

    from loopwright.core.clock import Clock
    from loopwright.core.ids import Ids
    from loopwright.serving.deploy import PayloadPolicy
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.prediction_log import PredictionLog
    from loopwright.serving.predictor import Answers, Predictor
    from loopwright.serving.router import Assignment, Routing
    from loopwright.serving.shadow import ShadowRunner

_OVERLOAD_RETRY_S = 1.0
_SLOW_INLINE_S = 0.005  # the features are part of it: decoding an image is not in the warm-up's timing
_SLOW_INLINE_CALLS = 16


@dataclass
class Slot:
    """A predictor with its place to run.

    Attributes:
        predictor: Answers rows with one version.
        inline_rows: Requests of up to so many rows are computed on the event loop itself (below a millisecond, by the
            warm-up's timing);
            0 sends all to the executor.
        lock: Held while the version computes: calls of one version never overlap.
        slow_calls: By how many the slow calls on the event loop outnumber the others lately.
    """

    predictor: Predictor
    inline_rows: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    slow_calls: int = 0

    def note(self, seconds: float) -> None:
        """Hear how long a call on the event loop took; a version that is mostly slow goes to the executor."""
        if seconds <= _SLOW_INLINE_S:
            self.slow_calls -= self.slow_calls > 0  # a busy machine makes single calls slow, and is no reason
            return
        self.slow_calls += 1
        if self.slow_calls >= _SLOW_INLINE_CALLS:
            self.inline_rows = 0


@dataclass(frozen=True)
class Active:
    """The versions in force and how traffic is split between them."""

    routing: Routing
    champion: Slot
    challenger: Slot | None = None


class InferenceCall(msgspec.Struct, frozen=True):
    """A request in the terms of no protocol.

    Attributes:
        rows: Request fields by name.
        protocol: Name of the door, for the metrics.
        request_id: The caller's id of the request, or None.
        keys: The caller's key of each row, or None.
        unit: What sticks to a version in a canary; None for the only key, or the request's id.
        pinned: Version number asked for, or None.
        deadline: Moment on the monotonic clock after which no answer is wanted, or None.
    """

    rows: list[dict[str, object]]
    protocol: str
    request_id: str | None = None
    keys: Sequence[str | None] | None = None
    unit: str | None = None
    pinned: int | None = None
    deadline: float | None = None


class Served(msgspec.Struct, frozen=True):
    """An answer, with what its caller and the log call it."""

    model: str
    version: int
    route: str
    request_id: str
    prediction_ids: list[str]
    answers: Answers


class Endpoint:
    """Answer requests for one model; used from one event loop."""

    def __init__(
        self,
        model: str,
        *,
        log: PredictionLog,
        metrics: ServingMetrics,
        executor: Executor,
        shadow: ShadowRunner,
        clock: Clock,
        ids: Ids,
        max_in_flight: int = 256,
        log_payloads: PayloadPolicy = "full",
        pseudonym: Callable[[str], str] | None = None,
    ) -> None:
        self.model = model
        self.active: Active | None = None
        self.in_flight = 0
        self._log = log
        self._metrics = metrics
        self._executor = executor
        self._shadow = shadow
        self._clock = clock
        self._ids = ids
        self._max_in_flight = max_in_flight
        self._pseudonym = pseudonym
        self._log_payloads = log_payloads

    async def answer(self, call: InferenceCall) -> Served:
        """Answer a request; its records are on disk (or counted as dropped) before this returns.

        Raises:
            NotReadyError: When no version is loaded.
            OverloadedError: When too many requests are being worked on.
            NotFoundRequestError: When the pinned version is not served.
            InvalidRequestError: When the rows do not fit the model.
            DeadlineError: When the caller's deadline passed.
            ModelFailedError: When the model raised.
        """
        served = self.begin(call)
        return served if isinstance(served, Served) else await served

    def stored_keys(self, keys: Sequence[str | None] | None) -> Sequence[str | None] | None:
        """Return the keys of rows as the dataset has them: pseudonyms where its key is hashed."""
        change = self._pseudonym
        if keys is None or change is None:
            return keys
        return [None if key is None else change(key) for key in keys]

    def begin(self, call: InferenceCall) -> Served | Coroutine[object, None, Served]:
        """Answer at once where the version computes on the event loop; otherwise return what to await.

        The request is accepted and counted when this returns; a coroutine must be awaited. Raises what ``answer`` does.
        """
        try:
            active, slot, assignment, entry = self._admit(call)
        except RequestError as error:
            self._metrics.refused(self.model, call.protocol, error.status)
            raise
        rows = len(call.rows)
        self._log.accept(rows)
        if rows > slot.inline_rows or _expired(call, entry.began) or not slot.lock.acquire(blocking=False):
            self.in_flight += 1
            return self._answer_beside(call, active, slot, assignment, entry)
        try:
            answers = slot.predictor.predict_many(call.rows, now=entry.at)
        except RequestError as error:
            entry.write_failure(slot.predictor.version, assignment, error)
            raise
        except BaseException:
            self._log.drop(rows, "cancelled")
            raise
        finally:
            slot.lock.release()
        slot.note(self._clock.monotonic() - entry.began)
        return self._served(call, active, slot, assignment, entry, answers)

    async def _answer_beside(
        self, call: InferenceCall, active: Active, slot: Slot, assignment: Assignment, entry: CallEntry
    ) -> Served:
        try:
            answers = await self._on_executor(slot, call, entry.at)
        except RequestError as error:
            entry.write_failure(slot.predictor.version, assignment, error)
            raise
        except BaseException:
            self._log.drop(len(call.rows), "cancelled")
            raise
        finally:
            self.in_flight -= 1
        return self._served(call, active, slot, assignment, entry, answers)

    def _served(
        self,
        call: InferenceCall,
        active: Active,
        slot: Slot,
        assignment: Assignment,
        entry: CallEntry,
        answers: Answers,
    ) -> Served:
        version = slot.predictor.version
        entry.write(version, assignment, answers)
        if assignment.mirrored and active.challenger is not None:
            self._mirror(active.challenger, call, assignment, entry)
        return Served(self.model, version, assignment.route, entry.request_id, entry.prediction_ids, answers)

    def _admit(self, call: InferenceCall) -> tuple[Active, Slot, Assignment, CallEntry]:
        """Choose who answers, or refuse; nothing is accepted yet."""
        active = self.active
        if active is None:
            raise NotReadyError(f"The model '{self.model}' is not loaded.", hint="Try again in a moment.")
        if self.in_flight >= self._max_in_flight:
            self._metrics.shed(self.model, "in_flight")
            raise OverloadedError(
                f"{self.in_flight} requests for '{self.model}' are being worked on, the most allowed.",
                retry_after_s=_OVERLOAD_RETRY_S,
            )
        began, at = self._clock.monotonic(), self._clock.now()
        prediction_ids = [self._ids.new() for _ in call.rows]
        request_id = call.request_id or prediction_ids[0]
        assignment = active.routing.assign(call.unit or _only_key(call) or request_id, pinned=call.pinned)
        slot = active.champion if assignment.arm == "champion" else active.challenger
        if slot is None:
            raise NotReadyError(f"The challenger of '{self.model}' is not loaded.", hint="Try again in a moment.")
        entry = CallEntry(
            self.model,
            call.protocol,
            request_id,
            prediction_ids,
            call.keys,
            at,
            began,
            None if call.pinned is not None else active.routing.experiment,
            self._log_payloads == "full",
            self._clock,
            self._log,
            self._metrics,
        )
        return active, slot, assignment, entry

    async def _on_executor(self, slot: Slot, call: InferenceCall, at: datetime) -> Answers:
        def compute() -> Answers:
            with slot.lock:
                if _expired(call, self._clock.monotonic()):
                    raise DeadlineError("The deadline passed before the computation began.")
                return slot.predictor.predict_many(call.rows, now=at)

        future = asyncio.get_running_loop().run_in_executor(self._executor, compute)
        if call.deadline is None:
            return await future
        try:
            return await asyncio.wait_for(future, max(0.0, call.deadline - self._clock.monotonic()))
        except TimeoutError:
            raise DeadlineError("The deadline passed before the answer was computed.") from None

    def _mirror(self, slot: Slot, call: InferenceCall, assignment: Assignment, entry: CallEntry) -> None:
        def run() -> None:
            copy = msgspec.structs.replace(entry, began=self._clock.monotonic())
            try:
                with slot.lock:
                    answers = slot.predictor.predict_many(call.rows, now=entry.at)
            except RequestError as error:
                copy.write_failure(slot.predictor.version, assignment, error, route="shadow")
            else:
                copy.write(slot.predictor.version, assignment, answers, route="shadow")

        rows = len(call.rows)
        self._log.accept(rows)
        if not self._shadow.offer(ShadowTask(run, rows)):
            self._log.drop(rows, "shadow_full")


def _only_key(call: InferenceCall) -> str | None:
    """Return the key that all rows share, or None."""
    keys = call.keys
    if not keys or any(key != keys[0] for key in keys):
        return None
    return keys[0]


def _expired(call: InferenceCall, moment: float) -> bool:
    return call.deadline is not None and moment >= call.deadline

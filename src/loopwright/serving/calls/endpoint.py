"""One served model: a turn's calls are routed, admitted, computed in batches, logged and answered, in this order.

Every door (rows, Open Inference Protocol, others) turns its bytes into an `InferenceCall` and hands it over with
``answer`` or ``begin``. The calls that arrive within one turn of the event loop are taken together at its end: ids are
made, versions chosen and batches computed for all of them at once, and one frame holds the records of a batch. Nothing
waits for a timer; where each turn brings one call only, a call does not wait for the end of its turn either. The
versions in force are one immutable object that is read once per turn and replaced as a whole, so a swap never fails a
request and an answer always names the version that computed it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from loopwright.core.errors import ModelFailedError, NotReadyError, RequestError
from loopwright.serving.calls.admission import Admission, QueueLimits
from loopwright.serving.calls.batch import compute, parts_of
from loopwright.serving.calls.batcher import Batcher
from loopwright.serving.calls.call_entry import CallEntry, CallLog, Computed
from loopwright.serving.calls.inference_call import InferenceCall, Served
from loopwright.serving.calls.lone_calls import LoneCalls
from loopwright.serving.calls.shadow import ShadowTask
from loopwright.serving.calls.slot import Active, Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
    from datetime import datetime

    from loopwright.core.clock import Clock
    from loopwright.core.ids import Ids
    from loopwright.serving.calls.shadow import ShadowRunner
    from loopwright.serving.deploy import PayloadPolicy
    from loopwright.serving.log.prediction_log import PredictionLog
    from loopwright.serving.metrics import ServingMetrics

_log = structlog.get_logger(__name__)

__all__ = ["Active", "Endpoint", "InferenceCall", "Served", "Slot"]


class Endpoint:
    """Answer requests for one model; used from one event loop.

    Attributes:
        active: The versions in force, or None.
        in_flight: Calls that have begun and are not answered.
    """

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
        limits: QueueLimits | None = None,
        max_delay_s: float = 0.0,
        max_batch_rows: int | None = None,
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
        self._monotonic = clock.monotonic
        self._ids = ids
        self._max_delay_s = max_delay_s
        self._max_batch_rows = max_batch_rows
        self._pseudonym = pseudonym
        self._admission = Admission(model, limits or QueueLimits(), metrics=metrics, clock=clock)
        self._call_log = CallLog(model, log=log, metrics=metrics, clock=clock, keeps_features=log_payloads == "full")
        self._lone = LoneCalls()
        self._turn: list[CallEntry] = []
        self._turn_at: datetime = clock.now()
        self._turn_of: asyncio.AbstractEventLoop | None = None
        self._batchers: list[Batcher] = []

    async def answer(self, call: InferenceCall) -> Served:
        """Answer a request; its records are on disk (or counted as dropped) before this returns.

        Raises:
            NotReadyError: When no version is loaded.
            OverloadedError: When too much waits.
            NotFoundRequestError: When the pinned version is not served.
            InvalidRequestError: When the rows do not fit the model.
            DeadlineError: When the caller's deadline passed.
            ModelFailedError: When the model raised.
        """
        future: asyncio.Future[Served] = asyncio.get_running_loop().create_future()
        entry = self.begin(call, partial(_resolve, future))
        try:
            return await future
        except asyncio.CancelledError:
            entry.cancel()
            raise

    def stored_keys(self, keys: Sequence[str | None] | None) -> Sequence[str | None] | None:
        """Return the keys of rows as the dataset has them: pseudonyms where its key is hashed."""
        change = self._pseudonym
        if keys is None or change is None:
            return keys
        return [None if key is None else change(key) for key in keys]

    def begin(self, call: InferenceCall, then: Callable[[Served | RequestError], None] | None = None) -> CallEntry:
        """Take a call into the turn of the event loop.

        Args:
            call: What is asked.
            then: Gets the answer or the error, never before this returns.

        Returns:
            The call. Without ``then`` it may be done already, and has its outcome: where calls come one by one, a call
            is computed at once. Otherwise set its ``then``.

        Raises:
            NotReadyError: When no version is loaded.
        """
        if self.active is None:
            error = self._not_loaded()
            self._metrics.refused(self.model, call.protocol, error.status)
            raise error
        loop = asyncio.get_running_loop()
        if then is None and self._lone.is_alone and self._turn_of is not loop:
            entry = CallEntry(call, len(call.rows), self._monotonic(), self._clock.now(), None, self._forget)
            self.in_flight += 1
            self._lone.answered(loop)
            self._end_turn_of_one(entry, self.active, loop)
            return entry
        if self._turn_of is not loop:
            self._turn_of = loop
            self._turn_at = self._clock.now()
            loop.call_soon(self._end_turn)
        entry = CallEntry(call, len(call.rows), self._monotonic(), self._turn_at, then, self._forget)
        self._turn.append(entry)
        self.in_flight += 1
        return entry

    def _end_turn(self) -> None:
        """Route and admit the calls of the turn, then compute."""
        scheduler, self._turn_of = self._turn_of, None
        turn, self._turn = self._turn, []
        active = self.active
        if scheduler is None:
            return
        if active is None:  # the model gave way to another one since the turn began
            for entry in turn:
                if not entry.done:
                    self._refuse(entry, self._not_loaded())
            return
        self._lone.turn_ended(len(turn))
        if len(turn) == 1:
            self._end_turn_of_one(turn[0], active, scheduler)
            return
        ids = self._ids.many(sum([entry.rows for entry in turn]))
        accepted = first = 0
        touched: list[Batcher] = []
        for entry in turn:
            stop = first + entry.rows
            entry.prediction_ids = ids[first:stop]
            first = stop
            if entry.done:  # cancelled within its turn
                continue
            try:
                batcher = self._place(entry, active, scheduler)
            except Exception as error:  # noqa: BLE001 - whatever it was, nobody is left waiting
                self._refuse(entry, self._as_answer(error))
                continue
            accepted += entry.rows
            batcher.add(entry)
            if batcher not in touched:
                touched.append(batcher)
        if accepted:
            self._log.accept(accepted)
        for batcher in touched:
            batcher.pump()

    def _end_turn_of_one(self, entry: CallEntry, active: Active, scheduler: asyncio.AbstractEventLoop) -> None:
        """Do the same for a call that came alone, in fewer steps."""
        if entry.done:
            return
        entry.prediction_ids = self._ids.many(entry.rows)
        try:
            batcher = self._place(entry, active, scheduler)
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(entry, self._as_answer(error))
            return
        self._log.accept(entry.rows)
        if not batcher.compute_alone(entry):
            batcher.add(entry)
            batcher.pump()

    def _place(self, entry: CallEntry, active: Active, scheduler: asyncio.AbstractEventLoop) -> Batcher:
        """Choose who answers, or refuse."""
        call, routing = entry.call, active.routing
        request_id = entry.request_id = call.request_id or entry.prediction_ids[0]
        unit = request_id if call.unit is None and call.keys is None else call.unit_key(request_id)
        assignment = entry.assignment = routing.assign(unit, pinned=call.pinned)
        entry.experiment = None if call.pinned is not None else routing.experiment
        slot = active.champion if assignment.arm == "champion" else active.challenger
        if slot is None:
            raise NotReadyError(f"The challenger of '{self.model}' is not loaded.", hint="Try again in a moment.")
        batcher = self._batcher(slot, scheduler)
        if not batcher.has_room(entry.rows):
            self._admission.check(entry, batcher)
        self._log.refuse_if_full(entry.rows)
        entry.batcher = batcher
        return batcher

    def _batcher(self, slot: Slot, scheduler: asyncio.AbstractEventLoop) -> Batcher:
        for batcher in self._batchers:
            if batcher.slot is slot and batcher.scheduler is scheduler:
                return batcher
        self._batchers = [batcher for batcher in self._batchers if not batcher.is_idle]
        batcher = Batcher(
            slot,
            finish=self._finish,
            scheduler=scheduler,
            executor=self._executor,
            clock=self._clock,
            max_delay_s=self._max_delay_s,
            max_batch_rows=self._max_batch_rows,
        )
        self._batchers.append(batcher)
        return batcher

    def _not_loaded(self) -> NotReadyError:
        return NotReadyError(f"The model '{self.model}' is not loaded.", hint="Try again in a moment.")

    def _as_answer(self, error: Exception) -> RequestError:
        """Return what the caller is told; what is no fault of the request goes into the server's own log."""
        if isinstance(error, RequestError):
            return error
        _log.error("a call could not be taken", model=self.model, exc_info=error)
        return ModelFailedError("The server failed before the model was asked; its log says why.")

    def _refuse(self, entry: CallEntry, error: RequestError) -> None:
        self._metrics.refused(self.model, entry.call.protocol, error.status)
        self.in_flight -= 1
        entry.settle(error)

    def _forget(self, entry: CallEntry) -> None:
        """Drop a call that its caller gave up."""
        self.in_flight -= 1
        batcher = entry.batcher
        entry.settle(None)
        if batcher is not None:  # it was accepted
            batcher.forget(entry)
            self._log.drop(entry.rows, "cancelled")

    def _finish(self, slot: Slot, parts: Sequence[Computed]) -> None:
        """Log what was computed or has failed, then answer."""
        version = slot.predictor.version
        try:
            self._call_log.write(version, parts)
        except Exception as error:  # noqa: BLE001 - a record that cannot be made is counted, and its call answered
            _log.error("records could not be made", model=self.model, exc_info=error)
            self._log.drop(sum(entry.rows for part in parts for entry in part.entries if not entry.done), "unwritable")
        mirrored: list[CallEntry] = []
        for part in parts:
            answers, entries = part.answers, part.entries
            if isinstance(answers, RequestError):
                for entry in entries:
                    if not entry.done:
                        self.in_flight -= 1
                        entry.settle(answers)
                continue
            if entries[0].assignment.mirrored:
                mirrored += [entry for entry in entries if not entry.done]
            for entry, own in zip(entries, parts_of(part, answers), strict=True):
                if not entry.done:
                    self.in_flight -= 1
                    if own.ignored:
                        self._metrics.ignored(self.model, entry.rows)
                    route, ids = entry.assignment.route, entry.prediction_ids
                    entry.settle(Served(self.model, version, route, entry.request_id, ids, own))
        if mirrored:
            self._mirror(mirrored)

    def _mirror(self, entries: Sequence[CallEntry]) -> None:
        """Give the challenger copies of what the champion has answered; nobody waits for it."""
        active = self.active
        slot = None if active is None else active.challenger
        if slot is None:
            return
        copies = [entry.mirrored() for entry in entries]

        def run() -> None:
            began = self._monotonic()
            for copy in copies:
                copy.began = began
            with slot.lock:
                parts = compute(slot.predictor, copies, now=copies[-1].at)
            self._call_log.write(slot.predictor.version, parts)

        rows = sum(entry.rows for entry in entries)
        self._log.accept(rows)
        if not self._shadow.offer(ShadowTask(run, rows, len(copies))):
            self._log.drop(rows, "shadow_full")


def _resolve(future: asyncio.Future[Served], outcome: Served | RequestError) -> None:
    if future.done():
        return
    if isinstance(outcome, Served):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)

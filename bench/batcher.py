# ruff: noqa: D101, D102 - a measurement; the names say it
"""Randomised calls through an endpoint and its batchers, on a virtual clock: who gets whose answer?

    python bench/batcher.py                       # 1,000,000 calls
    python bench/batcher.py --calls 50000 --seed 7

Calls have 1 to 64 rows, each with a number that the model sends back; 10 % are to be cancelled at some moment, 1 %
bring a row on which the model raises, 1 % a row that is no valid input, 5 % have a deadline, some come by column. They
go to two versions, one that computes on the event loop and one that computes on an executor. Printed are the calls that
got an answer that is not theirs, or a failure that is another's (misroutes), those that never heard anything (hangs),
and what was left over at the end in queues, counters and the log (leaks); each must be 0. Time is virtual: nothing
sleeps, and a seed repeats a run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import selectors
import sys
import time
from collections import Counter
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import DeadlineError, InvalidRequestError, ModelFailedError, OverloadedError
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.features.assembly import Assembled
from loopwright.features.field import Field
from loopwright.features.row_batch import RowBatch
from loopwright.serving.calls.admission import QueueLimits
from loopwright.serving.calls.endpoint import Active, Endpoint, InferenceCall, Served, Slot
from loopwright.serving.calls.shadow import ShadowRunner
from loopwright.serving.metrics import ServingMetrics
from loopwright.serving.predictor import Answers
from loopwright.serving.releases.router import Routing

if TYPE_CHECKING:
    from collections.abc import Callable

FIELDS = (Field("x", "float64"),)
POISON, INVALID = -1, -2


class VirtualSelector(selectors.DefaultSelector):
    """Waits no time, and moves the clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout=None):
        self.now += max(0.0, timeout or 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.virtual = VirtualSelector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now


class VirtualClock:
    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.start = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.loop.time())

    def monotonic(self) -> float:
        return self.loop.time()

    def sleep(self, seconds: float) -> None:
        self.loop.virtual.now += seconds


class VirtualExecutor(Executor):
    """Does a version's tasks one after the other, each in some virtual time; at most one may lie ready."""

    def __init__(self, loop: VirtualLoop, chance: random.Random) -> None:
        self.loop, self.chance = loop, chance
        self.pending: dict[int, list[Callable[[], None]]] = {}
        self.overlaps = 0

    def submit(self, fn, /, *args, **kwargs):
        pending = self.pending.setdefault(id(fn.__self__.slot), [])
        self.overlaps += len(pending) > 1

        def begin() -> None:
            wanted = any(not entry.done for entry in args[0])
            self.loop.call_later(self.chance.expovariate(1 / 0.004) if wanted else 0.0, run)

        def run() -> None:
            fn(*args, **kwargs)
            pending.pop(0)
            if pending:
                pending[0]()

        pending.append(begin)
        if len(pending) == 1:
            begin()


class Model:
    """Sends back the number of each row."""

    def __init__(self, version: int, clock: VirtualClock, executor: VirtualExecutor, seconds: float) -> None:
        self.version, self.version_id = version, f"nonce/{version}"
        self.clock, self.executor, self.seconds = clock, executor, seconds
        self.slot: Slot | None = None
        self.batches = self.rows = self.overlaps = 0

    def predict_many(self, rows, *, now=None):  # noqa: ARG002 - the signature of a predictor
        if self.seconds:
            self.overlaps += bool(self.executor.pending.get(id(self.slot))) and self.slot.lock.locked() is False
            self.clock.sleep(self.seconds)
        values = rows.columns["x"] if isinstance(rows, RowBatch) else [row["x"] for row in rows]
        values = list(values)
        self.batches += 1
        self.rows += len(values)
        if INVALID in values:
            raise InvalidRequestError("no number", field="x", row=values.index(INVALID))
        if POISON in values:
            raise ModelFailedError("The model failed.")
        assembled = Assembled(FIELDS, {"x": np.zeros(len(values))}, ())
        return Answers([float(value) for value in values], None, None, assembled, classifies=False)


class CountingLog:
    """Keeps the balance of a prediction log, and the ids when asked to."""

    def __init__(self) -> None:
        self.accepted = self.in_flight = self.durable = self.frames = 0
        self.dropped: Counter[str] = Counter()

    def accept(self, rows: int) -> None:
        self.accepted += rows
        self.in_flight += rows

    def refuse_if_full(self, rows: int) -> None:
        pass

    def write(self, records) -> bool:
        return self._kept(len(records))

    def write_table(self, table) -> bool:
        return self._kept(table.num_rows)

    def _kept(self, rows: int) -> bool:
        self.frames += 1
        self.in_flight -= rows
        self.durable += rows
        return True

    def drop(self, rows: int, reason: str) -> None:
        self.in_flight -= rows
        self.dropped[reason] += rows


class Simulation:
    def __init__(self, *, seed: int, limits: QueueLimits | None = None) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - repeats on purpose
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.executor = VirtualExecutor(self.loop, self.chance)
        self.log = CountingLog()
        self.metrics = ServingMetrics()
        self.endpoint = Endpoint(
            "nonce",
            log=self.log,
            metrics=self.metrics,
            executor=self.executor,
            shadow=ShadowRunner(on_drop=lambda: None),
            clock=self.clock,
            ids=Ids(self.clock, seeded_entropy(seed)),
            limits=limits or QueueLimits(max_rows=20_000, max_calls=2_000, budget_s=0.5),
            log_payloads="none",
        )
        self.models = []
        for version, inline_rows, seconds in ((1, 128, 0.0002), (2, 0, 0.0)):
            model = Model(version, self.clock, self.executor, seconds)
            model.slot = Slot(model, inline_rows, 256)
            self.models.append(model)
        champion, challenger = (model.slot for model in self.models)
        self.endpoint.active = Active(Routing(1, 2, "canary", 0.3, "salt"), champion, challenger)
        self.outcomes: Counter[str] = Counter()
        self.waiting: dict[int, object] = {}
        self.misroutes = 0

    def begin(self, number: int) -> None:
        chance = self.chance
        rows = 1 if chance.random() < 0.5 else chance.randint(1, 64)
        values = [number * 64 + place for place in range(rows)]
        fate = chance.random()
        kind = "poison" if fate < 0.01 else "invalid" if fate < 0.02 else "plain"
        if kind != "plain":
            values[chance.randrange(rows)] = POISON if kind == "poison" else INVALID
        by_column = chance.random() < 0.05
        sent = RowBatch({"x": values}, rows) if by_column else [{"x": value} for value in values]
        deadline = self.clock.monotonic() + chance.uniform(0, 0.02) if chance.random() < 0.05 else None
        call = InferenceCall(sent, "rows", f"r{number}", deadline=deadline, size_bytes=20 * rows)

        def then(outcome) -> None:
            if self.waiting.pop(number, None) is None:
                self.misroutes += 1  # answered twice, or after it was cancelled
            self.outcomes[type(outcome).__name__] += 1
            if isinstance(outcome, Served):
                right = outcome.answers.values == values and outcome.request_id == f"r{number}"
                self.misroutes += not right or kind != "plain" or len(outcome.prediction_ids) != rows
            elif isinstance(outcome, ModelFailedError):
                self.misroutes += kind != "poison"
            elif isinstance(outcome, InvalidRequestError):
                self.misroutes += kind != "invalid"
            elif isinstance(outcome, DeadlineError):
                self.misroutes += deadline is None
            else:
                self.misroutes += not isinstance(outcome, OverloadedError)

        entry = self.endpoint.begin(call, then)
        self.waiting[number] = entry
        if chance.random() < 0.1:
            if chance.random() < 0.8:  # many are computed soon: the others are given up within their turn
                self.cancel(number)
            else:
                self.loop.call_later(chance.expovariate(1 / 0.002), self.cancel, number)

    def cancel(self, number: int) -> None:
        entry = self.waiting.pop(number, None)
        if entry is not None:
            self.outcomes["cancelled"] += 1
            entry.cancel()

    async def _run(self, calls: int) -> None:
        number = 0
        while number < calls:
            for _ in range(min(self.chance.randint(1, 40), calls - number)):
                self.begin(number)
                number += 1
            await asyncio.sleep(self.chance.choice((0.0, 0.001, 0.004)))
        for _ in range(1000):
            if not self.waiting and not any(self.executor.pending.values()):
                break
            await asyncio.sleep(0.1)

    def run(self, calls: int) -> dict[str, int]:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._run(calls))
        batchers = self.endpoint._batchers  # noqa: SLF001 - what is left there is asked
        log = self.log
        left = sum(b.queued_calls + b.queued_rows + b.queued_bytes + b.running_calls for b in batchers)
        unbalanced = log.accepted - log.durable - log.in_flight - sum(log.dropped.values())
        return {
            "misroutes": self.misroutes,
            "hangs": len(self.waiting),
            "leaks": left + abs(self.endpoint.in_flight) + abs(log.in_flight) + abs(unbalanced),
            "overlaps": self.executor.overlaps + sum(model.overlaps for model in self.models),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    simulation = Simulation(seed=options.seed)
    began = time.process_time()
    found = simulation.run(options.calls)
    seconds = time.process_time() - began
    print(f"{options.calls} calls, {simulation.log.accepted} rows, {seconds:.0f} s of processor time")
    print("  " + "  ".join(f"{name} {count}" for name, count in sorted(simulation.outcomes.items())))
    for model in simulation.models:
        print(f"  version {model.version}: {model.batches} batches of {model.rows / max(model.batches, 1):.1f} rows")
    print("  " + "  ".join(f"{name} {count}" for name, count in found.items()))
    sys.exit(any(found.values()))


if __name__ == "__main__":
    main()

"""Batches on a virtual clock: whose answer, who fails, what waits and what is left."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import DeadlineError, InvalidRequestError, ModelFailedError, NotReadyError, OverloadedError
from loopwright.features.row_batch import RowBatch
from loopwright.serving.calls.admission import QueueLimits
from loopwright.serving.calls.endpoint import Active, InferenceCall, Served, Slot
from loopwright.serving.calls.service_time import ServiceTime
from loopwright.serving.models.warm_up import LARGEST_BATCH_ROWS, measure_batches
from loopwright.serving.releases.router import Routing


def _load():
    path = Path(__file__).parents[3] / "bench" / "batcher.py"
    spec = importlib.util.spec_from_file_location("bench_batcher", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_batcher"] = module
    spec.loader.exec_module(module)
    return module


bench = _load()


class World:
    """One version behind an endpoint in virtual time; a batch on the executor takes ``batch_s``."""

    def __init__(self, *, inline_rows: int = 0, max_batch_rows: int = 64, batch_s: float = 0.01, **options) -> None:
        self.simulation = simulation = bench.Simulation(seed=0, limits=options.pop("limits", None))
        simulation.chance.expovariate = lambda _: batch_s
        self.model = simulation.models[0]
        self.model.seconds = options.pop("inline_s", 0.0)
        self.endpoint, self.clock, self.log = simulation.endpoint, simulation.clock, simulation.log
        for name, value in options.items():
            setattr(self.endpoint, f"_{name}", value)
        self.slot = self.model.slot = Slot(self.model, inline_rows, max_batch_rows)
        self.endpoint.active = Active(Routing(1), self.slot)
        self.sizes = []
        predict = self.model.predict_many
        self.model.predict_many = lambda rows, **kwargs: self.sizes.append(len(rows)) or predict(rows, **kwargs)

    def run(self, go):
        with asyncio.Runner(loop_factory=lambda: self.simulation.loop) as runner:
            return runner.run(go())

    def ask(self, *values: float, **changes) -> asyncio.Task[Served]:
        rows = changes.pop("rows", [{"x": value} for value in values])
        return asyncio.ensure_future(self.endpoint.answer(InferenceCall(rows, "rows", **changes)))

    def is_clean(self) -> bool:
        log = self.log
        [batcher] = self.endpoint._batchers
        return (
            batcher.is_idle
            and (self.endpoint.in_flight, log.in_flight, batcher.queued_rows, batcher.queued_bytes) == (0, 0, 0, 0)
            and log.accepted == log.durable + sum(log.dropped.values())
        )


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32))
def test_every_call_gets_its_own_answer_or_its_own_failure(seed):
    simulation = bench.Simulation(seed=seed)
    assert simulation.run(5_000) == {"misroutes": 0, "hangs": 0, "leaks": 0, "overlaps": 0}
    assert simulation.outcomes["Served"] > 3_000
    assert simulation.models[0].batches < 3_000


def test_the_calls_of_one_turn_are_one_batch_and_one_frame_of_the_log():
    world = World(inline_rows=64)

    async def go():
        return await asyncio.gather(*(world.ask(number, number + 0.5) for number in range(10)))

    served = world.run(go)
    assert [one.answers.values for one in served] == [[number, number + 0.5] for number in range(10)]
    assert world.sizes == [20]
    assert world.log.frames == 1
    assert len({an_id for one in served for an_id in one.prediction_ids}) == 20
    assert world.is_clean()


def test_a_busy_version_gathers_and_an_idle_one_does_not_wait():
    world = World(batch_s=0.01)

    async def go():
        first = world.ask(0)
        await asyncio.sleep(0.001)
        rest = [world.ask(number) for number in range(1, 100)]
        await asyncio.gather(first, *rest)
        return world.clock.monotonic()

    assert world.run(go) == pytest.approx(0.03)
    assert world.sizes == [1, 64, 35]


def test_a_full_batch_lies_ready_while_the_one_before_is_computed():
    world = World(max_batch_rows=8)

    async def go():
        first = world.ask(0)
        await asyncio.sleep(0.001)
        rest = [world.ask(number) for number in range(1, 21)]
        await asyncio.sleep(0.001)
        (handed,) = world.simulation.executor.pending.values()
        [batcher] = world.endpoint._batchers
        assert (len(handed), batcher.running_calls, batcher.queued_rows) == (2, 9, 12)
        await asyncio.gather(first, *rest)

    world.run(go)
    assert world.sizes == [1, 8, 8, 4]
    assert world.is_clean()


@pytest.mark.parametrize("calls", [1, 2])
def test_calls_of_a_model_that_gives_way_within_the_turn_are_told_so(calls):
    world = World()

    async def go():
        asked = [world.ask(number) for number in range(calls)]
        await asyncio.sleep(0)  # they have begun
        world.endpoint.active = None
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [type(one) for one in world.run(go)] == [NotReadyError] * calls
    assert world.endpoint.in_flight == 0


@pytest.mark.parametrize("calls", [1, 2])
def test_nobody_waits_for_ever_where_the_server_itself_fails(calls):
    world = World()
    world.endpoint._place = lambda *_: 1 / 0

    async def go():
        return await asyncio.gather(*(world.ask(number) for number in range(calls)), return_exceptions=True)

    assert [type(one) for one in world.run(go)] == [ModelFailedError] * calls
    assert world.endpoint.in_flight == 0


@pytest.mark.parametrize("inline_rows", [0, 64])
def test_a_record_that_cannot_be_made_is_counted_and_its_call_answered(inline_rows):
    world = World(inline_rows=inline_rows)
    world.endpoint._call_log.write = lambda *_: 1 / 0

    async def go():
        return await asyncio.gather(world.ask(1), world.ask(2, 3))

    assert [one.answers.values for one in world.run(go)] == [[1], [2, 3]]
    assert world.log.dropped == {"unwritable": 3}
    assert world.is_clean()


def test_a_request_is_never_divided_and_large_ones_are_batches_of_their_own():
    world = World(max_batch_rows=8)

    async def go():
        first = world.ask(0)
        await asyncio.sleep(0)
        sizes = (5, 5, 100, 3, 3, 3)
        await asyncio.gather(first, *(world.ask(*range(size)) for size in sizes))

    world.run(go)
    assert world.sizes == [1, 5, 5, 100, 6, 3]


def test_rows_by_column_are_not_merged():
    world = World()

    async def go():
        first = world.ask(0)
        await asyncio.sleep(0)
        columns = [world.ask(rows=RowBatch({"x": [float(number)]}, 1)) for number in (1, 2)]
        return await asyncio.gather(first, world.ask(3), *columns, world.ask(4))

    assert [one.answers.values for one in world.run(go)] == [[0], [3], [1], [2], [4]]
    assert world.sizes == [1, 1, 1, 2]


@pytest.mark.parametrize("inline_rows", [0, 64])
def test_a_poison_row_and_an_invalid_row_fail_alone(inline_rows):
    world = World(inline_rows=inline_rows)
    values = [*range(10), bench.POISON, *range(10, 20), bench.INVALID]

    async def go():
        return await asyncio.gather(*(world.ask(value) for value in values), return_exceptions=True)

    got = world.run(go)
    assert isinstance(got[10], ModelFailedError)
    assert isinstance(got[21], InvalidRequestError)
    assert got[21].row == 0, "the row of the call, not of the batch"
    assert [one.answers.values[0] for one in got if isinstance(one, Served)] == [*range(20)]
    assert world.is_clean()


def test_a_call_whose_time_is_up_fails_then_and_is_not_computed():
    world = World(batch_s=0.05)

    async def go():
        first = world.ask(0)
        await asyncio.sleep(0.001)
        late = world.ask(1, deadline=world.clock.monotonic() + 0.01)
        with pytest.raises(DeadlineError):
            await late
        at = world.clock.monotonic()
        await first
        await asyncio.sleep(1)
        return at

    assert world.run(go) == pytest.approx(0.011)
    assert world.sizes == [1]
    assert world.is_clean()


def test_after_a_storm_of_cancelled_calls_the_next_is_computed_at_once():
    world = World(batch_s=0.01, limits=QueueLimits(max_rows=100_000, max_calls=100_000, budget_s=60.0))

    async def go():
        first = world.ask(0)
        await asyncio.sleep(0.001)
        storm = [world.ask(number) for number in range(5_000)]
        await asyncio.sleep(0.001)
        for task in storm:
            task.cancel()
        await asyncio.sleep(0)
        [batcher] = world.endpoint._batchers
        assert len(batcher._queue) < 200, "what was given up does not stay in memory"
        await first
        began = world.clock.monotonic()
        await world.ask(7)
        return world.clock.monotonic() - began

    assert world.run(go) == pytest.approx(0.01)
    assert world.sizes == [1, 1]
    assert world.log.dropped == {"cancelled": 5_000}
    assert world.is_clean()


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (QueueLimits(max_rows=10, budget_s=60.0), "queue_rows"),
        (QueueLimits(max_bytes=100, budget_s=60.0), "queue_bytes"),
        (QueueLimits(max_calls=5, budget_s=60.0), "in_flight"),
        (QueueLimits(budget_s=0.1), "expected_wait"),
    ],
)
def test_a_full_queue_refuses_with_the_time_to_come_back(limits, reason):
    world = World(max_batch_rows=4, batch_s=0.05, limits=limits)
    world.slot.service_time = ServiceTime(fixed_s=0.05)

    async def go():
        first = world.ask(0, size_bytes=50)
        await asyncio.sleep(0)
        return await asyncio.gather(first, *(world.ask(n, size_bytes=50) for n in range(30)), return_exceptions=True)

    got = world.run(go)
    refused = [one for one in got if isinstance(one, OverloadedError)]
    assert 1 < len(got) - len(refused) < 20
    assert all(0 < one.retry_after_s < 60 and one.queue_rows > 0 for one in refused)
    assert len({one.retry_after_s for one in refused}) > 1, "they do not all come back at once"
    text = world.simulation.metrics.exposition().decode()
    assert f'loopwright_shed_total{{model="nonce",reason="{reason}"}} {len(refused)}.0' in text
    assert world.is_clean()


def test_a_call_that_finds_its_version_idle_is_never_refused():
    world = World(limits=QueueLimits(max_rows=1, max_bytes=1, max_calls=1, budget_s=0.0))

    async def go():
        return await world.ask(*range(1000), size_bytes=1000)

    assert len(world.run(go).prediction_ids) == 1000


def test_other_callbacks_have_their_turn_while_many_calls_are_computed():
    world = World(inline_rows=1, inline_s=0.001, limits=QueueLimits(budget_s=60.0, max_rows=10_000))
    seen = []

    async def health():
        for _ in range(20):
            seen.append(world.clock.monotonic())
            await asyncio.sleep(0)

    async def go():
        calls = [world.ask(number) for number in range(100)]
        await asyncio.gather(health(), *calls)

    world.run(go)
    gaps = [after - before for before, after in pairwise(seen)]
    assert max(gaps) < 0.008
    assert world.sizes == [1] * 100


def test_calls_that_come_one_by_one_are_answered_at_once_until_they_come_together():
    world = World(inline_rows=64)

    def begin(value: float):
        return world.endpoint.begin(InferenceCall([{"x": value}], "rows"))

    async def go():
        at_once = []
        for number in range(20):
            entry = begin(number)
            at_once.append(entry.outcome is not None)
            await asyncio.sleep(0)
            assert entry.outcome.answers.values == [number]
        failed = begin(bench.POISON).outcome
        world.sizes.clear()
        for _ in range(4):
            for number in range(20):
                begin(number)
            await asyncio.sleep(0)
        return at_once, failed

    at_once, failed = world.run(go)
    assert at_once == [False] * 8 + [True] * 12
    assert isinstance(failed, ModelFailedError)
    assert world.sizes[-2:] == [20, 20]
    assert world.is_clean()


def test_an_idle_version_waits_where_it_is_told_to():
    world = World(max_delay_s=0.005, batch_s=0.01)

    async def go():
        first = world.ask(0)
        await asyncio.sleep(0.002)
        await asyncio.gather(first, world.ask(1))
        return world.clock.monotonic()

    assert world.run(go) == pytest.approx(0.015)
    assert world.sizes == [2]


def test_service_time_follows_what_is_measured_and_keeps_the_slope_where_nothing_shows_it():
    steady = ServiceTime(fixed_s=0.01, per_row_s=0.001)
    for _ in range(200):
        steady.note(1, 0.02)
    assert steady.of(1) == pytest.approx(0.02, rel=0.01)
    assert steady.of(11) - steady.of(1) == pytest.approx(0.01, rel=0.01)
    learnt = ServiceTime()
    for number in range(400):
        learnt.note(rows := number % 50 + 1, 0.005 + 0.0002 * rows)
    assert learnt.of(40) == pytest.approx(0.013, rel=0.05)
    assert ServiceTime(fixed_s=0.001).of(0) >= 0


@given(fixed=st.floats(0, 0.1), per_row=st.floats(1e-7, 0.1))
def test_the_warm_up_finds_batches_within_their_bounds(fixed, per_row):
    costs = measure_batches(lambda rows: fixed + per_row * rows)
    largest = costs.max_batch_rows
    assert 1 <= largest <= LARGEST_BATCH_ROWS
    assert largest == 1 or fixed + per_row * largest <= 0.05
    assert costs.inline_rows == 0 or fixed + per_row * costs.inline_rows <= 0.00075 or costs.inline_rows == 1
    if fixed + per_row < 0.05:  # otherwise only one row was timed
        assert costs.service_time().of(8) == pytest.approx(fixed + 8 * per_row, rel=0.1, abs=1e-5)

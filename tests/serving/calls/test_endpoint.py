from __future__ import annotations

import asyncio
import threading

import pytest

from loopwright.core.errors import (
    DeadlineError,
    InvalidRequestError,
    ModelFailedError,
    NotFoundRequestError,
    NotReadyError,
    OverloadedError,
)
from loopwright.serving.calls.admission import QueueLimits
from loopwright.serving.calls.endpoint import Active, InferenceCall
from loopwright.serving.log.prediction_record import decode_records
from loopwright.serving.log.segment import read_frames
from loopwright.serving.releases.router import Routing


def call(*values: float, **changes: object) -> InferenceCall:
    return InferenceCall(**{"rows": [{"x": value} for value in values], "protocol": "rows", **changes})


def logged(parts):
    return [
        row
        for path in sorted(parts.log.folder.glob("*.seg"))
        for frame in read_frames(path)
        for row in decode_records(frame.payload)
    ]


def balanced(parts) -> bool:
    counts = parts.log.counts()
    return counts.accepted == counts.durable + counts.in_flight + sum(counts.dropped.values())


def test_rows_are_one_batch_answered_logged_and_counted(make_endpoint, make_slot):
    parts = make_endpoint()
    parts.endpoint.active = Active(Routing(1), make_slot(1))
    served = asyncio.run(parts.endpoint.answer(call(1, 2, 3, keys=["a", "b", None])))
    assert served.answers.values == [1001.0, 1002.0, 1003.0]
    rows = logged(parts)
    assert [row.prediction_id for row in rows] == served.prediction_ids
    assert [(row.key, row.output_number, row.features) for row in rows] == [
        ("a", 1001.0, '{"x":1.0}'),
        ("b", 1002.0, '{"x":2.0}'),
        (None, 1003.0, '{"x":3.0}'),
    ]
    assert {(row.version, row.route, row.status, row.batch_rows) for row in rows} == {(1, "champion", 200, 3)}
    assert parts.log.counts().durable == 3
    text = parts.metrics.exposition().decode()
    assert (
        'loopwright_requests_total{code="200",model="nonce",protocol="rows",route="champion",version="1"} 1.0' in text
    )
    assert 'loopwright_log_rows_durable_total{model="nonce"} 3.0' in text


def test_payloads_can_be_left_out_of_the_log(make_endpoint, make_slot):
    parts = make_endpoint(log_payloads="none")
    parts.endpoint.active = Active(Routing(1), make_slot(1))
    asyncio.run(parts.endpoint.answer(call(1)))
    assert logged(parts)[0].features == ""


@pytest.mark.parametrize(
    ("rows", "error", "status"),
    [
        ([{"x": -1}], ModelFailedError, 500),
        ([{"x": "far"}], InvalidRequestError, 400),
        ([{}], InvalidRequestError, 400),
    ],
)
def test_failures_after_acceptance_are_logged(make_endpoint, make_slot, rows, error, status):
    parts = make_endpoint()
    parts.endpoint.active = Active(Routing(1), make_slot(1))
    with pytest.raises(error):
        asyncio.run(parts.endpoint.answer(InferenceCall(rows, "rows")))
    [row] = logged(parts)
    assert (row.status, row.error_class, row.output_number) == (status, error.__name__, None)
    assert balanced(parts)
    assert parts.log.counts().in_flight == 0


def test_without_a_version_it_is_not_ready(make_endpoint):
    parts = make_endpoint()
    with pytest.raises(NotReadyError):
        asyncio.run(parts.endpoint.answer(call(1)))
    assert parts.log.counts().accepted == 0


def test_a_pinned_version_is_logged_as_such_and_belongs_to_no_experiment(make_endpoint, make_slot):
    parts = make_endpoint()
    routing = Routing(1, 2, "canary", 0.5, "salt", "release/canary-0")
    parts.endpoint.active = Active(routing, make_slot(1), make_slot(2))
    assert asyncio.run(parts.endpoint.answer(call(1, pinned=2))).answers.values == [2001.0]
    [row] = logged(parts)
    assert (row.route, row.experiment, row.version) == ("pinned", None, 2)
    with pytest.raises(NotFoundRequestError):
        asyncio.run(parts.endpoint.answer(call(1, pinned=9)))


def test_a_canary_is_sticky_by_unit_key_and_only_key(make_endpoint, make_slot):
    parts = make_endpoint()
    parts.endpoint.active = Active(Routing(1, 2, "canary", 0.5, "salt", "e"), make_slot(1), make_slot(2))

    async def go():
        by_unit = [(await parts.endpoint.answer(call(1, unit=f"u{i % 10}"))).version for i in range(40)]
        by_key = [(await parts.endpoint.answer(call(1, 2, keys=[f"u{i % 10}"] * 2))).version for i in range(40)]
        return by_unit, by_key

    by_unit, by_key = asyncio.run(go())
    assert by_unit[:10] * 4 == by_unit == by_key
    assert set(by_unit) == {1, 2}
    assert {row.propensity for row in logged(parts)} == {0.5}


def test_a_shadow_answers_with_the_champion_and_logs_both_under_one_id(make_endpoint, make_slot):
    parts = make_endpoint()
    parts.endpoint.active = Active(Routing(1, 2, "shadow", salt="s", experiment="e"), make_slot(1), make_slot(2))
    served = asyncio.run(parts.endpoint.answer(call(3)))
    parts.shadow.close()
    assert served.answers.values == [1003.0]
    rows = logged(parts)
    assert [(row.prediction_id, row.route, row.output_number) for row in rows] == [
        (served.prediction_ids[0], "champion", 1003.0),
        (served.prediction_ids[0], "shadow", 2003.0),
    ]
    assert parts.log.counts().accepted == 2
    assert balanced(parts)


def test_a_shadow_that_fails_is_evidence_and_no_failure(make_endpoint, make_slot):
    parts = make_endpoint()
    parts.endpoint.active = Active(Routing(1, 2, "shadow", salt="s"), make_slot(1), make_slot(2))
    parts.endpoint.active.challenger.predictor.loaded.predict = lambda _: 1 / 0
    assert asyncio.run(parts.endpoint.answer(call(3))).version == 1
    parts.shadow.close()
    assert [(row.route, row.status) for row in logged(parts)] == [("champion", 200), ("shadow", 500)]


def test_a_full_shadow_queue_drops_the_newest_and_counts_it(make_endpoint, make_slot):
    parts = make_endpoint(shadow_capacity=1)
    gate = threading.Event()
    parts.endpoint.active = Active(Routing(1, 2, "shadow", salt="s"), make_slot(1), make_slot(2))
    predict = parts.endpoint.active.challenger.predictor.loaded.predict

    def slow(rows):
        gate.wait(10)
        return predict(rows)

    parts.endpoint.active.challenger.predictor.loaded.predict = slow

    async def go():
        return [await parts.endpoint.answer(call(i)) for i in range(6)]

    assert len(asyncio.run(go())) == 6
    dropped = parts.log.counts().dropped["shadow_full"]
    assert dropped >= 4
    gate.set()
    parts.shadow.close()
    assert balanced(parts)
    assert parts.log.counts().in_flight == 0
    assert f'loopwright_shadow_dropped_total{{model="nonce"}} {dropped}.0' in parts.metrics.exposition().decode()


def test_too_many_in_flight_are_shed(make_endpoint, make_slot):
    parts = make_endpoint(limits=QueueLimits(max_calls=2))
    slot = make_slot(1)
    slot.inline_rows = 0
    parts.endpoint.active = Active(Routing(1), slot)
    slot.lock.acquire()

    async def go():
        waiting = [asyncio.create_task(parts.endpoint.answer(call(i))) for i in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError) as refused:
            await parts.endpoint.answer(call(9))
        slot.lock.release()
        return refused.value, await asyncio.gather(*waiting)

    refused, answered = asyncio.run(go())
    assert refused.retry_after_s > 0
    assert [served.answers.values for served in answered] == [[1000.0], [1001.0]]
    assert parts.log.counts().accepted == 2


def test_work_whose_deadline_passed_is_not_computed(make_endpoint, make_slot, clock):
    parts = make_endpoint()
    slot = make_slot(1)
    parts.endpoint.active = Active(Routing(1), slot)
    computed = []
    predict = slot.predictor.loaded.predict
    slot.predictor.loaded.predict = lambda rows: computed.append(1) or predict(rows)
    with pytest.raises(DeadlineError):
        asyncio.run(parts.endpoint.answer(call(1, deadline=clock.monotonic())))
    parts.executor.submit(lambda: None).result()
    assert not computed
    assert [row.status for row in logged(parts)] == [504]
    assert balanced(parts)


def test_a_cancelled_request_is_counted_as_dropped(make_endpoint, make_slot):
    parts = make_endpoint()
    slot = make_slot(1)
    slot.inline_rows = 0
    parts.endpoint.active = Active(Routing(1), slot)
    slot.lock.acquire()

    async def go():
        task = asyncio.create_task(parts.endpoint.answer(call(1)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        slot.lock.release()

    asyncio.run(go())
    assert parts.log.counts().dropped == {"cancelled": 1}
    assert balanced(parts)
    assert parts.endpoint.in_flight == 0


def test_answers_reach_their_own_caller(make_endpoint, make_slot):
    """Concurrent requests of many sizes, on the loop and on the executor: each gets its own rows' answers."""
    parts = make_endpoint(limits=QueueLimits(max_calls=10_000, budget_s=60.0))
    slot = make_slot(1)
    slot.inline_rows = 3
    parts.endpoint.active = Active(Routing(1), slot)

    async def one(number: int) -> None:
        values = [number * 10 + row for row in range(number % 7 + 1)]
        served = await parts.endpoint.answer(call(*values))
        assert served.answers.values == [1000.0 + value for value in values]

    async def go():
        await asyncio.gather(*(one(number) for number in range(300)))

    asyncio.run(go())
    assert balanced(parts)

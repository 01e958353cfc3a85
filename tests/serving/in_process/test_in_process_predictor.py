"""Models answered inside an application: from threads, from async code, through promotions, to the end."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import couriers
import pandas as pd
import pyarrow as pa
import pytest

from loopwright.core.errors import (
    DeadlineError,
    InvalidRequestError,
    ModelFailedError,
    NotFoundRequestError,
    NotReadyError,
    TooLargeError,
)
from loopwright.serving.deploy import OnlineDeployment
from loopwright.serving.log.compactor import PredictionTable


def logged(serving) -> list[dict]:
    return PredictionTable(serving.stores, "eta").read().to_pylist()


def test_a_row_is_answered_with_features_that_it_does_not_carry(open_serving):
    serving = open_serving()
    eta = serving.predictor("eta")
    assert (eta.model, eta.version) == ("eta", 1)

    known = eta.predict_one({"courier_id": "ann"}, key="order-1", request_id="mine")
    assert (known.value, known.model, known.version, known.route) == (1004.5, "eta", 1, "champion")
    assert (known.request_id, known.probabilities) == ("mine", None)
    stranger, old = eta.predict_many(
        [{"courier_id": "bob", "km": 3}, {"courier_id": "old", "extra": 1}], keys=["order-2", None]
    )
    assert (stranger.value, old.value) == (1002.0, 999.0)
    assert old.ignored == ("extra",)
    assert serving.predictor("eta") is eta

    rows = {row["prediction_id"]: row for row in logged(serving)}
    assert rows.keys() == {known.prediction_id, stranger.prediction_id, old.prediction_id}
    assert rows[known.prediction_id]["key"] == "order-1"
    assert rows[known.prediction_id]["features"] == '{"pace":4.5,"km":null}'
    assert rows[stranger.prediction_id]["unfound"] == "courier_pace"
    assert rows[old.prediction_id]["unfound"] == "courier_pace:expired"
    shown = serving.exposition().decode()
    assert (
        'loopwright_requests_total{code="200",model="eta",protocol="in-process",route="champion",version="1"} 2'
        in shown
    )
    assert 'loopwright_log_rows_durable_total{model="eta"} 3.0' in shown
    assert 'loopwright_inflight{model="eta"} 0.0' in shown
    assert serving.registry.get_sample_value("loopwright_log_rows_accepted_total", {"model": "eta"}) == 3.0


def test_tables_are_taken_by_column(open_serving):
    eta = open_serving().predictor("eta")
    frame = pd.DataFrame({"courier_id": ["ann", "bob"], "km": [1.0, None], "other": [object(), object()]})
    assert [one.value for one in eta.predict_many(frame[["courier_id", "km"]])] == [1005.5, 999.0]
    table = pa.table({"courier_id": ["ann"], "km": [2.0], "nested": [[1, 2]]})
    answer = eta.predict_many(table)[0]
    assert (answer.value, answer.ignored) == (1006.5, ("nested",))


def test_what_is_wrong_is_said_with_the_errors_of_requests(open_serving):
    serving = open_serving()
    eta = serving.predictor("eta")
    with pytest.raises(InvalidRequestError, match="'courier_id' is missing") as wrong:
        eta.predict_many([{"courier_id": "ann"}, {"km": 1}])
    assert (wrong.value.field, wrong.value.row) == ("courier_id", 1)
    for rows, said in (
        ([], "no rows"),
        (pa.table({"courier_id": []}), "no rows"),
        (["ann"], "Row 0 must be a mapping"),
        ([{"courier_id": 5}], "must be a text"),
    ):
        with pytest.raises(InvalidRequestError, match=said):
            eta.predict_many(rows)
    with pytest.raises(InvalidRequestError, match="2 keys for 1 rows"):
        eta.predict_many([{"courier_id": "ann"}], keys=["a", "b"])
    with pytest.raises(InvalidRequestError, match="1 to 128 printable"):
        eta.predict_one({"courier_id": "ann"}, request_id="a\nb")
    with pytest.raises(TooLargeError, match="100000 are accepted"):
        eta.predict_many([{}] * 100_001)
    with pytest.raises(NotFoundRequestError, match="Served now: 1"):
        eta.predict_one({"courier_id": "ann"}, version=7)
    with pytest.raises(ModelFailedError, match="ZeroDivisionError"):
        eta.predict_one({"courier_id": "ann", "km": -1.0})
    with pytest.raises(DeadlineError):
        eta.predict_one({"courier_id": "ann"}, timeout_s=0.0)
    with pytest.raises(NotReadyError, match="'other' has no champion"):
        serving.predictor("other")
    assert eta.predict_one({"courier_id": "ann"}).value == 1004.5


def test_many_threads_each_get_their_own_answers(open_serving):
    serving = open_serving()
    eta = serving.predictor("eta", deployment=OnlineDeployment(max_in_flight=10_000))

    def ask(number: int) -> bool:
        answers = eta.predict_many([{"courier_id": "ann", "km": number + row / 8} for row in range(1 + number % 3)])
        return [one.value for one in answers] == [1004.5 + number + row / 8 for row in range(1 + number % 3)]

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(ask, range(1500)))
    assert len(logged(serving)) == sum(1 + number % 3 for number in range(1500))


def test_async_code_awaits_and_gives_up(open_serving):
    serving = open_serving()
    eta = serving.predictor("eta")

    async def many() -> list[float]:
        calls = [eta.predict_one_async({"courier_id": "ann", "km": float(number)}) for number in range(50)]
        answers = await asyncio.gather(*calls)
        table = await eta.predict_many_async(pa.table({"courier_id": ["ann"]}), keys=["k"])
        with pytest.raises(InvalidRequestError, match="is missing"):
            await eta.predict_one_async({})
        given_up = asyncio.ensure_future(eta.predict_one_async({"courier_id": "ann"}))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        return [one.value for one in answers] + [table[0].value]

    assert asyncio.run(many()) == [1004.5 + number for number in range(50)] + [1004.5]
    serving.close()
    counts = {sample.name: sample.value for family in serving.registry.collect() for sample in family.samples}
    assert counts["loopwright_log_rows_in_flight"] == 0.0


def test_promotions_and_canaries_are_followed(open_serving):
    serving = open_serving()
    eta = serving.predictor("eta")
    seen = {eta.predict_one({"courier_id": "ann"}).version}
    serving.source.put(2)
    while 2 not in seen:
        answer = eta.predict_one({"courier_id": "ann"})
        assert answer.value == 4.5 + 1000 * answer.version
        seen.add(answer.version)
    serving.source.put(2, 3, stage="canary", share=0.5, salt="s")
    routes = set()
    while routes != {"champion", "canary"}:
        routes.add(eta.predict_one({"courier_id": "ann"}).route)
    same = {eta.predict_one({"courier_id": "ann"}, unit="u").version for _ in range(20)}
    assert len(same) == 1, "a unit sticks to its version"
    assert eta.predict_one({"courier_id": "ann"}, version=3).route == "pinned"


def test_closing_finishes_what_has_begun_and_refuses_the_rest(open_serving):
    serving = open_serving()
    eta = serving.predictor("eta")
    answered, refused = [], []

    def ask() -> None:
        try:
            while True:
                answered.append(eta.predict_one({"courier_id": "ann"}).prediction_id)
        except NotReadyError as error:
            refused.append(error.message)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(answered) < 40:
        time.sleep(0)
    eta.close()
    for thread in threads:
        thread.join()
    assert len(refused) == 4
    assert {row["prediction_id"] for row in logged(serving)} == set(answered)
    again = serving.predictor("eta")
    assert again is not eta
    with again:
        assert again.predict_one({"courier_id": "ann"}).value == 1004.5
    serving.close()
    serving.close()
    with pytest.raises(NotReadyError, match="workspace is closed"):
        serving.predictor("eta")


def test_a_child_that_was_forked_afterwards_is_told_so(open_serving):
    eta = open_serving().predictor("eta")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            eta.predict_one({"courier_id": "ann"})
        except NotReadyError as error:
            os.write(writing, error.message.encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert "opened in another process" in pipe.read()


def test_there_is_no_champion_yet(open_serving):
    source = couriers.Source(None)
    serving = open_serving(source=source)
    with pytest.raises(NotReadyError, match="'eta' has no champion"):
        serving.predictor("eta")
    source.put(4)
    assert serving.predictor("eta").predict_one({"courier_id": "ann"}).version == 4

"""Batches that wait together share a commit, and each keeps the answer it would have had alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import IngestStoppedError, LoopwrightError, SourceError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import Stores, open_stores
from loopwright.data.contract.check import unique
from loopwright.data.contract.column import column
from loopwright.data.contract.contract import Contract
from loopwright.data.dataset import Dataset
from loopwright.data.ingest.pushing import PushedBatch
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.data.versions.snapshot import IngestReport

PARCELS = Dataset("parcels", push(), key="id", contract=[column("kg", "float", at_least=0)])


def told(answer: IngestReport | LoopwrightError) -> tuple[object, ...]:
    if isinstance(answer, LoopwrightError):
        return (type(answer),)
    return (answer.rows_read, answer.rows_accepted, answer.rows_quarantined, answer.rows_duplicate, answer.reasons)


def test_batches_share_a_commit_and_keep_their_answers(stores: Stores) -> None:
    lake = Lake(stores)
    batches = [
        PushedBatch([{"id": "a", "kg": 1}, {"id": "b", "kg": -1}], "one"),
        PushedBatch([{"id": "a", "kg": 1}, {"id": "c", "kg": 2.5}], "two"),
        PushedBatch([{"id": "a", "kg": 9}], "three"),
        PushedBatch({"id": ["d"], "kg": ["many"]}),
        PushedBatch(pa.table({"id": ["e"], "kg": [3], "city": ["Oslo"]})),
    ]
    answers = lake.push_many(PARCELS, batches)
    assert [told(answer) for answer in answers] == [
        (2, 1, 1, 0, {"at_least(kg)": 1}),
        (2, 1, 0, 1, {}),
        (1, 0, 1, 0, {"key(id)": 1}),
        (1, 0, 1, 0, {"type(kg)": 1}),
        (1, 1, 0, 0, {}),
    ]
    assert len(lake.history("parcels")) == 1
    again = lake.push_many(PARCELS, [*batches[:3], PushedBatch([{"id": "f", "kg": 1}], "one")])
    assert [told(answer) for answer in again[:3]] == [told(answer) for answer in answers[:3]]
    assert isinstance(again[3], SourceError)
    assert told(lake.push(PARCELS, batches[1].rows, batch_id="two")) == told(answers[1])
    assert lake.snapshot("parcels").rows == 3
    assert lake.row("parcels", "id", "c").source == "push:two"  # type: ignore[union-attr]


def test_a_batch_that_is_there_twice_is_stored_once(stores: Stores) -> None:
    batch = PushedBatch([{"id": "a", "kg": 1}], "one")
    other = PushedBatch([{"id": "b", "kg": 1}], "one")
    first, second, third = Lake(stores).push_many(PARCELS, [batch, batch, other])
    assert told(first) == told(second) == (1, 1, 0, 0, {})
    assert isinstance(third, SourceError)


def test_one_that_stops_does_not_stop_the_others(stores: Stores) -> None:
    data = Dataset("d", push(), contract=[column("x", "int", on_failure="stop")])
    batches = [PushedBatch([{"x": 1}], "a"), PushedBatch([{"x": "bad"}], "b"), PushedBatch([{"x": 2}], "c")]
    first, second, third = Lake(stores).push_many(data, [*batches, PushedBatch(3)])[:3]  # type: ignore[arg-type]
    assert (told(first), told(third)) == ((1, 1, 0, 0, {}), (1, 1, 0, 0, {}))
    assert isinstance(second, IngestStoppedError)
    with pytest.raises(IngestStoppedError):
        Lake(stores).push(data, [{"x": "bad"}], batch_id="b")
    assert Lake(stores).snapshot("d").rows == 2


@pytest.mark.parametrize(
    "bad", [{"": 1}, {"more": {"": 1}}, {"more": [{"a": {"b\0": 1}}]}, {"more": {}}, {"more": [{}]}]
)
def test_a_batch_with_columns_that_no_engine_has_is_refused_alone(stores: Stores, bad: dict[str, object]) -> None:
    batches = [PushedBatch([{"id": "a", "kg": 1}]), PushedBatch([{"id": "b", "kg": 1, **bad}])]
    stored, refused = Lake(stores).push_many(PARCELS, batches)
    assert told(stored) == (1, 1, 0, 0, {})
    assert isinstance(refused, SourceError)


def test_a_strict_contract_keeps_back_rows_of_a_shared_commit(stores: Stores) -> None:
    data = Dataset("d", push(), contract=Contract([column("x", "int")], strict=True))
    answers = Lake(stores).push_many(data, [PushedBatch([{"x": 1}]), PushedBatch([{"x": 2, "y": 3}])])
    assert [told(answer)[:3] for answer in answers] == [(1, 1, 0), (1, 0, 1)]


_ROWS = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 5), "kg": st.sampled_from([0.5, 1.5, -1.0, None])}),
    min_size=1,
    max_size=3,
)


@given(st.lists(st.lists(_ROWS, min_size=1, max_size=4), min_size=1, max_size=3))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_together_and_one_by_one_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[list[dict[str, object]]]]
) -> None:
    data = Dataset("d", push(), key="id", contract=[column("kg", "float", at_least=0), unique("id")])
    found = []
    for together in (True, False):
        folder: Path = tmp_path_factory.mktemp("project")
        stores = open_stores(Settings.load(folder, environ={}))
        lake, answers = Lake(stores), []
        for group in groups:
            batches = [PushedBatch(rows) for rows in group]
            answers += lake.push_many(data, batches) if together else [lake.push(data, one.rows) for one in batches]
        rows = lake.read(lake.snapshot("d"), columns=["id", "kg"]).to_pylist() if lake.names() else []
        found.append(([told(answer) for answer in answers], rows))
        stores.close()
    assert found[0] == found[1]

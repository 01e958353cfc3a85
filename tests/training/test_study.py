# ruff: noqa: PLC0415 - training functions run in a process of their own
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import loopwright.training.active as lw
from loopwright.core.errors import DeclarationError, TrainingError, TrainingRaisedError
from loopwright.features.examples import from_table, read_training_set
from loopwright.features.field import Field
from loopwright.training.active import Spool
from loopwright.training.job import TrainingJob
from loopwright.training.run_store import RunStore
from loopwright.training.search import SearchObjective, choice, integer, search, uniform
from loopwright.training.study import Study, append_journal, inner_split, outputs_of, read_journal

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores
    from loopwright.training.trainer import Trainer


class Line:
    """Predicts a slope times the first column."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def predict(self, X: Any) -> Any:
        return self.slope * np.asarray(X)[:, 0]


def error_from_two(y: Any, outputs: Any) -> float:
    slope = outputs.values.sum() / outputs.values.sum() if outputs.values.sum() else 1.0
    return float(abs(outputs.values).max() * slope)


OBJECTIVE = SearchObjective("largest", greater_is_better=False, function=error_from_two)
SPACE = {"slope": uniform(0.1, 3.0), "depth": integer(1, 9), "kind": choice(["a", "b", None])}


def study(train: Any, folder: Path, *, trials: int = 12, sampler: Any = "tpe", function: Any = None) -> tuple[Any, Any]:
    folder.mkdir(exist_ok=True)
    declared = search(trials=trials, sampler=sampler, **SPACE)
    plain = function or (lambda train, params: Line(params.slope))  # noqa: ARG005
    return Study(declared, OBJECTIVE, plain, ("params",), {"fixed": 1}, 5, folder / "journal.jsonl").run(
        train, Spool(folder)
    )


@pytest.fixture
def train(training_set: Any) -> Any:
    return read_training_set(training_set.path, training_set.feature_fields, training_set.label_field)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_is_repeatable_and_improves(train: Any, tmp_path: Path, sampler: str) -> None:
    best, value = study(train, tmp_path / "a", sampler=sampler)
    again, same = study(train, tmp_path / "b", sampler=sampler)
    assert (best, value) == (again, same)
    assert set(best) == {"fixed", "slope", "depth", "kind"}
    trials = read_journal(tmp_path / "a" / "journal.jsonl")
    assert len(trials) == 12
    assert value == min(trial["value"] for trial in trials)


@pytest.mark.parametrize("cut", [1, 4, 11])
def test_an_interrupted_search_tries_what_it_would_have_tried(train: Any, tmp_path: Path, cut: int) -> None:
    whole, _ = study(train, tmp_path / "whole")
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "journal.jsonl").write_bytes(b"".join(lines[:cut]) + lines[cut][:20])
    resumed, _ = study(train, tmp_path / "cut")
    assert resumed == whole
    strip = [{**trial, "seconds": 0} for trial in read_journal(tmp_path / "cut" / "journal.jsonl")]
    assert strip == [{**json.loads(line), "seconds": 0} for line in lines]


def test_trials_that_raise_are_recorded_and_the_search_goes_on(train: Any, tmp_path: Path) -> None:
    def sometimes(train: Any, params: Any) -> Line:
        if params.kind == "b":
            raise ValueError("b does not work")
        return Line(params.slope)

    best, _ = study(train, tmp_path / "a", function=sometimes)
    assert best["kind"] != "b"
    assert {trial["status"] for trial in read_journal(tmp_path / "a" / "journal.jsonl")} == {"finished", "failed"}

    def never(train: Any, params: Any) -> Line:
        raise ValueError("nothing works")

    with pytest.raises(TrainingRaisedError, match="nothing works"):
        study(train, tmp_path / "b", trials=2, function=never)


def test_the_inner_split_is_by_time_where_there_are_times(train: Any) -> None:
    early, late = inner_split(train, 0.25, seed=0)
    assert (len(early), len(late)) == (150, 50)
    assert early.event_times.max() < late.event_times.min()


@given(share=st.floats(0.01, 0.99), hours=st.lists(st.integers(0, 5), min_size=2, max_size=30))
def test_the_inner_split_loses_nothing_and_never_is_empty(share: float, hours: list[int]) -> None:
    table = pa.table(
        {
            "x": [float(place) for place in range(len(hours))],
            "__label__": [0] * len(hours),
            "__key__": ["k"] * len(hours),
            "__event_time__": pa.array([hour * 3_600_000_000 for hour in hours], pa.timestamp("us", "UTC")),
        }
    )
    examples = from_table(table, (Field("x", "float64"),), Field("y", "int64"))
    first, second = inner_split(examples, share, seed=1)
    together = sorted([*first.table["x"].to_pylist(), *second.table["x"].to_pylist()])
    assert together == [float(place) for place in range(len(hours))]
    assert len(first) > 0
    assert len(second) > 0
    if len(set(hours)) > 1:
        assert first.event_times.max() < second.event_times.min()


def test_outputs_take_what_the_model_can_say() -> None:
    class Classes:
        classes_ = np.array(["no", "yes"])

        def predict(self, X: Any) -> Any:
            return np.array(["yes"] * len(X))

        def predict_proba(self, X: Any) -> Any:
            return np.tile([0.25, 0.75], (len(X), 1))

    outputs = outputs_of(Classes(), np.zeros((2, 1)))
    assert (outputs.kind, outputs.classes) == ("binary", ("no", "yes"))
    assert outputs.positive_scores is not None
    assert outputs.positive_scores.tolist() == [0.75, 0.75]
    assert len(outputs) == 2
    plain = outputs_of(Line(1.0), np.zeros((2, 1)))
    assert (plain.kind, plain.probabilities, plain.positive_scores) == ("regression", None, None)


def test_a_broken_last_line_is_cut_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    append_journal(path, {"number": 0})
    with path.open("ab") as file:
        file.write(b'{"number": 1, "par')
    append_journal(path, {"number": 1})
    assert read_journal(path) == [{"number": 0}, {"number": 1}]


def accuracy(y: Any, outputs: Any) -> float:
    return float((outputs.values == y).mean())


def killed_once(train: Any, params: Any) -> Any:
    import os
    import signal

    from sklearn.tree import DecisionTreeClassifier

    lw.log_metric("rows", len(train), step=0)
    marker = Path(params.marker)
    if len(train) < 200:
        tried = int(marker.read_text()) + 1 if marker.exists() else 1
        marker.write_text(str(tried))
        if tried == 4:
            os.kill(os.getpid(), signal.SIGKILL)
    return DecisionTreeClassifier(max_depth=params.depth, random_state=0)


def test_a_killed_search_goes_on_where_it_was(
    trainer: Trainer, stores: Stores, training_set: Any, tmp_path: Path
) -> None:
    job = TrainingJob(
        "m",
        killed_once,
        training_set,
        params={"marker": str(tmp_path / "marker")},
        search=search(trials=6, depth=integer(1, 8)),
        objective=SearchObjective("accuracy", greater_is_better=True, function=accuracy),
    )
    with pytest.raises(TrainingError, match="killed by SIGKILL"):
        trainer.train(job)
    result = trainer.train(job)
    assert int((tmp_path / "marker").read_text()) == 4 + 3
    store = RunStore(stores)
    trials = store.trials(result.run_id)
    assert [trial.number for trial in trials] == list(range(6))
    assert all(trial.curves == ({"name": "rows", "value": 160.0, "step": 0},) for trial in trials)
    best = max(trials, key=lambda trial: trial.value or 0)
    run = store.get(result.run_id)
    assert run.params == {**job.params, **best.params}
    assert run.metrics["rows"] == 200
    assert run.metrics["search.best.accuracy"] == best.value
    assert "3 trials taken over" in store.events(run.id)[0].text
    assert len(store.trials(store.list(status="failed")[0].id)) == 3
    assert not list((stores.local / "searches").iterdir())


def test_a_search_without_an_objective_is_refused(trainer: Trainer, training_set: Any) -> None:
    with pytest.raises(DeclarationError, match="has no objective"):
        trainer.train(TrainingJob("m", killed_once, training_set, search=search(depth=integer(1, 2))))

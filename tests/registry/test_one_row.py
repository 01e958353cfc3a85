from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from loopwright.registry.one_row import bind_one_row

X = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)


def session_of(model, **options):
    graph = to_onnx(model, X[:1], **options).SerializeToString()
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def bound(session):
    names = [output.name for output in session.get_outputs()]
    return names, bind_one_row(session, 4, np.dtype(np.float32), name=session.get_inputs()[0].name, outputs=names)


@pytest.fixture(scope="module")
def regressor():
    return session_of(RandomForestRegressor(n_estimators=5, random_state=0).fit(X, X[:, 0] * 3))


def test_one_row_is_answered_as_the_session_answers_it(regressor):
    names, one_row = bound(regressor)
    name = regressor.get_inputs()[0].name
    for row in X[:50]:
        usual = regressor.run(names, {name: row[None]})
        assert np.array_equal(one_row.run(row[None].astype(np.float64))[0], usual[0])


def test_an_answer_is_not_changed_by_the_next_one(regressor):
    _, one_row = bound(regressor)
    first = one_row.run(X[:1])[0]
    kept = first.copy()
    one_row.run(X[1:2])
    assert np.array_equal(first, kept)


def test_labels_and_probabilities_are_both_read():
    model = RandomForestClassifier(n_estimators=5, random_state=0).fit(X, X[:, 0] > 0)
    names, one_row = bound(session_of(model, options={"zipmap": False}))
    labels, probabilities = one_row.run(X[:1])
    assert labels.shape == (1,)
    assert probabilities.shape == (1, 2)
    assert len(names) == 2


def test_what_answers_in_no_arrays_of_numbers_is_not_bound():
    texts = np.where(X[:, 0] > 0, "yes", "no")
    assert bound(session_of(RandomForestClassifier(n_estimators=5, random_state=0).fit(X, texts)))[1] is None
    forest = RandomForestClassifier(n_estimators=5, random_state=0).fit(X, X[:, 0] > 0)
    assert bound(session_of(forest))[1] is None, "a list of dictionaries"


def test_a_graph_of_another_width_is_not_bound(regressor):
    names = [regressor.get_outputs()[0].name]
    assert bind_one_row(regressor, 3, np.dtype(np.float32), name=regressor.get_inputs()[0].name, outputs=names) is None


def test_a_second_caller_is_sent_away_and_nobody_gets_anothers_answer(regressor):
    names, one_row = bound(regressor)
    name = regressor.get_inputs()[0].name
    usual = [regressor.run(names, {name: row[None]})[0] for row in X]
    ready = threading.Barrier(4)

    def ask(worker: int) -> int:
        ready.wait(10)
        answered = 0
        for place in range(worker, len(X), 4):
            found = one_row.run(X[place : place + 1])
            if found is not None:
                assert np.array_equal(found[0], usual[place])
                answered += 1
        return answered

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(ask, range(4))) > 0

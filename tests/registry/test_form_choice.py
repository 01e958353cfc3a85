from __future__ import annotations

import dataclasses
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.features.columns import model_input
from loopwright.features.field import Field
from loopwright.registry.card import card_of
from loopwright.registry.form_choice import MARGIN, PREFERENCE, SIZES, FormChoice, FormTime, chosen, measured
from loopwright.registry.given import given_candidate
from loopwright.registry.parity import compare
from loopwright.registry.registry import Registry
from loopwright.serving.predictor import Predictor

costs = st.floats(0.1, 1e6)


@given(st.lists(st.sampled_from(PREFERENCE), min_size=1, max_size=3, unique=True), st.data())
def test_the_choice_is_never_far_from_the_best(forms, data):
    times = [FormTime(form, rows, data.draw(costs)) for rows in SIZES for form in forms]
    choice = chosen(times)
    cost = {(one.form, one.rows): one.microseconds for one in times}
    for rows in (SIZES[0], SIZES[-1]):
        best = min(cost[form, rows] for form in forms)
        assert cost[choice.form_for(rows), rows] <= best * max(MARGIN.values())
    assert FormChoice.from_json(choice.to_json()) == choice
    if choice.large_from_rows is None:
        assert choice.small == choice.large
    else:
        assert 2 <= choice.large_from_rows <= SIZES[-1]
        assert choice.form_for(choice.large_from_rows - 1) == choice.small


def test_a_form_that_wins_by_less_than_the_margin_is_left_out():
    times = [FormTime("onnx", rows, 10.0) for rows in SIZES] + [FormTime("native", rows, 6.0) for rows in SIZES]
    assert chosen(times).large == chosen(times).small == "onnx"


def test_every_form_is_asked_at_every_size():
    asked = []
    choice = measured({"onnx": lambda rows: asked.append(("onnx", rows)), "native": lambda _: None}, sizes=(1, 4))
    assert {rows for _, rows in asked} == {1, 4}
    assert {(one.form, one.rows) for one in choice.times} == {(f, r) for f in ("onnx", "native") for r in (1, 4)}


@pytest.fixture
def boosted(stores, tmp_path):
    """A version whose library answers from ten rows on, whatever the clock said at registration."""
    xgboost = pytest.importorskip("xgboost", exc_type=ImportError)
    random = np.random.default_rng(0)
    columns = {f"x{place}": random.normal(size=300) for place in range(4)}
    columns["x1"][::5] = np.nan
    model = xgboost.XGBClassifier(n_estimators=8, n_jobs=1).fit(pd.DataFrame(columns), columns["x0"] > 0)
    registry = Registry(stores)
    version = registry.register(given_candidate("risk", model, columns, tmp_path))
    assert version.choice.small == "onnx"
    assert {one.form for one in version.choice.times} == {"onnx", "library", "native"}
    assert version.library.rows_compared > 1000
    choice = dataclasses.replace(version.choice, large="library", large_from_rows=10)
    return registry, dataclasses.replace(version, choice=choice), columns


def test_many_rows_go_to_the_form_that_was_faster(boosted):
    registry, version, columns = boosted
    loaded = registry.load(version)
    assert loaded.form == "onnx"
    before = set(threading.enumerate())
    first = loaded.predict(columns)  # answered by the graph; the library is loaded beside it
    for thread in set(threading.enumerate()) - before:
        thread.join()
    second = loaded.predict(columns)
    prepared = registry.load(version)
    prepared.prepare()
    assert np.array_equal(second.probabilities, prepared.predict(columns).probabilities)
    native = prepared.predict_native(prepared.golden().rows(prepared.signature))
    assert compare(native, prepared.golden().outputs).holds
    assert compare(first, second).holds
    few = {name: values[:9] for name, values in columns.items()}
    graph = registry.load(version)
    assert np.array_equal(prepared.predict(few).probabilities, graph.predict(few).probabilities)


def test_a_process_without_the_library_goes_on_with_the_graph(boosted, monkeypatch):
    registry, version, columns = boosted
    loaded = registry.load(version)
    monkeypatch.setitem(sys.modules, "xgboost", None)
    before = set(threading.enumerate())
    expected = loaded.predict(columns)
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert np.array_equal(loaded.predict(columns).probabilities, expected.probabilities)


def test_a_predictor_answers_through_both_forms(boosted, clock):
    registry, version, columns = boosted
    loaded = registry.load(version)
    loaded.prepare()
    predictor = Predictor(loaded, online=None, clock=clock)
    rows = [
        {name: None if np.isnan(values[at]) else float(values[at]) for name, values in columns.items()}
        for at in range(20)
    ]
    answers = predictor.predict_many(rows)
    for at, row in enumerate(rows):
        one = predictor.predict_many([row])
        assert one.values == [answers.values[at]]
        assert one.probabilities[0] == pytest.approx(answers.probabilities[at], abs=1e-6)


def test_the_card_shows_the_numbers(stores, boosted):
    _, version, _ = boosted
    text = card_of(stores, version).markdown()
    assert "onnx; library from 10 rows (1 row: onnx " in text
    assert "xgboost's shortest way" in text


def test_what_no_graph_can_say_is_answered_by_the_library(stores, runs):
    lightgbm = pytest.importorskip("lightgbm", exc_type=ImportError)
    fields = (Field("city", "category", categories=("Bergen", "Oslo", "Tromsø")), Field("distance", "float64"))
    columns = runs.columns_of(fields)
    columns["city"][::6] = -1
    columns["distance"][::5] = 0
    x = model_input(columns, fields)
    score = columns["distance"] + np.array([0.0, 4.0, -3.0, 9.0])[columns["city"]]
    model = lightgbm.LGBMRegressor(n_estimators=10, zero_as_missing=True, n_jobs=1, verbose=-1).fit(x, score)
    registry = Registry(stores)
    version = registry.register(runs.candidate(model, fields=fields, fitted=True))
    assert "takes 0 for a missing value" in version.not_compiled_because
    loaded = registry.load(version)
    assert loaded.form == "library"
    assert compare(loaded.predict_native(x), loaded.predict(columns)).holds
    texts = {**columns, "city": np.array([*fields[0].categories, None], dtype=object)[columns["city"]]}
    assert np.array_equal(loaded.predict(texts).values, loaded.predict(columns).values)
    assert np.array_equal(loaded.predict_native(texts).values, loaded.predict_native(columns).values)

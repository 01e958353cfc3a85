from __future__ import annotations

import dataclasses
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from loopwright.core.statistics.edetector import EDetector
from loopwright.monitoring.incident import Incidents
from loopwright.monitoring.loss_state import MeanLoss, loss_states
from loopwright.monitoring.outcomes import OutcomeCollector, record_outcome
from loopwright.monitoring.performance import LossMonitor, loss_figures
from loopwright.monitoring.signal import Signals
from loopwright.monitoring.watch import LossWatch, monitoring

MODEL = "digits"


@pytest.fixture
def look(stores, lake):
    collector, losses = OutcomeCollector(stores, lake), LossMonitor(stores, Signals(stores), Incidents(stores))

    def do(model):
        collector.collect(model)
        return losses.look(model)

    return do


def answer(stores, served, rows, error, **how):
    ids = served.predict(rows, **how)
    wrong = served.rng.random(rows) < error
    for one, bad in zip(ids, wrong, strict=True):
        record_outcome(stores, MODEL, one, "other" if bad else served.answers[one])
    return ids


def state_of(stores, version):
    with stores.facts.read() as connection:
        return connection.execute(sa.select(loss_states.c.state).where(loss_states.c.version == version)).scalar()


def test_a_model_as_good_as_its_holdout_is_left_alone(stores, served, watched, look):
    model = watched()
    for _ in range(6):
        answer(stores, served, 800, 0.1)
        assert look(model) == []
    figures = loss_figures(stores, model.profiles[model.champion])
    assert figures.rows == 4800
    assert len(figures.windows) == 24
    assert figures.mean == pytest.approx(0.1, abs=0.02)
    assert figures.reference == pytest.approx(0.1, abs=0.02)


def test_doubled_loss_pages_within_a_few_hundred_labels_with_its_evidence(stores, served, watched, look):
    model = watched()
    answer(stores, served, 1000, 0.1)
    assert look(model) == []
    found, rows = [], 0
    while not any(signal.severity == "page" for signal in found):
        answer(stores, served, 50, 0.25)
        rows += 50
        assert rows <= 600
        found += look(model)
    page = next(signal for signal in found if signal.severity == "page")
    assert found[0].severity == "ticket"
    assert page.certainty["rows_per_false_alarm"] == 1e6
    assert 1000 < page.rows <= 1000 + rows
    assert page.evidence["current"]["low"] > 0.1
    assert 0 < page.evidence["rows_since_change"] <= rows + 100
    assert page.evidence["reference"]["rows"] == 2000


def test_an_alarm_says_what_was_known_at_its_row_however_late_one_looks(stores, served, watched, look):
    model = watched()
    for rows, error in ((40, 0.0), (80, 1.0), (70, 0.0)):
        answer(stores, served, rows, error)
        served.clock.advance(timedelta(minutes=1))
    (signal,) = look(model)
    assert 40 < signal.rows < 120
    assert signal.evidence["rows_since_change"] == signal.rows - 40
    assert signal.evidence["current"]["rows"] == signal.rows - 40
    assert signal.value == 1.0
    assert signal.value > signal.threshold


def test_the_state_does_not_depend_on_how_often_one_looks(stores, served, watched, look):
    model = watched()
    losses = np.random.default_rng(0).random(700) < 0.15
    ids = served.predict(700)
    answers = dict(served.answers)
    for position, size in ((0, 1), (1, 250), (251, 449)):
        for one, bad in zip(ids[position : position + size], losses[position : position + size], strict=True):
            record_outcome(stores, MODEL, one, "other" if bad else answers[one])
        look(model)
    state = state_of(stores, model.champion)
    profile = model.profiles[model.champion]
    once = EDetector(profile.loss.null_rate(0.0), 1e6).update(losses.astype(float))
    assert EDetector.from_json(state["detectors"]["page"]).log_sums == pytest.approx(once.detector.log_sums)
    assert state["total"] == losses.sum()
    assert len(state["open_losses"]) == 100


def test_a_new_champion_starts_anew_and_so_does_one_that_comes_back(stores, served, watched, look, profile):
    other = dataclasses.replace(profile, version=f"{MODEL}/2")
    both = {profile.version: profile, other.version: other}
    first, second = watched(profiles=both), watched(profiles=both, champion=other.version)
    answer(stores, served, 300, 0.1)
    look(first)
    answer(stores, served, 100, 0.1, version=2, route="canary")
    look(first)
    assert loss_figures(stores, other).rows == 100
    look(second)
    assert loss_figures(stores, other).rows == 0
    assert not state_of(stores, profile.version)["is_champion"]
    look(first)
    assert loss_figures(stores, profile).rows == 0
    assert state_of(stores, profile.version)["is_champion"]


def test_a_revised_label_counts_once(stores, served, watched, look):
    model = watched()
    (one,) = served.predict(1)
    for value in ("a", "b"):
        record_outcome(stores, MODEL, one, value)
        look(model)
    assert loss_figures(stores, model.profiles[model.champion]).rows == 1


def test_an_incident_ends_after_two_calm_windows(stores, served, watched, look):
    model = watched(monitoring(drift=None, loss=LossWatch(window_rows=100)))
    answer(stores, served, 300, 0.5)
    assert look(model)
    (incident,) = Incidents(stores).list(live=True)
    assert incident.severity == "page"
    answer(stores, served, 500, 0.02)
    look(model)
    assert Incidents(stores).list(live=True) == []


def test_mean_loss_has_an_interval():
    share = MeanLoss.of(np.array([0.0] * 90 + [1.0] * 10))
    assert (round(share.low, 4), round(share.high, 4)) == (0.0552, 0.1744)
    number = MeanLoss.of(np.array([1.0, 2.0, 3.0]))
    assert number.low < 2.0 < number.high

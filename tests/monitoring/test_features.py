"""Lookups without a value and stale views are found, and normal traffic is silent."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest

from loopwright.core.errors import DeclarationError
from loopwright.features.online import MemoryOnlineStore, to_micros
from loopwright.monitoring.features import FeatureWatch
from loopwright.monitoring.incident import Incidents
from loopwright.monitoring.signal import Signals
from loopwright.monitoring.watch import monitoring
from loopwright.monitoring.watched import WatchedModel, WatchedView
from loopwright.serving.log.compactor import predictions_table
from loopwright.serving.log.prediction_record import PredictionRecord, to_table

MODEL = "digits"
PACE, ZONE = WatchedView("pace", "pace@1"), WatchedView("zone", "zone@1")


@pytest.fixture
def online():
    return MemoryOnlineStore()


@pytest.fixture
def features(stores, online):
    return FeatureWatch(stores, Signals(stores), Incidents(stores), lambda: online)


def model(*views, allowed=0.05):
    return WatchedModel(
        MODEL, monitoring(drift=None, missing_features=allowed), champion=f"{MODEL}/1", views=tuple(views)
    )


def serve(stores, clock, unfound, *, version=1, route="champion"):
    fixed = (int(clock.now().timestamp() * 1e6), MODEL, version, route, None, 1.0, 0, None, "", 1.0, None, None, 1, 1)
    records = [PredictionRecord(stores.ids.new(), "r", *fixed, 200, None, text) for text in unfound]
    stores.tables.append(predictions_table(MODEL), to_table(records))


def live(stores):
    return {incident.check for incident in Incidents(stores).list(live=True)}


def test_a_rising_share_is_found_and_the_incident_ends_when_values_are_back(stores, clock, features):
    watched = model(PACE, ZONE)
    serve(stores, clock, ["pace"] * 20 + ["pace:expired,zone"] * 10 + [None] * 70)
    (signal,) = features.look(watched)
    assert (signal.check, signal.dimension, signal.severity) == ("lookups:pace", "data", "ticket")
    assert (signal.value, signal.threshold, signal.rows) == (0.3, 0.05, 100)
    assert (signal.evidence["missing"], signal.evidence["expired"]) == (20, 10)
    assert features.look(watched) == []
    assert live(stores) == {"lookups:pace"}
    for _ in range(2):
        serve(stores, clock, [None] * 100)
        assert features.look(watched) == []
    assert live(stores) == set()


def test_a_window_fills_up_over_several_looks(stores, clock, features):
    found = []
    for _ in range(10):
        serve(stores, clock, ["pace"] * 3 + [None] * 7)
        found += features.look(model(PACE))
    assert [signal.rows for signal in found] == [100]


def test_shares_that_keep_their_bound_are_silent(stores, clock, features):
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.05):
        for _ in range(25):
            serve(stores, clock, ["pace" if missed else None for missed in rng.random(120) < share])
            assert features.look(model(PACE)) == []


def test_other_versions_shadows_and_unwatched_models_do_not_count(stores, clock, features):
    serve(stores, clock, ["pace"] * 200, version=2)
    serve(stores, clock, ["pace"] * 200, route="shadow")
    serve(stores, clock, [None] * 150)
    assert features.look(model(PACE)) == []
    serve(stores, clock, ["pace"] * 200)
    assert features.look(model()) == []
    assert features.look(model(PACE, allowed=None)) == []


def test_a_quiet_source_is_a_stale_view_once_an_hour_until_values_are_fresh_again(stores, clock, features, online):
    watched = model(WatchedView("pace", "pace@1", timedelta(minutes=5)), ZONE)
    (never,) = features.look(watched)
    assert (never.check, never.value, never.evidence["age"]) == ("fresh:pace", None, "never filled")

    def fill():
        online.write_many("pace@1", (), mark=json.dumps({"newest": to_micros(clock.now())}))

    fill()
    for _ in range(2):
        clock.advance(61)
        assert features.look(watched) == []
    assert live(stores) == set()
    for minutes in range(4 * 60):  # a filling every four minutes is fresh enough
        fill() if minutes % 4 == 0 else None
        clock.advance(60)
        assert features.look(watched) == []
    found = []
    for _ in range(120):  # and then nothing comes for two hours
        clock.advance(60)
        found += features.look(watched)
    assert 2 <= len(found) <= 3
    assert found[0].value == pytest.approx(300, abs=61)
    assert live(stores) == {"fresh:pace"}
    fill()
    for _ in range(10):
        features.look(watched)  # at one moment: one clean window
    assert live(stores) == {"fresh:pace"}
    clock.advance(60)
    features.look(watched)
    assert live(stores) == set()


def test_a_share_that_cannot_be_is_refused():
    with pytest.raises(DeclarationError, match="missing_features is a share"):
        monitoring(missing_features=5)

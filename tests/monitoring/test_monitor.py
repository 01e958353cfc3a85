from __future__ import annotations

import dataclasses
from datetime import timedelta

import numpy as np
import pytest

from loopwright.monitoring.monitor import Monitor
from loopwright.monitoring.outcomes import record_outcome
from loopwright.monitoring.watch import kpi, monitoring

MODEL = "digits"


def label_all(stores, served, ids, error):
    for one in ids:
        truth = served.answers[one] if served.rng.random() >= error else "other"
        record_outcome(stores, MODEL, one, truth)


def test_a_tick_with_nothing_served_says_nothing(monitor, watched):
    assert monitor.tick(watched()) == []
    figures = monitor.figures(watched())
    assert (figures.coverage, figures.drift, figures.estimate, figures.system.requests) == ((), (), None, 0)


def test_a_planted_shift_and_rising_loss_are_found_and_quiet_traffic_is_not(stores, served, watched, monitor):
    model = watched()
    for _ in range(3):
        label_all(stores, served, served.predict(500), 0.1)
        assert monitor.tick(model) == []
    label_all(stores, served, served.predict(500, shift=1.0), 0.5)
    found = monitor.tick(model)
    assert {(signal.check, signal.severity) for signal in found} >= {("drift", "ticket"), ("loss", "page")}
    assert not any(signal.check == "drift" and signal.severity == "page" for signal in found)
    assert monitor.tick(model) == []
    figures = monitor.figures(model)
    assert figures.loss is not None
    assert figures.loss.rows == 2000
    assert {incident.check for incident in figures.incidents} == {"drift", "loss"}
    assert figures.coverage[0].labelled == 2000
    assert len(figures.drift) == 4
    assert figures.estimate is not None
    assert figures.system.requests == 2000


def test_a_stage_that_fails_is_a_signal_and_stops_no_other(stores, served, watched, monitor, monkeypatch, clock):
    def broken(self, watched):
        raise ZeroDivisionError("no traffic at all")

    model = watched()
    served.predict(500, shift=2.0)
    with monkeypatch.context() as patch:
        patch.setattr("loopwright.monitoring.outcomes.OutcomeCollector.collect", broken)
        found = monitor.tick(model)
        assert monitor.tick(model) == []
    assert [signal.check for signal in found] == ["monitor:outcomes", "drift"]
    assert "ZeroDivisionError" in found[0].evidence["error"]
    for _ in range(2):
        monitor.tick(model)
    assert [incident.check for incident in monitor.incidents.list(live=True)] == ["drift"]


def test_a_new_champion_ends_the_incidents_of_the_old_one(served, watched, monitor, profile):
    other = dataclasses.replace(profile, version="digits/2")
    both = {profile.version: profile, other.version: other}
    served.predict(500, shift=2.0)
    assert monitor.tick(watched(profiles=both))
    monitor.tick(watched(profiles=both, champion="digits/2"))
    (incident,) = monitor.incidents.list()
    assert incident.resolution == "superseded by digits/2"


def test_business_numbers_are_tied_to_the_champion_and_shown(watched, monitor):
    model = watched(monitoring(drift=None, business=kpi("refunds", at_most=0.02)))
    for _ in range(200):
        monitor.record_kpi(model, "refunds", 1.0)
    assert [signal.check for signal in monitor.tick(model)] == ["kpi:refunds"]
    (number,) = monitor.figures(model).kpis
    assert (number.value, number.broken) == (1.0, "at_most")


def test_incidents_are_told_through_the_channels_of_the_settings(stores, lake, served, watched):
    monitor = Monitor(
        dataclasses.replace(stores, settings=stores.settings.model_copy(update={"alert_urls": ["log://"]})), lake
    )
    served.predict(500, shift=2.0)
    monitor.tick(watched())
    assert monitor.deliver().sent == 1


def test_a_look_with_nothing_new_writes_nothing(stores, served, watched, monitor):
    model = watched()
    label_all(stores, served, served.predict(600), 0.1)
    monitor.tick(model)
    before = stores.facts.change_counter()
    monitor.tick(model)
    assert stores.facts.change_counter() == before


@pytest.mark.parametrize("windows", [6])
def test_hours_of_quiet_traffic_raise_nothing_at_all(stores, served, watched, monitor, clock, windows):
    served.rng = np.random.default_rng(7)  # fixed: one quiet window in a thousand may alarm, by declaration
    model = watched(monitoring(latency_p99="200ms", errors=0.01, drift="hourly"))
    for _ in range(windows):
        label_all(stores, served, served.predict(300, spread=timedelta(minutes=50)), 0.1)
        clock.advance(timedelta(hours=1))
        assert monitor.tick(model) == []

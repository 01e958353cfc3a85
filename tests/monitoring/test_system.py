from __future__ import annotations

from datetime import timedelta

import pytest

from loopwright.monitoring.incident import Incidents
from loopwright.monitoring.signal import Signals
from loopwright.monitoring.system import SystemWatch, system_figures, system_history
from loopwright.monitoring.watch import monitoring

MODEL = "digits"


@pytest.fixture
def system(stores):
    return SystemWatch(stores, Signals(stores), Incidents(stores))


@pytest.fixture
def model(watched):
    return watched(monitoring(latency_p99="200ms", errors=0.01, drift=None))


def test_healthy_traffic_says_nothing_and_is_counted(stores, served, system, model, clock):
    served.predict(1000, latency_us=5_000)
    served.predict(5, status=500)
    served.predict(50, status=400)
    served.predict(100, route="shadow", latency_us=9_000_000)
    assert system.look(model) == []
    figures = system_figures(stores, MODEL)
    assert (figures.requests, figures.errors, figures.latency.rows) == (1055, 5, 1000)
    assert 5 <= figures.latency_ms(0.99) <= 5 * 1.19
    assert figures.error_classes == {"ModelFailedError": 5}


def test_many_errors_page_and_one_incident_ends_when_they_do(stores, served, system, model, clock):
    served.predict(400)
    served.predict(100, status=500)
    (signal,) = system.look(model)
    assert (signal.check, signal.severity, signal.dimension) == ("errors", "page", "system")
    assert signal.evidence["error_classes"] == {"ModelFailedError": 100}
    assert signal.certainty["burn_rate"] == pytest.approx(20.0)
    assert system.look(model) == []
    (incident,) = Incidents(stores).list(live=True)
    for _ in range(17):
        clock.advance(timedelta(minutes=25))
        served.predict(100)
        system.look(model)
    assert Incidents(stores).list(live=True) == []
    assert Incidents(stores).list()[-1].id == incident.id


def test_a_slow_tail_pages(served, system, model):
    served.predict(300)
    served.predict(80, latency_us=400_000)
    (signal,) = system.look(model)
    assert (signal.check, signal.severity) == ("latency", "page")
    assert 400 <= signal.evidence["latency_p99_ms"] <= 400 * 1.19


def test_answers_just_within_the_objective_are_not_slow(served, system, model):
    served.predict(500, latency_us=199_000)
    assert system.look(model) == []


def test_a_few_errors_in_little_traffic_mean_nothing(served, system, model):
    served.predict(9, status=500)
    assert system.look(model) == []


def test_a_wide_budget_still_pages_when_half_of_all_fails(watched, served, system):
    model = watched(monitoring(errors=0.2, drift=None))
    served.predict(100)
    served.predict(150, status=503)
    assert [signal.severity for signal in system.look(model)] == ["page"]


def test_looking_twice_and_compaction_count_once(stores, served, system, model):
    served.predict(10)
    system.look(model)
    system.look(model)
    served.predict(10)
    stores.tables.compact("predictions/digits")
    system.look(model)
    ((_, figures),) = system_history(stores, MODEL)
    assert figures.requests == 20

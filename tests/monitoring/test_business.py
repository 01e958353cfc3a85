from __future__ import annotations

import math

import numpy as np
import pytest

from loopwright.core.errors import DeclarationError
from loopwright.monitoring.business import BusinessWatch, kpi_figures, record_kpi
from loopwright.monitoring.incident import Incidents
from loopwright.monitoring.signal import Signals
from loopwright.monitoring.watch import kpi, monitoring

MODEL = "digits"


@pytest.fixture
def business(stores):
    return BusinessWatch(stores, Signals(stores), Incidents(stores))


def report(stores, name, values, version="digits/1"):
    for value in values:
        record_kpi(stores, MODEL, name, float(value), version=version)


def test_a_rate_above_its_bound_is_seen_once_it_is_sure(stores, watched, business):
    model = watched(monitoring(drift=None, business=kpi("refunds", at_most=0.1)))
    rng = np.random.default_rng(0)
    report(stores, "refunds", rng.random(100) < 0.08)
    assert business.look(model) == []
    report(stores, "refunds", rng.random(300) < 0.4)
    (signal,) = business.look(model)
    assert (signal.check, signal.severity, signal.dimension) == ("kpi:refunds", "ticket", "business")
    assert signal.evidence["low"] > 0.1
    assert business.look(model) == []
    assert [incident.check for incident in Incidents(stores).list(live=True)] == ["kpi:refunds"]


def test_numbers_of_another_version_do_not_count(stores, watched, business):
    declared = kpi("refunds", at_most=0.1)
    report(stores, "refunds", [1] * 100, version="digits/9")
    report(stores, "refunds", [0] * 50)
    assert business.look(watched(monitoring(drift=None, business=declared))) == []
    figures = kpi_figures(stores, MODEL, declared, "digits/1")
    assert figures is not None
    assert (figures.value, figures.rows) == (0.0, 50)


def test_a_mean_is_held_against_both_bounds(stores, watched, business):
    rng = np.random.default_rng(1)
    report(stores, "basket", rng.normal(20, 4, 200))
    fine = watched(monitoring(drift=None, business=kpi("basket", at_least=15, at_most=30)))
    assert business.look(fine) == []
    report(stores, "basket", [20.5])
    low = watched(monitoring(drift=None, business=kpi("basket", at_least=25)))
    (signal,) = business.look(low)
    assert signal.evidence["bound"] == "at_least"


def test_a_plain_number_is_compared_as_it_is(stores, watched, business):
    declared = kpi("weekly_refunds", at_most=0.02, per_event=False)
    model = watched(monitoring(drift=None, business=declared))
    report(stores, "weekly_refunds", [0.01])
    assert business.look(model) == []
    report(stores, "weekly_refunds", [0.03])
    assert [signal.value for signal in business.look(model)] == [0.03]
    report(stores, "weekly_refunds", [0.01])
    business.look(model)
    report(stores, "weekly_refunds", [0.01])
    business.look(model)
    assert Incidents(stores).list(live=True) == []


def test_peeking_at_a_rate_on_its_bound_seldom_alarms(stores):
    rng = np.random.default_rng(2)
    alarms = 0
    declared = kpi("refunds", at_most=0.1, confidence=0.95)
    for stream in range(8):
        name = f"digits{stream}"
        for _ in range(5):
            for value in rng.random(60) < 0.1:
                record_kpi(stores, name, "refunds", float(value))
            figures = kpi_figures(stores, name, declared, None)
            alarms += figures is not None and figures.broken is not None
    assert alarms <= 1


def test_what_is_no_number_is_refused(stores):
    with pytest.raises(DeclarationError, match="finite"):
        record_kpi(stores, MODEL, "refunds", math.nan)

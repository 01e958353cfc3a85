from __future__ import annotations

from loopwright.data.lake import Lake
from loopwright.monitoring.monitor import Monitor
from loopwright.monitoring.outcomes import record_outcome


def label_all(stores, served, ids, error, rng):
    for one in ids:
        truth = served.answers[one] if rng.random() >= error else "other"
        record_outcome(stores, "digits", one, truth)


def test_a_tick_with_nothing_served_says_nothing(stores, watched):
    assert Monitor(stores, Lake(stores)).tick(watched()) == []


def test_a_planted_shift_and_rising_loss_are_found_and_quiet_traffic_is_not(stores, served, watched):
    monitor = Monitor(stores, Lake(stores))
    model = watched()
    for _ in range(3):
        ids = served.predict(500)
        label_all(stores, served, ids, 0.1, served.rng)
        assert monitor.tick(model) == []
    ids = served.predict(500, shift=1.0)
    label_all(stores, served, ids, 0.5, served.rng)
    found = monitor.tick(model)
    assert {(signal.check, signal.severity) for signal in found} >= {("drift", "ticket"), ("loss", "page")}
    assert monitor.tick(model) == []
    figures = monitor.figures(model)
    assert figures.loss is not None
    assert figures.loss.rows == 2000
    assert {incident.check for incident in figures.incidents} == {"drift", "loss"}
    assert figures.coverage[0].labelled == 2000

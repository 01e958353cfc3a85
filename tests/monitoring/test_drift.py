from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from loopwright.monitoring.drift import DriftWatch
from loopwright.monitoring.drift_window import drift_windows, recent_windows
from loopwright.monitoring.incident import Incidents
from loopwright.monitoring.reference import version_id
from loopwright.monitoring.signal import Signals
from loopwright.monitoring.watch import monitoring
from loopwright.serving.log.compactor import predictions_table

MODEL = "digits"


@pytest.fixture
def drift(stores):
    return DriftWatch(stores, Signals(stores), Incidents(stores))


def kept_windows(stores):
    with stores.facts.read() as connection:
        rows = connection.execute(sa.select(drift_windows).order_by(drift_windows.c.number)).all()
    return [(row.number, row.rows, row.state, row.counts) for row in rows]


def test_quiet_traffic_stays_quiet_over_many_windows(stores, served, watched, drift):
    model = watched(monitoring(drift="100 rows"))
    for _ in range(8):
        served.predict(1000)
        assert drift.look(model) == []
    assert len(recent_windows(stores, model.champion, 100)) == 80


@pytest.mark.parametrize(("shift", "rows"), [(0.5, 500), (1.0, 200)])
def test_a_shift_of_one_feature_is_found_in_its_first_whole_window(served, watched, drift, shift, rows):
    model = watched(monitoring(drift=rows))
    served.predict(2 * rows)
    assert drift.look(model) == []
    served.predict(rows, shift=shift)
    (signal,) = drift.look(model)
    (line,) = signal.evidence["features"]
    assert (signal.check, signal.severity, signal.dimension) == ("drift", "ticket", "data")
    assert line["feature"] == "x"
    assert line["psi_corrected"] >= 0.05
    assert line["p"] <= 0.001
    assert sum(line["window_counts"]) == rows
    assert len(line["cells"]) == len(line["reference_counts"]) == len(line["window_counts"])


def test_an_irrelevant_shift_is_never_material(served, watched, drift):
    model = watched(monitoring(drift="4000 rows"))
    served.predict(4000, shift=0.08)
    assert drift.look(model) == []


def test_dependent_rows_are_not_taken_for_drift(stores, served, watched, drift):
    model = watched(monitoring(drift="500 rows"))
    walk = np.zeros(10_000)
    for i in range(1, len(walk)):
        walk[i] = 0.9 * walk[i - 1] + np.sqrt(1 - 0.81) * served.rng.normal()
    alarms = 0
    for start in range(0, len(walk), 1000):
        served.predict(1000, xs=walk[start : start + 1000])
        alarms += len(drift.look(model))
    assert alarms <= 1


def test_counts_do_not_depend_on_how_often_one_looks(stores, served, watched, drift, tmp_path):
    model = watched(monitoring(drift="300 rows"))
    for rows in (7, 250, 100, 600, 3):
        served.predict(rows)
        drift.look(model)
    windows = kept_windows(stores)
    assert [(rows, state) for _, rows, state, _ in windows] == [(300, "closed")] * 3 + [(60, "open")]
    total = sum(np.array(counts["x"]) for *_, counts in windows)
    profile = next(iter(model.profiles.values()))
    table = stores.tables.read(predictions_table(MODEL), columns=["features"])
    bins = next(one.bins for one in profile.features if one.name == "x")
    assert total.tolist() == bins.count([json.loads(text)["x"] for text in table["features"].to_pylist()]).tolist()


def test_looking_twice_counts_once_and_compaction_changes_nothing(stores, served, watched, drift):
    model = watched(monitoring(drift="100 rows"))
    served.predict(150)
    drift.look(model)
    before = kept_windows(stores)
    served.predict(0)
    stores.tables.compact(predictions_table(MODEL))
    assert drift.look(model) == []
    assert kept_windows(stores) == before
    served.predict(10)
    stores.tables.compact(predictions_table(MODEL))
    drift.look(model)
    assert [rows for _, rows, _, _ in kept_windows(stores)] == [100, 60]


def test_a_window_in_time_is_tested_after_its_end_and_counts_late_rows(stores, served, watched, drift, clock):
    model = watched(monitoring(drift="hourly"))
    start = clock.now()
    served.predict(400, shift=1.0)
    assert drift.look(model) == []
    clock.advance(timedelta(hours=1, minutes=1))
    assert drift.look(model) == []
    clock.advance(timedelta(minutes=5))
    (signal,) = drift.look(model)
    assert signal.rows == 400
    served.predict(10, at=start)
    assert drift.look(model) == []
    assert [(rows, state) for _, rows, state, _ in kept_windows(stores)] == [(410, "closed")]


def test_a_window_with_too_few_rows_is_put_on_record_without_a_test(stores, served, watched, drift, clock):
    model = watched(monitoring(drift="hourly"))
    served.predict(20, shift=3.0)
    clock.advance(timedelta(hours=2))
    assert drift.look(model) == []
    (window,) = recent_windows(stores, model.champion)
    assert not window["tested"]


def test_shadow_rows_failures_and_versions_without_a_reference_are_left_out(stores, served, watched, drift):
    model = watched(monitoring(drift="100 rows"))
    served.predict(150, route="shadow", shift=5.0)
    served.predict(150, version=7, shift=5.0)
    served.predict(150, status=500)
    served.predict(50)
    assert drift.look(model) == []
    assert [rows for _, rows, _, _ in kept_windows(stores)] == [50]


def test_a_challengers_windows_are_kept_and_raise_no_signal(stores, served, watched, drift, profile):
    other = dataclasses.replace(profile, version=version_id(MODEL, 2))
    model = watched(monitoring(drift="100 rows"), profiles={profile.version: profile, other.version: other})
    served.predict(100, version=2, shift=2.0, route="canary")
    served.predict(100)
    assert drift.look(model) == []
    assert recent_windows(stores, other.version)[0]["alarm"]


def test_windows_in_a_row_are_counted(served, watched, drift):
    model = watched(monitoring(drift="200 rows"))
    served.predict(600, shift=1.5)
    assert [signal.evidence["windows_in_a_row"] for signal in drift.look(model)] == [1, 2, 3]

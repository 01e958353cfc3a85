"""SIGKILL inside a look, at many places: each label is joined, each loss fed and each row counted exactly once."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.forks import Forks

from loopwright.monitoring.drift_window import drift_windows
from loopwright.monitoring.loss_state import loss_states
from loopwright.monitoring.outcomes import outcomes_table, record_outcome
from loopwright.monitoring.reference import ReferenceProfiles
from loopwright.monitoring.system import system_buckets
from loopwright.monitoring.watch import monitoring

if TYPE_CHECKING:
    from loopwright.core.settings import Settings

MODEL = "digits"

# A monitor that dies at its n-th write: just before it, or just after it (arguments: project, n, "before" or "after").
CHILD = """
import os, signal
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from loopwright.core.clock import ManualClock
from loopwright.core.settings import Settings
from loopwright.core.storage.facts import Facts
from loopwright.core.storage.stores import open_stores
from loopwright.core.storage.tables import TableStore
from loopwright.data.lake import Lake
from loopwright.monitoring.monitor import Monitor
from loopwright.monitoring.reference import load_profiles
from loopwright.monitoring.watch import monitoring
from loopwright.monitoring.watched import WatchedModel

def main(project, left, when):
    append, write = TableStore.append, Facts.write

    def die(moment):
        nonlocal left
        if moment == when:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def dying_append(self, *given, **named):
        die("before")
        version = append(self, *given, **named)
        die("after")
        return version

    @contextmanager
    def dying_write(self):
        with write(self) as connection:
            yield connection
            die("before")
        die("after")

    clock = ManualClock(datetime(2026, 1, 1, 2, tzinfo=UTC))
    stores = open_stores(Settings.load(Path(project), environ={}), clock=clock)
    TableStore.append, Facts.write = dying_append, dying_write
    profiles = load_profiles(stores, "digits")
    watched = WatchedModel("digits", monitoring(drift="100 rows", errors=0.01), "digits/1", profiles)
    Monitor(stores, Lake(stores), channels=[]).tick(watched)
"""


@pytest.fixture(scope="module")
def forks():
    with Forks(CHILD) as running:
        yield running


def facts_of(stores, table, *columns):
    with stores.facts.read() as connection:
        return sorted(map(repr, connection.execute(sa.select(*(table.c[name] for name in columns))).all()))


def test_a_monitor_killed_at_every_write_ends_like_one_that_never_was(
    stores, served, profile, watched, monitor, settings: Settings, forks: Forks
):
    ReferenceProfiles(stores).put(profile)
    ids = served.predict(130)
    answers = dict(served.answers)
    for one in ids[:60]:
        record_outcome(stores, MODEL, one, answers[one])
    killed = 0

    def look(number: int, when: str) -> bool:
        ended = forks.run(settings.project, number, when)
        assert ended in {0, -signal.SIGKILL}
        return ended != 0

    for number, when in ((1, "before"), (2, "before"), (1, "after"), (3, "before")):
        killed += look(number, when)
    ids += served.predict(130)
    answers |= served.answers
    for one in ids[60:250]:
        record_outcome(stores, MODEL, one, answers[one])
    for number, when in ((3, "after"), (2, "before"), (2, "after")):
        killed += look(number, when)
    assert killed >= 6
    model = watched(monitoring(drift="100 rows", errors=0.01))
    monitor.tick(model)
    assert monitor.tick(model) == []

    rows = stores.tables.read(outcomes_table(MODEL)).to_pylist()
    assert sorted((row["prediction_id"], row["revision"]) for row in rows) == sorted((one, 0) for one in ids[:250])
    assert all(json.loads(row["label"]) == answers[row["prediction_id"]] for row in rows)
    with stores.facts.read() as connection:
        assert connection.execute(sa.select(loss_states.c.rows)).scalar() == 250
        assert connection.execute(sa.select(sa.func.sum(drift_windows.c.rows))).scalar() == 260
        assert connection.execute(sa.select(sa.func.sum(system_buckets.c.requests))).scalar() == 260
    counts = facts_of(stores, drift_windows, "number", "counts")
    assert len(counts) == 3

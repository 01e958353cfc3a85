"""SIGKILL inside a look, at many places: each label is joined, each loss fed and each row counted exactly once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.monitoring.drift_window import drift_windows
from loopwright.monitoring.loss_state import loss_states
from loopwright.monitoring.outcomes import outcomes_table, record_outcome
from loopwright.monitoring.reference import ReferenceProfiles
from loopwright.monitoring.system import system_buckets
from loopwright.monitoring.watch import monitoring

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.settings import Settings

MODEL = "digits"

# A monitor that dies at its n-th write: just before it, or just after it (argv: project, n, "before" or "after").
CHILD = """
import os, signal, sys
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

clock = ManualClock(datetime(2026, 1, 1, 2, tzinfo=UTC))
stores = open_stores(Settings.load(Path(sys.argv[1]), environ={}), clock=clock)
left, when = int(sys.argv[2]), sys.argv[3]

def die(moment):
    global left
    if moment == when:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

append, write = TableStore.append, Facts.write

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

TableStore.append, Facts.write = dying_append, dying_write
watched = WatchedModel("digits", monitoring(drift="100 rows", errors=0.01), "digits/1", load_profiles(stores, "digits"))
Monitor(stores, Lake(stores), channels=[]).tick(watched)
"""


def look(project: Path, number: int, when: str) -> int:
    command = [sys.executable, "-c", CHILD, str(project), str(number), when]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode


def facts_of(stores, table, *columns):
    with stores.facts.read() as connection:
        return sorted(map(repr, connection.execute(sa.select(*(table.c[name] for name in columns))).all()))


def test_a_monitor_killed_at_every_write_ends_like_one_that_never_was(
    stores, served, profile, watched, monitor, settings: Settings
):
    ReferenceProfiles(stores).put(profile)
    ids = served.predict(130)
    answers = dict(served.answers)
    for one in ids[:60]:
        record_outcome(stores, MODEL, one, answers[one])
    killed = 0
    for number, when in ((1, "before"), (2, "before"), (1, "after"), (3, "before")):
        killed += look(settings.project, number, when) != 0
    ids += served.predict(130)
    answers |= served.answers
    for one in ids[60:250]:
        record_outcome(stores, MODEL, one, answers[one])
    for number, when in ((3, "after"), (2, "before"), (2, "after")):
        killed += look(settings.project, number, when) != 0
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

"""Rows that arrive reach the online store by themselves, whoever else fills it and whatever is killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import pytest

import loopwright as lw
from loopwright.core.errors import FeatureError
from loopwright.core.settings import Settings
from loopwright.core.storage.events import Event
from loopwright.core.storage.stores import open_stores
from loopwright.data.lake import Lake
from loopwright.features.materialize import newest_online, view_key
from loopwright.features.online import MemoryOnlineStore
from loopwright.features.store import FeatureStore
from loopwright.loop.freshening import Freshening
from loopwright.workspace import Workspace

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONTRACT = (lw.column("id", "int"), lw.column("who", "int"), lw.column("at", "timestamp"))
X = lw.column("x", "float", required=False)


def project(source, arrives_after="2h"):
    loop = lw.Loop("taps")
    taps = loop.dataset("taps", source=source, event_time="at", key="id", contract=[*CONTRACT, X])

    @loop.features(taps, entity="who")
    def last_x(taps):
        before = ibis.window(group_by="who", order_by="at", preceding=5, following=0)
        return taps.select("who", "at", n=taps.id.count().over(before), newest=taps.id)

    @loop.features(taps, entity="who")
    def outcomes(taps):
        before = ibis.window(group_by="who", order_by="at", preceding=5, following=0)
        return taps.select("who", "at", total=taps.x.sum().over(before))

    label = lw.label(taps.x, arrives_after=arrives_after)

    @loop.model("m", label=label, features=[last_x, outcomes], metrics=["mae"], holdout=lw.latest("1d"))
    def model(train, params):
        raise NotImplementedError

    loop.deploy(model, online=lw.online())
    return loop


def row(number, who=1, minutes=0.0, x=1.0):
    return {"id": number, "who": who, "at": (NOON + timedelta(minutes=minutes)).isoformat(), "x": x}


@pytest.fixture
def workspace(stores, clock):
    clock.advance(timedelta(hours=12))
    return Workspace(stores)


def served(workspace, loop, view, who=1):
    (found,) = workspace.features.get_online(loop.views[view], [{"who": who}])
    return found


def push(workspace, loop, *rows):
    report = workspace.data.push(loop.datasets["taps"], list(rows))
    assert report.rows_quarantined == 0, report.reasons


def test_pushed_rows_are_served_and_quiet_looks_do_nothing(workspace, clock, monkeypatch):
    loop = project(lw.push())
    freshening = Freshening(loop, workspace)
    assert freshening.look() == []
    push(workspace, loop, row(1), row(2, who=2))
    clock.advance(1)
    assert {report.rows_written for report in freshening.look()} == {2, 0}
    assert served(workspace, loop, "last_x")["newest"] == 1
    asked = []
    monkeypatch.setattr(type(workspace.aliases), "of_model", lambda *_: asked.append(1) or {})
    freshening.look()  # its own writing moved the counter
    del asked[:]
    assert [freshening.look() for _ in range(5)] == [[]] * 5
    assert asked == []
    monkeypatch.undo()
    push(workspace, loop, row(3, minutes=1))
    clock.advance(60)
    (first, *_) = freshening.look()
    assert (first.how, first.rows_computed) == ("touched", 2)
    assert served(workspace, loop, "last_x") == {"n": 2, "newest": 3}
    assert newest_online(workspace.features.online, view_key(loop.views["last_x"])) == NOON + timedelta(minutes=1)


def test_a_late_label_is_served_when_its_moment_comes_without_any_new_row(workspace, clock):
    loop = project(lw.push())
    freshening = Freshening(loop, workspace)
    push(workspace, loop, row(1, x=5.0))
    clock.advance(1)
    freshening.look()
    assert served(workspace, loop, "outcomes") is None
    clock.advance(timedelta(hours=1, minutes=59))
    freshening.look()
    assert served(workspace, loop, "outcomes") is None
    clock.advance(60)
    assert [report.how for report in freshening.look()] == ["waiting"]
    assert served(workspace, loop, "outcomes") == {"total": 5.0}


def test_a_stream_is_ingested_as_its_records_come(workspace, clock):
    loop = project(lw.events("taps"))
    freshening = Freshening(loop, workspace)
    for number in range(3):
        text = f'{{"id": {number}, "who": 1, "at": "2026-01-01T12:{number:02}:00Z", "x": 1}}'
        workspace.stores.events.append("taps", [Event(None, text.encode())])
        clock.advance(120)
        freshening.look()
        assert served(workspace, loop, "last_x")["newest"] == number


def test_a_view_that_fails_keeps_no_other_waiting_and_is_tried_again(workspace, clock, monkeypatch):
    loop = project(lw.push())
    freshening = Freshening(loop, workspace)
    push(workspace, loop, row(1))
    clock.advance(1)
    fill, is_broken = FeatureStore.materialize, True

    def materialize(store, view, *given, **options):
        if view.name == "last_x" and is_broken:
            raise FeatureError("The disk is on fire.")
        return fill(store, view, *given, **options)

    monkeypatch.setattr(FeatureStore, "materialize", materialize)
    assert [report.view.partition("@")[0] for report in freshening.look()] == ["outcomes"]
    is_broken = False
    assert freshening.look() == []  # not before its pause is over
    clock.advance(1.1)
    assert [report.view.partition("@")[0] for report in freshening.look()] == ["last_x"]
    assert served(workspace, loop, "last_x")["n"] == 1


def test_an_older_snapshot_never_replaces_a_newer_one(workspace, clock):
    loop = project(lw.push())
    view = loop.views["last_x"]
    push(workspace, loop, row(1))
    old = {"taps": workspace.data.snapshot("taps")}
    push(workspace, loop, row(2, minutes=1))
    clock.advance(120)
    Freshening(loop, workspace).look()
    labels = (loop.models["m"].label,)
    report = workspace.features.materialize(view, old, labels=labels)  # a turn that began before
    assert (report.skipped, report.rows_computed) == (True, 0)
    assert served(workspace, loop, "last_x")["newest"] == 2
    assert workspace.features.parity(view, {"taps": workspace.data.snapshot("taps")}, labels=labels).equal


def test_a_thread_and_a_tick_do_not_wait_for_each_other(workspace, clock, monkeypatch):
    loop = project(lw.push())
    push(workspace, loop, row(1))
    clock.advance(1)
    freshening, inside, go = Freshening(loop, workspace), threading.Event(), threading.Event()
    fill = FeatureStore.materialize

    def slow(*given, **options):
        inside.set()
        assert go.wait(30)
        return fill(*given, **options)

    monkeypatch.setattr(FeatureStore, "materialize", slow)
    thread = threading.Thread(target=freshening.look)
    thread.start()
    assert inside.wait(30)
    assert freshening.look() == []
    go.set()
    thread.join()
    assert served(workspace, loop, "last_x")["n"] == 1


CHILD = """
import os, random, signal, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_freshening import project
import loopwright as lw
from loopwright.loop.freshening import Freshening
from loopwright.workspace import Workspace

folder, loop, rng = Path(sys.argv[1]), project(lw.push(), arrives_after="50ms"), random.Random(0)

def start(work):
    ours, theirs = os.pipe()
    if pid := os.fork():
        os.close(theirs)
        assert os.read(ours, 1) == b"x"
        return pid
    workspace = Workspace.open(folder)
    os.write(theirs, b"x")
    work(workspace)
    os._exit(0)

def push(workspace):
    for number in range(60):
        row = {"id": number, "who": number * 7 % 11, "at": f"2026-01-01T00:{number % 17:02}:{number % 53:02}Z"}
        workspace.data.push(loop.datasets["taps"], [{**row, "x": number}])

def fill(workspace):
    Freshening(loop, workspace).keep(threading.Event(), every_s=0.001)

pusher = start(push)
for _ in range(6):
    fillers = [start(fill), start(fill)]  # a turn and a controller, or two controllers
    for filler in fillers:
        threading.Event().wait(rng.uniform(0, 0.3))
        os.kill(filler, signal.SIGKILL)
        os.waitpid(filler, 0)
assert os.waitpid(pusher, 0)[1] == 0
"""


def test_killed_anywhere_the_values_equal_a_full_filling(tmp_path):
    subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)], check=True)
    loop = project(lw.push(), arrives_after="50ms")
    with Workspace.open(tmp_path) as workspace:
        Freshening(loop, workspace).look()
        snapshots, labels = {"taps": workspace.data.snapshot("taps")}, (loop.models["m"].label,)
        assert snapshots["taps"].rows == 60
        with contextlib.closing(open_stores(Settings.load(tmp_path, environ={}))) as stores:
            whole = FeatureStore(stores, Lake(stores), MemoryOnlineStore())
            for view in loop.views.values():
                now = datetime.now(UTC)
                workspace.features.materialize(view, snapshots, labels=labels, until=now)
                whole.materialize(view, snapshots, labels=labels, until=now)
                rows = [{"who": who} for who in range(12)]
                assert workspace.features.get_online(view, rows) == whole.get_online(view, rows)
                assert workspace.features.parity(view, snapshots, labels=labels).equal

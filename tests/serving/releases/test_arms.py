from __future__ import annotations

import itertools
import shutil
import signal
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.forks import Forks

from loopwright.core.clock import ManualClock
from loopwright.core.storage import table_compaction
from loopwright.serving.log.compactor import PredictionTable, predictions_table
from loopwright.serving.log.prediction_record import PredictionRecord, to_table
from loopwright.serving.releases import arms
from loopwright.serving.releases.arms import step_evidence

EXPERIMENT = "release/step"


def release_of(clock: ManualClock, stage: str, model: str = "m") -> SimpleNamespace:
    fixed = {"experiment": EXPERIMENT, "share": 0.5, "step_started_at": clock.now(), "min_step_time_s": lambda: 0.0}
    return SimpleNamespace(stage=stage, model=model, **fixed)


def records(clock, request: int, rows: int, route: str, *, at: int = 0, status: int = 200, unit: int = 0, answer=0.0):
    return [
        PredictionRecord(
            f"p{request}-{place}", f"r{request}", int(clock.now().timestamp() * 1e6) + at * 1_000_000, "m", 1, route,
            EXPERIMENT, 0.5, unit, None, "", answer + place, None, None, 1_000 * (1 + request % 40), rows, status, None,
        )
        for place in range(rows)
    ]  # fmt: skip


def append(stores, rows: list[PredictionRecord], model: str = "m") -> None:
    stores.tables.append(predictions_table(model), to_table(rows))


_models = itertools.count()


requests = st.lists(
    st.tuples(
        st.integers(1, 3),  # rows
        st.booleans(),  # challenger, or mirrored
        st.integers(0, 4_000),  # seconds after the step began
        st.sampled_from([200, 200, 200, 422, 500]),
        st.integers(0, 6),  # unit
        st.booleans(),  # the versions disagree
        st.integers(0, 3),  # commits between the answer and its copy
        st.booleans(),  # the copy comes first
    ),
    max_size=14,
)


@pytest.mark.parametrize("stage", ["canary", "shadow"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=requests, slice_rows=st.integers(1, 20), looks=st.sets(st.integers(0, 20)))
def test_look_by_look_is_what_one_look_at_all_sees(stores, clock, monkeypatch, stage, drawn, slice_rows, looks):
    monkeypatch.setattr(arms, "_SLICE_ROWS", slice_rows)
    monkeypatch.setattr(table_compaction, "_STEPS", ((16_384, 3), (262_144, 3)))
    model, now = f"m{next(_models)}", clock.now()
    release, table = release_of(clock, stage, model), PredictionTable(stores, model)
    commits: dict[int, list[PredictionRecord]] = {}
    expected = {"champion": [0, set(), 0], stage: [0, set(), 0]}
    pairs = disagreements = 0
    for number, (rows, takes, at, status, unit, differs, apart, copy_first) in enumerate(drawn):
        if stage == "canary":
            route = "canary" if takes else "champion"
            commits.setdefault(number, []).extend(records(clock, number, rows, route, at=at, status=status, unit=unit))
            seen = [route]
        else:
            answer, copy = (number + apart, number) if copy_first else (number, number + apart)
            commits.setdefault(answer, []).extend(
                records(clock, number, rows, "champion", at=at, status=200, unit=unit)
            )
            seen = []
            if takes:
                commits.setdefault(copy, []).extend(
                    records(clock, number, rows, "shadow", at=at, status=status, unit=unit, answer=float(differs))
                )
                seen = ["champion", "shadow"]
                pairs += rows * (status == 200)
                disagreements += rows * (status == 200 and differs)
        for route in seen:
            expected[route][0] += 1
            expected[route][1].add(unit)
            expected[route][2] += status >= 500 and not (stage == "shadow" and route == "champion")
    for number in sorted(commits):
        append(stores, commits[number], model)
        stores.tables.tidy(table.table)
        if number in looks:
            step_evidence(release, table, now=now)
    evidence = step_evidence(release, table, now=now)
    for route, arm in (("champion", evidence.champion), (stage, evidence.challenger)):
        seen, units, errors = expected[route]
        assert (arm.requests, arm.units, arm.errors) == (seen, len(units), errors)
        assert arm.latency.rows == arm.requests
    assert (evidence.pairs, evidence.disagreements) == (pairs, disagreements)
    shutil.rmtree(stores.local / "step_counts", ignore_errors=True)
    assert step_evidence(release, table, now=now) == evidence


def test_a_look_reads_what_is_new(stores, clock, monkeypatch):
    release = release_of(clock, "canary")
    for number in range(5):
        append(stores, records(clock, number, 2, "champion"))
    table = PredictionTable(stores, "m")
    step_evidence(release, table, now=clock.now())
    append(stores, records(clock, 9, 2, "canary"))
    monkeypatch.setattr(type(stores.tables), "scan_sql", lambda *_: pytest.fail("it scans the whole table"))
    evidence = step_evidence(release, table, now=clock.now())
    assert (evidence.champion.requests, evidence.challenger.requests) == (5, 1)


def test_two_calls_under_one_id_are_two_requests(stores, clock):
    release = release_of(clock, "canary")
    append(stores, records(clock, 1, 2, "champion") + records(clock, 1, 2, "champion", at=5))
    assert step_evidence(release, PredictionTable(stores, "m"), now=clock.now()).champion.requests == 2


def test_another_step_begins_at_nothing_and_the_old_one_is_forgotten(stores, clock):
    release = release_of(clock, "canary")
    append(stores, records(clock, 1, 1, "champion"))
    step_evidence(release, PredictionTable(stores, "m"), now=clock.now())
    release.experiment = "release/next"
    assert step_evidence(release, PredictionTable(stores, "m"), now=clock.now()).champion.requests == 0
    release.experiment = EXPERIMENT
    assert step_evidence(release, PredictionTable(stores, "m"), now=clock.now()).champion.requests == 1
    assert len([path for path in (stores.local / "step_counts" / "m").iterdir() if path.is_dir()]) == 1


def test_an_erasure_is_followed(stores, clock, tmp_path):
    release = release_of(clock, "canary")
    append(stores, records(clock, 1, 1, "champion") + records(clock, 2, 1, "champion"))
    table = PredictionTable(stores, "m")
    assert step_evidence(release, table, now=clock.now()).champion.requests == 2
    assert table.erase("prediction_id = 'p1-0'", tmp_path / "scratch", lambda _: None) == 1
    assert step_evidence(release, table, now=clock.now()).champion.requests == 1


@pytest.mark.parametrize("damage", ["missing", "torn", "another"])
def test_damaged_counts_are_counted_anew(stores, clock, damage):
    release = release_of(clock, "canary")
    append(stores, records(clock, 1, 1, "champion", unit=4))
    step_evidence(release, PredictionTable(stores, "m"), now=clock.now())
    append(stores, records(clock, 2, 1, "champion", unit=4))
    said = next((stores.local / "step_counts" / "m").glob("*/counts.json"))
    run = next(said.parent.glob("champion/*.run"))
    if damage == "missing":
        run.unlink()
    elif damage == "torn":
        said.write_text(said.read_text()[:40])
    else:
        said.write_text(said.read_text().replace('"mark": "', '"mark": "0'))
    champion = step_evidence(release, PredictionTable(stores, "m"), now=clock.now()).champion
    assert (champion.requests, champion.units) == (2, 1)


_KILLED = """
import os, signal
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from loopwright.core.settings import Settings
from loopwright.core.storage.hash_runs import HashRuns
from loopwright.core.storage.stores import open_stores
from loopwright.serving.releases import step_counts
from loopwright.serving.releases.arms import step_evidence
from loopwright.serving.log.compactor import PredictionTable

def main(folder, left, now):
    def counted(method):
        def replaced(*args, **kwargs):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)
        return replaced
    HashRuns.publish = counted(HashRuns.publish)
    step_counts.json.dumps = counted(step_counts.json.dumps)
    stores = open_stores(Settings.load(Path(folder), environ={}))
    release = SimpleNamespace(stage="canary", experiment="release/step", share=0.5, model="m",
        step_started_at=datetime.fromisoformat(now), min_step_time_s=lambda: 0.0)
    step_evidence(release, PredictionTable(stores, "m"), now=release.step_started_at)
"""


def test_a_kill_between_its_files_counts_nothing_twice(stores, clock, tmp_path):
    release = release_of(clock, "canary")
    append(stores, records(clock, 0, 1, "champion", unit=0) + records(clock, 100, 1, "canary", unit=0))
    step_evidence(release, PredictionTable(stores, "m"), now=clock.now())
    with Forks(_KILLED) as forks:
        for number in range(1, 4):
            append(
                stores, records(clock, number, 1, "champion", unit=number) + records(clock, 100 + number, 1, "canary")
            )
            assert forks.run(str(tmp_path), number, clock.now().isoformat()) == -signal.SIGKILL
            found = step_evidence(release, PredictionTable(stores, "m"), now=clock.now())
            assert (found.champion.requests, found.champion.units) == (1 + number, 1 + number)
            assert (found.challenger.requests, found.challenger.units) == (1 + number, 1)

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from loopwright.training.active import (
    Spool,
    activate,
    log_artifact,
    log_metric,
    log_param,
    read_spool,
    set_progress,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path)
    activate(opened)
    yield opened
    activate(None)


def test_what_is_logged_is_read_back(spool: Spool) -> None:
    log_metric("loss", 0.5, step=2)
    log_param("kind", "b")
    log_artifact(b"bytes", "a/b.bin")
    set_progress(2.0, "done")
    records, offset = read_spool(spool.folder)
    assert [record["kind"] for record in records] == ["metric", "param", "artifact", "progress"]
    assert (records[0]["name"], records[0]["value"], records[0]["step"]) == ("loss", 0.5, 2)
    assert (spool.folder / "artifacts" / records[2]["file"]).read_bytes() == b"bytes"
    assert records[3]["fraction"] == 1.0
    assert read_spool(spool.folder, offset) == ([], offset)


def test_a_file_is_copied_when_it_is_logged(spool: Spool, tmp_path: Path) -> None:
    path = tmp_path / "plot.txt"
    path.write_text("first")
    log_artifact(path)
    path.write_text("second")
    (record,) = read_spool(spool.folder)[0]
    assert (spool.folder / "artifacts" / record["file"]).read_text() == "first"
    assert record["name"] == "plot.txt"


def test_nothing_that_is_logged_wrongly_raises(spool: Spool, tmp_path: Path) -> None:
    log_metric("loss", "high")  # type: ignore[arg-type]
    log_metric("loss", [1.0, 2.0])  # type: ignore[arg-type]
    log_param("object", object())
    log_artifact(tmp_path / "missing.png")
    set_progress("half")  # type: ignore[arg-type]
    records, _ = read_spool(spool.folder)
    assert [record["kind"] for record in records] == ["param"]


def test_a_folder_that_cannot_be_written_never_raises(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "missing")
    activate(spool)
    try:
        log_metric("loss", 1.0)
        log_param("a", 1)
        log_artifact(b"bytes", "x")
        set_progress(0.5)
    finally:
        activate(None)
    assert spool.dropped == 4


def test_outside_of_a_run_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log_metric("loss", 1.0)
    log_param("a", 1)
    log_artifact(b"bytes", "x")
    set_progress(0.5)
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_is_not_finished_waits_and_a_broken_one_is_skipped(spool: Spool) -> None:
    log_metric("a", 1.0)
    path = spool.folder / "spool.jsonl"
    line = json.dumps({"kind": "metric", "name": "b", "value": 2.0, "step": None, "elapsed_s": 1.0})
    with path.open("a") as file:
        file.write("{broken\n" + line[:10])
    records, offset = read_spool(spool.folder)
    assert [record["name"] for record in records] == ["a"]
    with path.open("a") as file:
        file.write(line[10:] + "\n")
    records, _ = read_spool(spool.folder, offset)
    assert [record["name"] for record in records] == ["b"]


def test_threads_do_not_mix_lines(spool: Spool) -> None:
    def log(worker: int) -> None:
        for step in range(200):
            log_metric(f"m{worker}", step, step=step)

    threads = [threading.Thread(target=log, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records, _ = read_spool(spool.folder)
    assert len(records) == 800
    assert len({record["sequence"] for record in records}) == 800


def test_metrics_of_a_trial_are_kept_with_the_trial(spool: Spool) -> None:
    spool.trial = []
    log_metric("loss", 1.0, step=0)
    assert spool.trial == [{"name": "loss", "value": 1.0, "step": 0}]
    assert read_spool(spool.folder)[0] == []

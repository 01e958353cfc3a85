# ruff: noqa: ARG005, PLC0415 - training functions run in a process of their own and print there
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

import loopwright.training.active as lw
from loopwright.core.errors import (
    DeclarationError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    TrainingEmptyError,
    TrainingError,
    TrainingOutOfMemoryError,
    TrainingRaisedError,
    TrainingTimedOutError,
    UnknownNameError,
    UntrustedError,
)
from loopwright.core.ref import Ref
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import Stores, open_stores
from loopwright.features.examples import read_training_set
from loopwright.training.estimators.choice import load_model
from loopwright.training.job import TrainingJob
from loopwright.training.process import Limits
from loopwright.training.recorder import RunProgress
from loopwright.training.run_store import RunStore
from loopwright.training.trainer import Trainer


class Mean:
    """The smallest thing that predicts; it needs no library and starts fast."""

    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, X: object) -> object:
        return [self.value] * len(X)  # type: ignore[arg-type]


def job(function: object, training_set: Any, **more: object) -> TrainingJob:
    return TrainingJob("m", function, training_set, trust=True, **more)  # type: ignore[arg-type]


def logistic(train, params, seed):
    from sklearn.linear_model import LogisticRegression

    print("fitting on", len(train), "rows")
    for step in range(3):
        lw.log_metric("loss", 1.0 / (step + 1), step=step)
    lw.log_param("chosen", {"solver": "lbfgs"})
    lw.log_artifact(b"a picture", "curve.png")
    lw.set_progress(0.5, "half")
    return LogisticRegression(C=params.C, random_state=seed).fit(train.X, train.y)


def test_a_run_is_recorded_from_start_to_end(trainer: Trainer, stores: Stores, training_set: Any) -> None:
    seen: list[RunProgress] = []
    result = trainer.train(
        TrainingJob("m", logistic, training_set, params={"C": 0.5}, seed=3, cause="by hand"), seen.append
    )
    run = RunStore(stores).get(result.run_id)
    assert run.status == "finished"
    assert run.cause == "by hand"
    assert run.params == {"C": 0.5}
    assert run.estimator_params["C"] == 0.5
    assert run.estimator_params["random_state"] == 3
    assert run.logged_params == {"chosen": {"solver": "lbfgs"}}
    assert run.metrics["loss"] == pytest.approx(1 / 3)
    assert run.metrics["train_score"] > 0.9
    assert result.metrics == run.metrics
    store = RunStore(stores)
    assert [(point.step, point.value) for point in store.curve(run.id, "loss")] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert [stores.blobs.get(artifact.digest) for artifact in store.artifacts(run.id)] == [b"a picture"]
    assert store.events(run.id)[0].text == "50% half"
    assert "fitting on 200 rows" in store.log_text(run.id)
    assert run.start.snapshots == {"points": 1}
    assert "LogisticRegression" in run.start.function["source"]
    assert run.start.environment["packages"]["scikit-learn"]
    assert run.model_file == result.model_file
    assert run.model_file is not None
    assert run.model_file.format == "skops"
    assert stores.blobs.exists(run.model_file.digest)
    assert run.seconds is not None
    assert run.peak_memory_bytes is not None
    assert run.peak_memory_bytes > 10_000_000
    assert {edge.source for edge in stores.lineage.ancestors(run.ref)} >= {training_set.ref}
    kinds = {progress.kind for progress in seen}
    assert kinds >= {"log", "metric", "progress", "event"}
    model = load_model(result.model_file, result.model_path)
    train = read_training_set(training_set.path, training_set.feature_fields, training_set.label_field)
    assert (model.predict(train.X) == train.y).mean() > 0.9  # type: ignore[attr-defined]
    assert Ref("run", run.id) in {edge.target for edge in stores.lineage.descendants(training_set.ref)}


def unfitted(train, params, seed):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=5, **params)


def test_the_same_seed_gives_the_same_model_and_an_unfitted_estimator_is_fitted(
    trainer: Trainer, training_set: Any
) -> None:
    first = trainer.train(TrainingJob("m", unfitted, training_set, params={"max_depth": 3}, seed=7))
    second = trainer.train(TrainingJob("m", unfitted, training_set, params={"max_depth": 3}, seed=7))
    assert first.model_file.digest == second.model_file.digest


def raises(train):
    rows = len(train)
    return rows / 0


def test_a_function_that_raises_is_named_with_its_line(trainer: Trainer, stores: Stores, training_set: Any) -> None:
    with pytest.raises(TrainingRaisedError) as caught:
        trainer.train(job(raises, training_set))
    line = raises.__code__.co_firstlineno + 2
    assert f"raises raised ZeroDivisionError: division by zero ({__file__}:{line})" in str(caught.value)
    (run,) = RunStore(stores).list()
    assert run.status == "failed"
    assert run.error == str(caught.value)
    log = RunStore(stores).log_text(run.id)
    assert "return rows / 0" in log
    assert "fitting.py" not in log


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda train: None, "returned nothing"),
        (lambda train: {"model": 1}, "returned a dict, which has no predict"),
        (lambda train: Mean, "returned the class Mean"),
    ],
)
def test_what_does_not_predict_is_refused(function: object, words: str, trainer: Trainer, training_set: Any) -> None:
    with pytest.raises(TrainingEmptyError, match=words):
        trainer.train(job(function, training_set))


@pytest.mark.parametrize(
    "function", [lambda: 1, lambda train, other: 1, lambda *train: 1, 3, lambda train, seed=1, x=2: 1]
)
def test_a_function_with_other_arguments_is_refused(
    function: object, trainer: Trainer, stores: Stores, training_set: Any
) -> None:
    with pytest.raises(DeclarationError):
        trainer.train(job(function, training_set))
    assert RunStore(stores).list() == []


def test_a_pickle_needs_trust(trainer: Trainer, training_set: Any) -> None:
    with pytest.raises(UntrustedError, match="trust_pickle=True"):
        trainer.train(TrainingJob("m", lambda train: Mean(1.0), training_set))  # type: ignore[arg-type]


def test_what_cannot_be_saved_is_said(trainer: Trainer, training_set: Any) -> None:
    def with_lock(train):
        import threading

        model = Mean(1.0)
        model.lock = threading.Lock()
        return model

    with pytest.raises(TrainingError, match="cannot be saved, not even as a pickle"):
        trainer.train(job(with_lock, training_set))


def test_memory_is_bounded(trainer: Trainer, stores: Stores, training_set: Any) -> None:
    def hungry(train):
        import numpy as np

        kept = []
        while True:
            kept.append(np.ones(5_000_000))

    with pytest.raises(TrainingOutOfMemoryError, match=r"used \d+ [MG]B of memory; its bound is 300 MB"):
        trainer.train(job(hungry, training_set, limits=Limits(memory_bytes=300_000_000)))
    assert RunStore(stores).list()[0].status == "failed"


def test_an_impossible_allocation_is_out_of_memory(trainer: Trainer, training_set: Any) -> None:
    def greedy(train):
        import numpy as np

        return np.ones(10**14)

    with pytest.raises(TrainingOutOfMemoryError, match="greedy asked for more memory than there is"):
        trainer.train(job(greedy, training_set))


def test_time_is_bounded(trainer: Trainer, stores: Stores, training_set: Any) -> None:
    def endless(train):
        while True:
            pass

    with pytest.raises(TrainingTimedOutError, match="its bound is 200ms"):
        trainer.train(job(endless, training_set, limits=Limits(seconds=0.2)))
    assert RunStore(stores).list()[0].status == "failed"


def test_a_run_is_stopped_on_request_with_all_its_children(trainer: Trainer, stores: Stores, training_set: Any) -> None:
    def endless(train):
        import subprocess
        import sys

        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        print(child.pid, flush=True)
        child.wait()

    children = []

    def stop_it(progress: RunProgress) -> None:
        children.append(int(progress.text))
        trainer.stop(progress.run_id)

    with pytest.raises(TrainingError, match="stopped on request"):
        trainer.train(job(endless, training_set), stop_it)
    assert RunStore(stores).list()[0].status == "stopped"
    assert [is_running(child) for child in children] == [False]
    with pytest.raises(UnknownNameError):
        trainer.stop("nothing")


def test_a_killed_child_is_one_clear_error(trainer: Trainer, stores: Stores, training_set: Any) -> None:
    def killed(train):
        import os
        import signal

        print("nearly done", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"killed by SIGKILL.*Its last words: nearly done"):
        trainer.train(job(killed, training_set))
    assert RunStore(stores).list()[0].status == "failed"


def test_a_caller_that_cannot_show_progress_changes_nothing(
    trainer: Trainer, training_set: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(progress: RunProgress) -> None:
        raise ValueError("no terminal")

    result = trainer.train(job(lambda train: Mean(1.0), training_set), broken)
    assert result.status == "finished"
    assert "not shown any more" in caplog.text


def test_a_store_that_is_away_does_not_stop_the_run(
    trainer: Trainer, stores: Stores, training_set: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise StoreBusyError("The metadata store is away.")

    def function(train):
        import loopwright.training.active as active

        active.log_metric("loss", 0.5)
        return Mean(1.0)

    with monkeypatch.context() as patch:
        patch.setattr(stores.facts, "write", away)
        result = trainer.train(job(function, training_set, params={"a": 1}))
    assert not result.is_recorded
    store = RunStore(stores)
    assert store.list() == []
    assert store.sync_pending() == [result.run_id]
    assert store.sync_pending() == []
    run = store.get(result.run_id)
    assert (run.status, run.metrics, run.params) == ("finished", {"loss": 0.5}, {"a": 1})
    assert run.model_file == result.model_file


def test_a_full_disk_after_the_training_fails_the_run_and_keeps_the_model(
    trainer: Trainer, stores: Stores, training_set: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file = stores.blobs.put_file

    def full(path: Path) -> str:
        if path.name == "model.pickle":
            raise StoreFullError("The disk is full.")
        return put_file(path)

    monkeypatch.setattr(stores.blobs, "put_file", full)
    with pytest.raises(StoreFullError):
        trainer.train(job(lambda train: Mean(1.0), training_set))
    (run,) = RunStore(stores).list(status="failed")
    assert run.error == "the model was trained and not stored: The disk is full."
    assert (stores.local / "runs" / run.id / "model" / "model.pickle").exists()


def test_a_run_folder_that_cannot_be_made_is_one_clear_error(
    trainer: Trainer, stores: Stores, training_set: Any
) -> None:
    (stores.local / "runs").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        trainer.train(job(lambda train: Mean(1.0), training_set))


PARENT = """
import sys
from pathlib import Path
from typing import Any
sys.path.insert(0, sys.argv[2])
from conftest import write_training_set
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.training.job import TrainingJob
from loopwright.training.trainer import Trainer

def endless(train):
    import os, signal
    import loopwright.training.active as active
    active.log_metric("pid", os.getpid())
    signal.pause()

project = Path(sys.argv[1])
stores = open_stores(Settings.load(project, environ={}))
show = lambda progress: print(int(progress.value), flush=True) if progress.kind == "metric" else None
Trainer(stores).train(TrainingJob("m", endless, write_training_set(project / "t.arrow")), show)
"""


def test_a_killed_parent_takes_the_run_with_it_and_the_run_is_lost(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    stores = open_stores(Settings.load(tmp_path, environ={}))
    assert RunStore(stores).mark_lost() == []
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert not is_running(child)
    store = RunStore(stores)
    (run_id,) = store.mark_lost()
    assert store.get(run_id).status == "lost"
    assert store.sync_pending() == [run_id]
    assert store.get(run_id).metrics == {"pid": child}
    assert store.get(run_id).status == "lost"
    stores.close()


def is_running(process_id: int) -> bool:
    """Say whether a process runs, giving one that was just killed a moment to go."""
    try:
        process = psutil.Process(process_id)
        process.wait(timeout=5)
    except psutil.NoSuchProcess:
        return False
    except psutil.TimeoutExpired:
        return process.status() != psutil.STATUS_ZOMBIE
    return False

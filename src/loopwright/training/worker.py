"""The process of one run: ``python -m loopwright.training.worker <folder>``.

Reads the job from the folder, calls the user's function, leaves the model file, the spool and ``result.json`` there. It
opens no store, and imports little before the user's function does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle

from loopwright.core.errors import LoopwrightError, TrainingRaisedError
from loopwright.features.examples import read_training_set
from loopwright.features.field import Field
from loopwright.training.active import Spool, activate, log_metric, set_progress
from loopwright.training.environment import imported_versions
from loopwright.training.estimators.choice import save_model
from loopwright.training.fitting import fit
from loopwright.training.introspection import estimator_params, learning_curves, train_score
from loopwright.training.run_folder import RunFolder, read_json, write_json
from loopwright.training.search import Search, SearchObjective
from loopwright.training.study import Study

if TYPE_CHECKING:
    from collections.abc import Mapping

PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>


def main(arguments: list[str]) -> int:
    """Run the job in the folder named on the command line; 0 when a model was saved, 1 when there is a clear reason."""
    folder = RunFolder(Path(arguments[0]))
    job = read_json(folder.job)
    if job is None:
        print(f"no job in {folder.path}", file=sys.stderr)  # noqa: T201 - the log of a process without a job
        return 2
    die_with_parent()
    bound_address_space(job["memory_bytes"])
    try:
        report = run_job(folder, job)
    except LoopwrightError as error:
        report = {"status": "failed", "kind": type(error).__name__, "message": error.message, "hint": error.hint}
    except MemoryError:
        traceback.print_exc()
        text = "there was no memory left to save or describe the model."
        report = {"status": "failed", "kind": "TrainingOutOfMemoryError", "message": text}
    except BaseException as error:  # noqa: BLE001 - whatever happened, the parent gets a reason
        traceback.print_exc()
        text = f"{type(error).__name__}: {error}"
        report = {"status": "failed", "kind": "TrainingError", "message": f"the training process failed: {text}"}
    report["peak_memory_bytes"] = peak_memory_bytes()
    sys.stdout.flush()
    sys.stderr.flush()
    write_json(folder.result, report)
    return 0 if report["status"] == "finished" else 1


def run_job(folder: RunFolder, job: Mapping[str, Any]) -> dict[str, Any]:
    """Fit, save and report; raises a `LoopwrightError` with the reason otherwise."""
    spool = Spool(folder.path)
    activate(spool)
    started = time.monotonic()
    sys.path[:0] = [entry for entry in job["first_path"] if entry not in sys.path]
    sys.path.extend(entry for entry in job["path"] if entry not in sys.path)
    function = _unpickle(folder.function)
    extras = tuple(job["extras"])
    fields = [Field.from_json(field) for field in job["fields"]]
    train = read_training_set(Path(job["training_set"]), fields, Field.from_json(job["label"]))
    loaded = time.monotonic()

    params, seed = dict(job["params"]), int(job["seed"])
    if job["search"] is not None:
        search = Search.from_json(job["search"])
        name, is_greater_better = job["objective"]
        objective = SearchObjective(name, is_greater_better, _unpickle(folder.objective))
        study = Study(search, objective, function, extras, params, seed, Path(job["journal"]))
        params, best = study.run(train, spool)
        log_metric(f"search.best.{objective.name}", best)
        set_progress(search.trials / (search.trials + 1), "fitting the best parameters on the whole training part")
    searched = time.monotonic()
    model = fit(function, extras, train, params, seed)
    fitted = time.monotonic()

    folder.model.mkdir(exist_ok=True)
    model_file = save_model(model, folder.model, trust=bool(job["trust"]))
    saved = time.monotonic()
    for name, points in learning_curves(model):
        for step, value in enumerate(points):
            log_metric(name, value, step=step)
    score = train_score(model, train)
    if score is not None:
        log_metric("train_score", score)
    set_progress(1.0, "done")
    return {
        "status": "finished",
        "model_file": model_file.to_json(),
        "params": params,
        "estimator_params": estimator_params(model),
        "imported": imported_versions(),
        "dropped_records": spool.dropped,
        "seconds": {
            "load": loaded - started,
            "search": searched - loaded,
            "fit": fitted - searched,
            "save": saved - fitted,
            "describe": time.monotonic() - saved,
        },
    }


def die_with_parent() -> None:
    """Make sure that this process and its children end when the process that started it does.

    The kernel's signal (Linux) is certain but reaches this process only; the end of standard input is seen by a thread
    that kills the whole group.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    watched = os.dup(0)  # the user's code gets an empty standard input of its own
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_watch, args=(watched,), name="parent-watch", daemon=True).start()


def bound_address_space(memory_bytes: int | None) -> None:
    """Set the far backstop behind the parent's watch of memory: four times the bound and 4 GiB of addresses."""
    if memory_bytes is None:
        return
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - absent on some platforms

        wanted = 4 * memory_bytes + 4 * 2**30
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


def peak_memory_bytes() -> int:
    """Return the largest resident memory of this process so far, 0 where the system does not say."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _unpickle(path: Path) -> Any:  # noqa: ANN401 - whatever the user's project made
    try:
        return cloudpickle.loads(path.read_bytes())
    except Exception as error:
        traceback.print_exc()
        raise TrainingRaisedError(
            f"the training function cannot be loaded in its own process: {type(error).__name__}: {error}.",
            hint="Modules that it imports must be installed or lie in the project's folder.",
        ) from error


def _watch(parent_pipe: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(parent_pipe, 1024):
            pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Train: one job in, one recorded run out, the user's function in a process of its own."""

from __future__ import annotations

import errno
import logging
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import DeclarationError, StoreError, StoreFullError, UnknownNameError
from loopwright.core.ref import Ref
from loopwright.training.code import PreparedCode, pickle_function, prepare_code
from loopwright.training.environment import capture_environment
from loopwright.training.estimators.model_file import ModelFile
from loopwright.training.failure import failure_of
from loopwright.training.job import RunResult, TrainingJob
from loopwright.training.params import Params
from loopwright.training.process import run_in_process
from loopwright.training.recorder import RunRecorder
from loopwright.training.run import RunStart
from loopwright.training.run_folder import RUNS_NAME, RunFolder, read_json, write_json
from loopwright.training.run_store import is_away

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.training.recorder import RunProgress

SEARCHES_NAME = "searches"
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_logger = logging.getLogger(__name__)


class Trainer:
    """Run training jobs, each in its own process, recorded from start to end."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def train(self, job: TrainingJob, on_progress: Callable[[RunProgress], None] | None = None) -> RunResult:
        """Train a model and record the run.

        A search that was interrupted (killed, or stopped) goes on where it was when the same job comes again.

        Args:
            job: What to do.
            on_progress: Called with what happens while it happens; if it raises it is not called again.

        Raises:
            DeclarationError: The function or the search cannot be used as declared.
            TrainingRaisedError: The function raised.
            TrainingEmptyError: It returned nothing that predicts.
            TrainingOutOfMemoryError: It went over its memory bound.
            TrainingTimedOutError: It went over its time bound.
            TrainingError: Its process was stopped or killed, or the model cannot be saved.
            UntrustedError: Only a pickle could hold the model, and the job does not trust it.
            StoreError: The code could not be kept before, or the model after the training.
        """
        code = self._prepared(job)
        params = Params(job.params).to_json()
        folder = RunFolder(self._stores.local / RUNS_NAME / self._stores.ids.new())
        journal = self._stores.local / SEARCHES_NAME / f"{job.search_digest(code.function['digest'])}.jsonl"
        recorder = RunRecorder(self._stores, folder, on_progress)
        try:
            folder.path.mkdir(parents=True)
            self._write_job(job, code, params, folder, journal)
            recorder.start(_start_of(job, code), params)
        except OSError as error:
            raise _explained(error, folder) from error
        try:
            outcome = run_in_process(
                ["-P", "-m", "loopwright.training.worker", str(folder.path)],
                folder.path,
                limits=job.limits,
                environment=_variables(job),
                on_tick=recorder.tick,
            )
        except BaseException:
            recorder.finish("stopped", seconds=0.0, error="the process that watched the run was interrupted")
            raise
        report = read_json(folder.result) or {}
        peak = max(outcome.peak_memory_bytes, int(report.get("peak_memory_bytes", 0)))
        if outcome.ending != "exited" or report.get("status") != "finished":
            failure = failure_of(job.model, job.limits, folder, outcome, report, peak)
            recorder.finish(
                "stopped" if outcome.ending == "stopped" else "failed",
                seconds=outcome.seconds,
                peak_memory_bytes=peak,
                error=str(failure),
            )
            raise failure
        model_file = ModelFile.from_json(report["model_file"])
        model_path = folder.model / model_file.file_name
        try:
            self._stores.blobs.put_file(model_path)
        except Exception as error:
            why = f"the model was trained and not stored: {error}"
            recorder.finish("failed", seconds=outcome.seconds, peak_memory_bytes=peak, error=why)
            raise
        recorder.finish("finished", seconds=outcome.seconds, peak_memory_bytes=peak, report=report)
        self._link(job, code, folder.run_id)
        journal.unlink(missing_ok=True)
        return RunResult(
            run_id=folder.run_id,
            status="finished",
            model_file=model_file,
            model_path=model_path,
            params=report["params"],
            metrics=recorder.metrics,
            seconds=outcome.seconds,
            peak_memory_bytes=peak,
            log_path=folder.log,
            is_recorded=not recorder.is_store_away,
        )

    def stop(self, run_id: str) -> None:
        """Ask a run on this machine to stop; its process is killed within a tenth of a second.

        Raises:
            UnknownNameError: No run on this machine has this id.
        """
        folder = RunFolder(self._stores.local / RUNS_NAME / run_id)
        if not folder.path.is_dir():
            known = (path.name for path in (self._stores.local / RUNS_NAME).glob("*"))
            raise UnknownNameError("run on this machine", run_id, known)
        folder.stop.touch()

    def _prepared(self, job: TrainingJob) -> PreparedCode:
        if job.search is not None and job.objective is None:
            raise DeclarationError(
                f"the search of model {job.model!r} has no objective.", hint="Name a metric: metrics=['mae']."
            )
        if isinstance(job.function, PreparedCode):
            return job.function
        return prepare_code(self._stores, job.function, job.project_files)

    def _write_job(
        self, job: TrainingJob, code: PreparedCode, params: Mapping[str, Any], folder: RunFolder, journal: Path
    ) -> None:
        journal.parent.mkdir(parents=True, exist_ok=True)
        folder.function.write_bytes(code.pickled)
        if job.objective is not None:
            folder.objective.write_bytes(pickle_function(job.objective.function))
        record = {
            "extras": list(code.extras),
            "params": params,
            "seed": job.seed,
            "search": None if job.search is None else job.search.to_json(),
            "objective": None if job.objective is None else [job.objective.name, job.objective.greater_is_better],
            "journal": str(journal),
            "trust": job.trust,
            "memory_bytes": job.limits.memory_bytes,
            "training_set": str(job.training_set.train_path(self._stores)),
            "fields": [field.to_json() for field in job.training_set.feature_fields],
            "label": job.training_set.label_field.to_json(),
            "first_path": [str(code.project)],
            "path": [entry for entry in sys.path if entry],
        }
        write_json(folder.job, record)

    def _link(self, job: TrainingJob, code: PreparedCode, run_id: str) -> None:
        run = Ref("run", run_id)
        try:
            archive = Ref("code", str(code.code["archive"]))
            self._stores.lineage.link_many([(job.training_set.ref, run, "trained on"), (archive, run, "ran")])
        except Exception as error:
            if not is_away(error):
                raise
            _logger.warning("the lineage of run %s was not recorded: %s", run_id, error)


def _explained(error: OSError, folder: RunFolder) -> StoreError:
    """Return what to tell a person whose disk does not take a run's folder."""
    if error.errno == errno.ENOSPC:
        return StoreFullError(
            f"the disk under {folder.path.parent} is full.", hint="Free space and run the same command again."
        )
    return StoreError(
        f"the run's folder {folder.path} cannot be written: {error.strerror}.", hint="Check its permissions."
    )


def _start_of(job: TrainingJob, code: PreparedCode) -> RunStart:
    return RunStart(
        model=job.model,
        cause=job.cause,
        seed=job.seed,
        training_set=job.training_set.digest,
        snapshots=dict(job.training_set.snapshots),
        function=code.function,
        code=code.code,
        environment=capture_environment(threads=job.limits.threads),
        search=None if job.search is None else job.search.to_json(),
        limits=asdict(job.limits),
    )


def _variables(job: TrainingJob) -> dict[str, str]:
    """Return the variables that must stand before the interpreter and the numeric libraries start."""
    variables = {"PYTHONHASHSEED": str(job.seed % 2**32), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    if job.limits.threads is not None:
        variables.update(dict.fromkeys(_THREAD_VARIABLES, str(job.limits.threads)))
    return variables

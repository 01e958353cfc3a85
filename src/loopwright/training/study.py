"""Run a declared search inside a run's process: trials on an inner validation split, journaled, resumable, seeded.

Every finished trial is one line in a journal on this machine. A search that was killed goes on from there: the sampler
of trial *n* is seeded by the run's seed and *n*, and sees the finished trials only, so an interrupted search tries the
same parameter sets as one that was left alone.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from loopwright.core.errors import TrainingRaisedError
from loopwright.training.active import set_progress
from loopwright.training.fitting import fit
from loopwright.training.search import Choice, Integer, Uniform, ValidationOutputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import optuna
    from numpy.typing import NDArray

    from loopwright.features.examples import TrainingSet
    from loopwright.training.active import Spool
    from loopwright.training.search import Distribution, Search, SearchObjective


class _Predictor(Protocol):
    def predict(self, X: object) -> NDArray[np.generic]: ...  # noqa: N803 - scikit-learn's name
    def predict_proba(self, X: object) -> NDArray[np.float64]: ...  # noqa: N803


@dataclass(frozen=True)
class Study:
    """A search on one training set.

    Attributes:
        search: The declaration.
        objective: What is improved.
        function: The training function.
        extras: Which of ``params`` and ``seed`` it takes.
        params: Fixed parameter values, below the searched ones.
        seed: The run's seed.
        journal: The file of finished trials; what is in it is not tried again.
    """

    search: Search
    objective: SearchObjective
    function: Callable[..., object]
    extras: tuple[str, ...]
    params: Mapping[str, Any]
    seed: int
    journal: Path

    def run(self, train: TrainingSet, spool: Spool) -> tuple[dict[str, Any], float]:
        """Try parameter sets until the budget is spent; returns the best one and its value.

        Raises:
            TrainingRaisedError: Every trial failed; the message is the last one's.
        """
        import optuna  # noqa: PLC0415 - needed by searches only

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        started = time.monotonic()
        fit_part, validation = inner_split(train, self.search.validation, self.seed)
        study = optuna.create_study(direction="maximize" if self.objective.greater_is_better else "minimize")
        distributions = {name: _distribution(entry) for name, entry in self.search.space}
        done = read_journal(self.journal)[: self.search.trials]
        for trial in done:
            study.add_trial(_frozen(trial, distributions))
            spool.write("trial", **trial)
        if done:
            spool.write("event", text=f"{len(done)} trials taken over from an interrupted search")
        last_error: TrainingRaisedError | None = None
        for number in range(len(done), self.search.trials):
            if self.search.timeout_s is not None and number and time.monotonic() - started > self.search.timeout_s:
                spool.write("event", text=f"the search ended after {number} trials: its time was up")
                break
            study.sampler = self._sampler(number)
            asked = study.ask(distributions)
            trial, error = self._try(number, asked.params, fit_part, validation, spool)
            last_error = error or last_error
            failed = optuna.trial.TrialState.FAIL if trial["value"] is None else None
            study.tell(asked, trial["value"], state=failed)
            append_journal(self.journal, trial)
            spool.write("trial", **trial)
            if trial["value"] is not None:
                spool.write("metric", name=f"search.{self.objective.name}", value=trial["value"], step=number)
            set_progress((number + 1) / (self.search.trials + 1), f"trial {number + 1} of {self.search.trials}")
        finished = [trial for trial in read_journal(self.journal) if trial["status"] == "finished"]
        if not finished:
            raise last_error or TrainingRaisedError(
                f"none of {self.search.trials} trials gave a finite {self.objective.name}.",
                hint="Look at the trials' values in the run's log, and narrow the search space.",
            )
        sign = -1 if self.objective.greater_is_better else 1
        best = min(finished, key=lambda trial: (sign * trial["value"], trial["number"]))
        return {**self.params, **best["params"]}, float(best["value"])

    def _try(
        self, number: int, chosen: dict[str, Any], fit_part: TrainingSet, validation: TrainingSet, spool: Spool
    ) -> tuple[dict[str, Any], TrainingRaisedError | None]:
        started = time.monotonic()
        curves: list[dict[str, Any]] = []
        spool.trial = curves
        value: float | None = None
        failure: TrainingRaisedError | None = None
        try:
            model = fit(self.function, self.extras, fit_part, {**self.params, **chosen}, self.seed)
            value = float(self.objective.function(validation.y, outputs_of(model, validation.X)))
        except TrainingRaisedError as error:
            failure = error
        finally:
            spool.trial = None
        is_good = value is not None and math.isfinite(value)
        trial = {
            "number": number,
            "params": chosen,
            "value": value if is_good else None,
            "status": "finished" if is_good else "failed",
            "seconds": round(time.monotonic() - started, 6),
            "curves": curves,
        }
        return trial, failure

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        import optuna  # noqa: PLC0415 - needed by searches only

        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        if self.search.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed)


def inner_split(train: TrainingSet, share: float, seed: int) -> tuple[TrainingSet, TrainingSet]:
    """Divide a training part into what trials are fitted on and what they are scored on.

    By time, the latest rows last, where examples have different event times; at random, seeded, otherwise.
    """
    times = train.event_times
    known = times[~np.isnat(times)] if times.dtype.kind == "M" else times[:0]
    if len(known) == len(train) and len(np.unique(known)) > 1:
        place = min(len(train) - 1, round(len(train) * (1 - share)))
        cut = max(np.sort(known)[place], np.unique(known)[1])  # examples of one moment stay together
        return train.take(np.flatnonzero(times < cut)), train.take(np.flatnonzero(times >= cut))
    return train.split(share, seed)


def outputs_of(model: object, features: object) -> ValidationOutputs:
    """Ask a model for everything it can say about some rows."""
    predictor = cast("_Predictor", model)
    values = np.asarray(predictor.predict(features))
    classes = getattr(model, "classes_", None)
    if classes is None:
        return ValidationOutputs("regression", values)
    probabilities = predictor.predict_proba(features) if hasattr(model, "predict_proba") else None
    kind = "binary" if len(classes) == 2 else "multiclass"
    return ValidationOutputs(cast("Any", kind), values, probabilities, tuple(np.asarray(classes).tolist()))


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read the finished trials; a line broken by a kill, and what follows it, is left out."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    trials = []
    for line in lines[:-1]:
        try:
            trial = json.loads(line)
        except ValueError:
            break
        trials.append(trial)
    return trials


def append_journal(path: Path, trial: Mapping[str, Any]) -> None:
    """Add a finished trial; it is on disk when this returns. A broken last line is cut off first."""
    whole = b"".join(json.dumps(entry).encode() + b"\n" for entry in read_journal(path))
    if path.exists() and path.stat().st_size != len(whole):
        path.write_bytes(whole)
    with path.open("ab") as file:
        file.write(json.dumps(trial).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _distribution(entry: Distribution) -> optuna.distributions.BaseDistribution:
    import optuna  # noqa: PLC0415 - needed by searches only

    match entry:
        case Uniform(low, high, log):
            return optuna.distributions.FloatDistribution(low, high, log=log)
        case Integer(low, high, log):
            return optuna.distributions.IntDistribution(low, high, log=log)
        case Choice(options):
            return optuna.distributions.CategoricalDistribution(options)


def _frozen(
    trial: Mapping[str, Any], distributions: dict[str, optuna.distributions.BaseDistribution]
) -> optuna.trial.FrozenTrial:
    import optuna  # noqa: PLC0415 - needed by searches only

    is_good = trial["status"] == "finished"
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if is_good else optuna.trial.TrialState.FAIL,
        params=trial["params"],
        distributions=distributions,
        value=trial["value"] if is_good else None,
    )

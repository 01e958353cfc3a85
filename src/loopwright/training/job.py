"""What a trainer is given and gives back: the job and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopwright.core.hashing import digest_function, digest_json
from loopwright.core.ref import Ref
from loopwright.training.process import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from loopwright.features.training_set import TrainingSetRecord
    from loopwright.training.code import PreparedCode
    from loopwright.training.estimators.model_file import ModelFile
    from loopwright.training.run import RunStatus
    from loopwright.training.search import Search, SearchObjective


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, on what, how.

    Attributes:
        model: The model's name.
        function: The user's training function, or the code of an earlier run.
        training_set: The built training set; only its training part is handed over.
        params: Fixed parameter values.
        search: The declared search; needs ``objective``.
        objective: What the search improves.
        seed: The seed for everything random.
        limits: The bounds.
        trust: The model's declaration allows a pickle where no safe format fits.
        cause: Why it is trained.
        project_files: The files that make up the code; by default the Python files under the project.
    """

    model: str
    function: Callable[..., object] | PreparedCode
    training_set: TrainingSetRecord
    params: Mapping[str, Any] = field(default_factory=dict)
    search: Search | None = None
    objective: SearchObjective | None = None
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    trust: bool = False
    cause: str = ""
    project_files: Sequence[Path] | None = None

    def search_digest(self, function_digest: str) -> str:
        """Name the search of this job: the same job, asked for again, goes on with the same journal."""
        objective = None
        if self.objective is not None:
            objective = [
                self.objective.name,
                self.objective.greater_is_better,
                digest_function(self.objective.function),
            ]
        search = None if self.search is None else {**self.search.to_json(), "timeout_s": None}
        parts = [self.model, function_digest, dict(self.params), search, objective, self.seed, self.training_set.digest]
        return digest_json(parts)


@dataclass(frozen=True)
class RunResult:
    """What came of a run that finished; a run that ends otherwise raises.

    Attributes:
        run_id: The run's id.
        status: Always ``finished``.
        model_file: The saved model; its bytes are in the blob store under its digest.
        model_path: The same file in the run's folder on this machine.
        params: The parameter values that the final model was fitted with.
        metrics: The last value of each metric that the run logged.
        seconds: From start to end.
        peak_memory_bytes: The largest memory of the run's process.
        log_path: What the run printed.
        is_recorded: False when the metadata store was away; `RunStore.sync_pending` records the run later.
    """

    run_id: str
    status: RunStatus
    model_file: ModelFile
    model_path: Path
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    seconds: float
    peak_memory_bytes: int
    log_path: Path
    is_recorded: bool = True

    @property
    def ref(self) -> Ref:
        """The run's name in the lineage."""
        return Ref("run", self.run_id)

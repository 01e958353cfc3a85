"""Run a recorded run again: its code, its training set, its parameters, its seed; and say what is not the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import TrainingError
from loopwright.training.code import restore_code
from loopwright.training.environment import capture_environment, differences
from loopwright.training.estimators.choice import PICKLED
from loopwright.training.job import RunResult, TrainingJob
from loopwright.training.process import Limits
from loopwright.training.run_store import RunStore
from loopwright.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.core.storage.stores import Stores
    from loopwright.features.training_set import TrainingSetRecord
    from loopwright.training.recorder import RunProgress

REBUILT_NAME = "rebuilt"


@dataclass(frozen=True)
class Reproduction:
    """A run that repeated another one.

    Attributes:
        original_id: The run that was repeated.
        result: The new run.
        differences: What differs in the environment and can change a model's numbers; empty when nothing does.
        is_same_file: The new model file is the old one, byte for byte.
    """

    original_id: str
    result: RunResult
    differences: tuple[str, ...]
    is_same_file: bool


def reproduce(
    stores: Stores,
    run_id: str,
    training_set: TrainingSetRecord,
    on_progress: Callable[[RunProgress], None] | None = None,
    *,
    trust: bool = False,
) -> Reproduction:
    """Run a recorded run again.

    A search is not repeated: its best parameters are on record, and the final fit is what made the model.

    Args:
        stores: The project's stores.
        run_id: The run, or the beginning of its id.
        training_set: The run's training set, built again from its snapshots.
        on_progress: As for `Trainer.train`.
        trust: The model's declaration allows a pickle. A run that made one with this trust is repeated with it.

    Raises:
        UnknownNameError: There is no such run.
        TrainingError: The run did not end in a model, or the training set is not the recorded one.
        StoreCorruptError: The recorded code is damaged.
    """
    run = RunStore(stores).get(run_id)
    if run.model_file is None:
        raise TrainingError(
            f"run {run.id} is {run.status} and has no model to reproduce.", hint="Choose a run that finished."
        )
    if training_set.digest != run.start.training_set:
        raise TrainingError(
            f"run {run.id} was trained on the training set {run.start.training_set[:12]}…, not on "
            f"{training_set.digest[:12]}….",
            hint="Build it from the snapshots that the run recorded, as known at the same moment.",
        )
    job = TrainingJob(
        model=run.model,
        function=restore_code(stores, run, stores.local / REBUILT_NAME / run.id),
        training_set=training_set,
        params=run.params,
        seed=run.seed,
        limits=Limits(**run.start.limits),
        trust=trust or run.model_file.format == PICKLED.name,
        cause=f"reproduces {run.id}",
    )
    result = Trainer(stores).train(job, on_progress)
    present = capture_environment(threads=job.limits.threads)
    return Reproduction(
        original_id=run.id,
        result=result,
        differences=differences(run.start.environment, present),
        is_same_file=result.model_file.digest == run.model_file.digest,
    )

"""Make a version again from its record, and say whether it answers the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import FailedError
from loopwright.features.training_set import find_record
from loopwright.registry.golden import rows_of
from loopwright.registry.native import NativeModel
from loopwright.training.estimators.choice import load_model
from loopwright.training.reproduce import reproduce

if TYPE_CHECKING:
    from loopwright.registry.version import ModelVersion
    from loopwright.workspace import Workspace


ROUNDING = 1e-12


@dataclass(frozen=True)
class RebuildReport:
    """How a rebuilt version compares with the registered one.

    Attributes:
        version: The version.
        run_id: The run that made it again.
        same_file: The model file is the same, byte for byte.
        equal_predictions: The golden rows are answered the same: equal classes, numbers equal but for the last bits
            (:data:`ROUNDING`, relative), which depend on the order in which threads add.
        largest_difference: The largest difference of a number or probability on the golden rows.
        rows: How many golden rows were compared.
        environment_differences: What differs between the recorded environment and this one.
        text: The outcome in words.
    """

    version: str
    run_id: str
    same_file: bool
    equal_predictions: bool
    largest_difference: float
    rows: int
    environment_differences: tuple[str, ...]
    text: str


def rebuild(workspace: Workspace, version: ModelVersion) -> RebuildReport:
    """Train a version again from its recorded code, training set, parameters and seed, and compare the answers.

    Raises:
        FailedError: If its training set is gone.
        TrainingError: If the training does not end in a model.
    """
    stores = workspace.stores
    record = find_record(stores, version.training_set.id)
    if record is None:
        raise FailedError(f"The training set of {version.id} is not on record.", hint="It was removed by gc.")
    made = reproduce(stores, version.run_id, record, trust=version.model_file.format == "pickled")
    file = made.result.model_file
    again = NativeModel(
        load_model(file, made.result.model_path, trusted=file.trusted_types),  # type: ignore[arg-type]
        version.signature.inputs,
    )
    golden = workspace.registry.load(version).golden()
    ours = again.predict(rows_of(golden.table, version.signature.inputs))
    theirs = golden.outputs
    difference = 0.0
    if ours.probabilities is not None and theirs.probabilities is not None:
        difference = float(np.abs(ours.probabilities - theirs.probabilities).max())
    elif theirs.kind == "regression":
        difference = float(np.abs(ours.values.astype(float) - theirs.values.astype(float)).max())
    largest = float(np.abs(theirs.values.astype(float)).max()) if theirs.kind == "regression" else 1.0
    same_labels = theirs.kind == "regression" or bool(np.array_equal(ours.values, theirs.values))
    equal = same_labels and difference <= ROUNDING * max(largest, 1.0)
    words = "the same predictions" if equal else f"predictions differ by up to {difference:.3g}"
    files = "the same file" if made.is_same_file else "another file"
    return RebuildReport(
        version=version.id,
        run_id=made.result.run_id,
        same_file=made.is_same_file,
        equal_predictions=equal,
        largest_difference=difference,
        rows=len(golden),
        environment_differences=made.differences,
        text=f"{words} on {len(golden)} golden rows, {files}",
    )

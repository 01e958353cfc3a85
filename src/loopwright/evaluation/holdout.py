"""The sealed holdout: labelled rows that training never saw, opened here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import DeclarationError, SourceError
from loopwright.core.hashing import digest_file
from loopwright.features.examples import read_training_set

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from loopwright.features.columns import ModelInput
    from loopwright.features.examples import TrainingSet
    from loopwright.features.field import Field


@dataclass(frozen=True, eq=False)
class Holdout:
    """Hold the rows that models are judged on.

    Attributes:
        digest: Names these rows; the ledger counts what was asked of them.
        examples: Features, true values, keys and event times.
    """

    digest: str
    examples: TrainingSet

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def X(self) -> ModelInput:  # noqa: N802 - scikit-learn's name
        """Give the features as the model got them in training."""
        return self.examples.X

    @property
    def y(self) -> NDArray[np.generic]:
        """Give the true values, shape (n,)."""
        return np.asarray(self.examples.y)

    def column(self, name: str) -> NDArray[np.generic]:
        """Give a stored column by name, shape (n,), to slice or cluster by.

        Raises:
            DeclarationError: When there is none, or when it holds arrays.
        """
        table = self.examples.table
        if name not in table.column_names:
            known = [known for known in table.column_names if not known.startswith("__")]
            raise DeclarationError(
                f"The holdout has no column '{name}' to slice by.", hint=f"Its columns are {', '.join(known)}."
            )
        values = table.column(name).to_pylist()
        if any(isinstance(value, list | dict) for value in values[:1]):
            raise DeclarationError(
                f"The column '{name}' holds arrays and has no slices.", hint="Slice by a column of one value per row."
            )
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array


def open_holdout(path: Path, fields: Sequence[Field], label: Field, *, digest: str | None = None) -> Holdout:
    """Open the holdout of a training set.

    Args:
        path: Arrow IPC file with one column per field, `__label__`, `__key__` and `__event_time__`.
        fields: The features, in the order in which the model gets them.
        label: The target.
        digest: Name of the rows; by default the digest of the file.

    Raises:
        SourceError: When the file is missing.
        DeclarationError: When it has no rows: nothing can be judged then.
    """
    if not path.is_file():
        raise SourceError(
            f"The sealed holdout {path.name} is missing.", hint="Build the training set again: loopwright run."
        )
    examples = read_training_set(path, fields, label)
    if len(examples) == 0:
        raise DeclarationError(
            "The holdout has no rows, so no model can be judged on it.",
            hint="Widen the holdout (lw.latest, lw.fraction or lw.entities), or wait for labels to arrive.",
        )
    return Holdout(digest or digest_file(path), examples)

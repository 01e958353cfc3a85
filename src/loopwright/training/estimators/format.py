"""The port every model format implements: whether it can save an estimator, how, and how to load it back.

Adapters live beside this file, one per library. They import their library only inside their methods, so that looking
for a format costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from loopwright.training.estimators.model_file import ModelFile


class EstimatorFormat(Protocol):
    """A way to write an estimator to one file and read it back.

    True after `save` returns: the file is complete in ``folder``, its digest is in the record, and loading it in a
    fresh process with ``trusted=record.trusted_types`` gives an estimator with equal predictions.
    """

    name: str

    def can_save(self, model: object) -> bool:
        """Say whether this format is made for the model's class, without importing a library for it."""
        ...

    def save(self, model: object, folder: Path) -> ModelFile:
        """Write the model into the folder.

        Raises:
            UnsavableError: The model holds something that this format cannot keep.
        """
        ...

    def load(self, path: Path, record: ModelFile, trusted: Collection[str]) -> object:
        """Read a model back from a file whose digest has been checked against its record.

        Raises:
            UntrustedError: The file needs something that is neither safe nor in ``trusted``.
        """
        ...

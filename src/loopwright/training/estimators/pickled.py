"""Any Python object as a cloudpickle, for models that the user vouches for by name.

Loading a pickle runs whatever code is in it. So this format is used only for a model declared with
``trust_pickle=True``, and loading asks for the word ``pickle`` on the trust list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cloudpickle

from loopwright.core.errors import UntrustedError
from loopwright.core.hashing import digest_bytes
from loopwright.training.estimators.model_file import PICKLE_TRUST, ModelFile, class_name
from loopwright.training.estimators.sklearn_skops import UnsavableError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


class PickledFormat:
    """Save anything that cloudpickle can, by explicit trust only."""

    name = "pickled"

    def can_save(self, model: object) -> bool:
        """Say whether the model has a ``predict``."""
        return hasattr(model, "predict")

    def save(self, model: object, folder: Path) -> ModelFile:
        """Write ``model.pickle``; the record asks for the trust that loading it needs.

        Raises:
            UnsavableError: cloudpickle refused it (an open file, a lock, a socket in the model).
        """
        try:
            data = cloudpickle.dumps(model, protocol=5)
        except Exception as error:
            raise UnsavableError(
                f"{class_name(model)} cannot be saved, not even as a pickle: {type(error).__name__}: {error}.",
                hint="Remove open files, locks, threads and connections from the model before returning it.",
            ) from error
        path = folder / "model.pickle"
        path.write_bytes(data)
        return ModelFile(self.name, path.name, digest_bytes(data), len(data), class_name(model), (PICKLE_TRUST,))

    def load(self, path: Path, record: ModelFile, trusted: Collection[str]) -> object:  # noqa: ARG002
        """Unpickle the model.

        Raises:
            UntrustedError: ``pickle`` is not in ``trusted``.
        """
        if PICKLE_TRUST not in trusted:
            raise UntrustedError(
                f"{path.name} is a pickle, and loading a pickle runs the code inside it.",
                hint=f"If you know where it comes from, load it with trust=[{PICKLE_TRUST!r}].",
            )
        model: object = cloudpickle.loads(path.read_bytes())
        return model

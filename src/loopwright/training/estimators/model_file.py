"""The record of one saved model: what it is, in which format, with which digest, and what loading it requires.

Written by the run, kept by the registry, checked before every load.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PICKLE_TRUST = "pickle"
"""The word that has to be trusted by name before a pickled model is loaded."""


@dataclass(frozen=True)
class ModelFile:
    """Describe one saved model file.

    Attributes:
        format: Name of the format that wrote it: ``skops``, ``xgboost``, ``lightgbm``, ``torch`` or ``pickled``.
        file_name: Name of the file inside its folder.
        digest: SHA-256 of the file, hexadecimal; also its address in the blob store.
        size_bytes: Size of the file.
        estimator_class: Full name of the estimator's class.
        trusted_types: What the writer of the file vouched for beyond the types that are always safe. Loading the file
            needs each of them on the caller's trust list; a workspace that wrote the file itself passes them back.
    """

    format: str
    file_name: str
    digest: str
    size_bytes: int
    estimator_class: str
    trusted_types: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return {**asdict(self), "trusted_types": list(self.trusted_types)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ModelFile:
        """Read the record back from what `to_json` wrote."""
        return cls(**{**record, "trusted_types": tuple(record.get("trusted_types", ()))})


def class_name(model: object) -> str:
    """Return the full name of a model's class.

    >>> class_name(3)
    'builtins.int'
    """
    kind = type(model)
    return f"{kind.__module__}.{kind.__qualname__}"

"""A candidate: all that a finished run hands over to become a model version."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from loopwright.core.ref import Ref
    from loopwright.features.field import Field
    from loopwright.training.estimators.model_file import ModelFile

MODEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,119}")


@dataclass(frozen=True)
class Candidate:
    """Hold what a version is made of.

    Attributes:
        model: Name of the model.
        run_id: The run that trained it; a model gets one version per run.
        model_file: The record of the file that the run wrote.
        model_path: Where the file lies on this machine, or the folder that holds it under its own name.
        fields: The features, in the order of training.
        assembly: The request-time half of the features, as `assembly_to_bytes` wrote it.
        definition: The definition of that training set, as `definition_to_bytes` wrote it; None where it is not known.
        training_set: What the run was trained on, such as ``training_set:<digest>``.
        training_rows: Training rows, one column per field; up to 256 of them become the golden rows.
        metrics: What training measured.
        parameters: The parameters of the run.
        description: What the model is for.
        notes: What a person says about this version.

    Raises:
        DeclarationError: When the name cannot be used in ``name/version``.
    """

    model: str
    run_id: str
    model_file: ModelFile
    model_path: Path
    fields: tuple[Field, ...]
    assembly: bytes
    training_set: Ref
    training_rows: pa.Table
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    description: str = ""
    notes: str = ""
    definition: bytes | None = None

    def __post_init__(self) -> None:
        if not MODEL_NAME.fullmatch(self.model):
            raise DeclarationError(
                f"the model name {self.model!r} cannot be used: letters, digits, '_', '.' and '-', a letter first, "
                "120 characters at most"
            )

"""A registered model: one immutable version of a named model, and the table that holds it.

A version is a record; the bytes it names (the model file, the compiled graph, the feature assembly, the golden rows)
lie among the blobs under their digests.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.core.ref import Ref
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.registry.compiled import CompiledForm
from loopwright.registry.form_choice import FormChoice
from loopwright.registry.library_form import LibraryForm
from loopwright.registry.signature import Signature
from loopwright.training.estimators.model_file import ModelFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

model_versions = sa.Table(
    "model_versions",
    metadata,
    sa.Column("model", sa.String(120), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("archived_at", UtcDateTime),
    sa.Column("record", sa.JSON, nullable=False),
    sa.UniqueConstraint("model", "run_id", name="uq_model_versions_model_run_id"),
)


@dataclass(frozen=True)
class ModelVersion:
    """Describe one registered version.

    Attributes:
        model: Name of the model.
        version: 1, 2, 3 … within the model; never used twice.
        run_id: The run that trained it.
        created_at: When it was registered.
        signature: What it takes and answers.
        model_file: The native form.
        golden_digest: The golden rows and the answers the native form gave to them.
        assembly_digest: The request-time half of its features.
        definition_digest: The definition of its training set; None for versions made before it was kept.
        training_set: What it was trained on.
        compiled: The compiled form that passed the parity gate, if one did.
        not_compiled_because: Why there is no compiled form.
        library: The library form that passed the parity gate, if one did.
        choice: Which form answers how many rows, as measured; None for versions made before it was kept.
        metrics: What training measured; the sealed holdout's figures are evaluation's.
        parameters: The parameters of the run.
        description: What the model is for.
        notes: What a person wrote about this version.
        archived_at: When it was put away; it stays readable.
    """

    model: str
    version: int
    run_id: str
    created_at: datetime
    signature: Signature
    model_file: ModelFile
    golden_digest: str
    assembly_digest: str
    training_set: Ref
    compiled: CompiledForm | None = None
    not_compiled_because: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    description: str = ""
    notes: str = ""
    archived_at: datetime | None = None
    definition_digest: str | None = None
    library: LibraryForm | None = None
    choice: FormChoice | None = None

    @property
    def id(self) -> str:
        """Give the version's name, such as ``eta/3``."""
        return f"{self.model}/{self.version}"

    @property
    def ref(self) -> Ref:
        """Name the version in the lineage."""
        return Ref("model", self.id)

    @property
    def formats(self) -> tuple[str, ...]:
        """Name the forms this version can be loaded in, the preferred one first."""
        return ("onnx", self.model_file.format) if self.compiled else (self.model_file.format,)

    @property
    def digests(self) -> tuple[str, ...]:
        """Name every blob this version needs."""
        needed = [self.model_file.digest, self.golden_digest, self.assembly_digest]
        if self.compiled is not None:
            needed.append(self.compiled.digest)
        if self.definition_digest is not None:
            needed.append(self.definition_digest)
        return tuple(needed)

    @property
    def code_digests(self) -> tuple[str, ...]:
        """Name the blobs that hold code: they are loaded only when this workspace, or a person, vouches for them.

        A feature assembly and a definition of features are always code. A model file is, when loading it needs more
        than the types that are always safe: a pickle, or a class from elsewhere.
        """
        code = [self.assembly_digest]
        if self.definition_digest is not None:
            code.append(self.definition_digest)
        if self.model_file.trusted_types:
            code.append(self.model_file.digest)
        return tuple(code)

    def to_json(self) -> dict[str, Any]:
        """Give the version as plain JSON values."""
        return {
            "id": self.id,
            "model": self.model,
            "version": self.version,
            "run_id": self.run_id,
            "created_at": self.created_at.isoformat(),
            "archived_at": None if self.archived_at is None else self.archived_at.isoformat(),
            "formats": list(self.formats),
            **self.record(),
        }

    def record(self) -> dict[str, Any]:
        """Give what the table keeps as JSON: all that is not a column of its own."""
        return {
            "signature": self.signature.to_json(),
            "model_file": self.model_file.to_json(),
            "golden_digest": self.golden_digest,
            "training_set": str(self.training_set),
            "assembly_digest": self.assembly_digest,
            "definition_digest": self.definition_digest,
            "compiled": None if self.compiled is None else asdict(self.compiled),
            "not_compiled_because": self.not_compiled_because,
            "library": None if self.library is None else self.library.to_json(),
            "choice": None if self.choice is None else self.choice.to_json(),
            "metrics": dict(self.metrics),
            "parameters": dict(self.parameters),
            "description": self.description,
            "notes": self.notes,
        }

    @classmethod
    def from_record(
        cls,
        record: Mapping[str, Any],
        *,
        model: str,
        version: int,
        run_id: str,
        created_at: datetime,
        archived_at: datetime | None = None,
    ) -> ModelVersion:
        """Put a version together from what `record` gave and the columns beside it."""
        compiled, library, choice = record["compiled"], record.get("library"), record.get("choice")
        return cls(
            model=model,
            version=version,
            run_id=run_id,
            created_at=created_at,
            archived_at=archived_at,
            signature=Signature.from_json(record["signature"]),
            model_file=ModelFile.from_json(record["model_file"]),
            golden_digest=record["golden_digest"],
            training_set=Ref.parse(record["training_set"]),
            assembly_digest=record["assembly_digest"],
            definition_digest=record.get("definition_digest"),
            compiled=None if compiled is None else CompiledForm.from_json(compiled),
            not_compiled_because=record["not_compiled_because"],
            library=None if library is None else LibraryForm.from_json(library),
            choice=None if choice is None else FormChoice.from_json(choice),
            metrics=record["metrics"],
            parameters=record["parameters"],
            description=record["description"],
            notes=record["notes"],
        )


def version_of_row(row: sa.Row[Any]) -> ModelVersion:
    """Read a row of the table."""
    return ModelVersion.from_record(
        row.record,
        model=row.model,
        version=row.version,
        run_id=row.run_id,
        created_at=row.created_at,
        archived_at=row.archived_at,
    )

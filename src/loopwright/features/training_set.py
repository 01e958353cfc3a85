"""A training set: what it is to be made of (the specification) and what was made (the record).

A record is a fact: it names the snapshots, the fields, the split, the rules of availability and the two files by
content. The training file never holds a row of the holdout; the holdout file is opened by evaluation only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.core.ref import Ref
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.features.field import Field
from loopwright.features.request import RequestField

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores

training_sets = sa.Table(
    "training_sets",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("rows_train", sa.BigInteger, nullable=False),
    sa.Column("rows_holdout", sa.BigInteger, nullable=False),
    sa.Column("record", sa.JSON, nullable=False),
    sa.Index("ix_training_sets_name", "name", "created_at"),
)


@dataclass(frozen=True)
class TrainingSetRecord:
    """What was made.

    Attributes:
        digest: The content key: definition, snapshots and the label's maturity.
        name: The model it is for.
        created_at: When it was made.
        rows_train: Examples to learn from.
        rows_holdout: Sealed examples.
        feature_fields: The model's input, in order.
        label_field: The target.
        inputs: What a request row must have.
        known_columns: Further columns of the dataset, which a request row may have.
        snapshots: By dataset, the version that was read.
        views: By view, its version.
        split: The holdout's rule in words.
        known_at: By dataset, what says when a row was known: ``arrival_time`` or ``event_time``.
        warnings: What a reader should know.
        train_digest: Content digest of the training file.
        holdout_digest: Content digest of the holdout file.
        first_event: The oldest example's moment.
        last_event: The newest example's moment.
        as_of: The moment up to which labels counted as known.
    """

    digest: str
    name: str
    created_at: datetime
    rows_train: int
    rows_holdout: int
    feature_fields: tuple[Field, ...]
    label_field: Field
    inputs: tuple[RequestField, ...]
    known_columns: tuple[str, ...]
    snapshots: dict[str, int]
    views: dict[str, str]
    split: str
    known_at: dict[str, str]
    warnings: tuple[str, ...]
    train_digest: str
    holdout_digest: str
    first_event: datetime
    last_event: datetime
    as_of: datetime

    @property
    def ref(self) -> Ref:
        """The training set's name in the lineage."""
        return Ref("training_set", self.digest)

    @property
    def snapshot_refs(self) -> tuple[Ref, ...]:
        """The snapshots it was made of."""
        return tuple(Ref("snapshot", f"{name}@{version}") for name, version in sorted(self.snapshots.items()))

    def train_path(self, stores: Stores) -> Path:
        """Return the training file (Arrow IPC) on this machine, fetched from the store if it is not here yet."""
        return _local_file(stores, self.digest, "train.arrow", self.train_digest)

    def holdout_path(self, stores: Stores) -> Path:
        """Return the sealed holdout file (Arrow IPC). Only evaluation calls this, with a ledger of its reads."""
        return _local_file(stores, self.digest, "holdout.arrow", self.holdout_digest)

    def to_json(self) -> dict[str, object]:
        """Return the record as plain JSON values."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            **{name: getattr(self, name).isoformat() for name in _TIMES},
            "feature_fields": [field.to_json() for field in self.feature_fields],
            "label_field": self.label_field.to_json(),
            "inputs": [item.to_json() for item in self.inputs],
            "known_columns": list(self.known_columns),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TrainingSetRecord:
        """Read a record as ``to_json`` wrote it."""
        plain: dict[str, Any] = {name: value[name] for name in _PLAIN}
        plain |= {name: datetime.fromisoformat(value[name]) for name in _TIMES}
        return cls(
            **plain,
            feature_fields=tuple(Field.from_json(item) for item in value["feature_fields"]),
            label_field=Field.from_json(value["label_field"]),
            inputs=tuple(RequestField.from_json(item) for item in value["inputs"]),
            known_columns=tuple(value["known_columns"]),
            warnings=tuple(value["warnings"]),
        )


_TIMES = ("created_at", "first_event", "last_event", "as_of")
_PLAIN = (
    "digest",
    "name",
    "rows_train",
    "rows_holdout",
    "snapshots",
    "views",
    "split",
    "known_at",
    "train_digest",
    "holdout_digest",
)


def find_record(stores: Stores, digest: str) -> TrainingSetRecord | None:
    """Return the record of a training set, or None where it was never made."""
    with stores.facts.read() as connection:
        row = connection.execute(sa.select(training_sets.c.record).where(training_sets.c.digest == digest)).first()
    return None if row is None else TrainingSetRecord.from_json(row.record)


def list_records(stores: Stores, name: str | None = None) -> list[TrainingSetRecord]:
    """Return the records, newest first, of one model or of all."""
    query = sa.select(training_sets.c.record).order_by(training_sets.c.created_at.desc(), training_sets.c.digest)
    if name is not None:
        query = query.where(training_sets.c.name == name)
    with stores.facts.read() as connection:
        return [TrainingSetRecord.from_json(row.record) for row in connection.execute(query)]


def folder_of(stores: Stores, digest: str) -> Path:
    """Return the folder on this machine for a training set's files."""
    return stores.local / "training_sets" / digest


def _local_file(stores: Stores, digest: str, name: str, content: str) -> Path:
    path = folder_of(stores, digest) / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        stores.blobs.fetch(content, path)
    return path

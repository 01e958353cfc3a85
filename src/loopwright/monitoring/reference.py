"""What live traffic is compared with: bins and counts frozen at training, and the loss on the sealed holdout.

One `ReferenceProfile` belongs to one model version and never changes. Inputs are frozen on the training rows, answers
and losses on the holdout, where the model has not seen the rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from loopwright.core.errors import DeclarationError
from loopwright.core.statistics.binning import (
    Bins,
    NumericBins,
    bins_from_json,
    freeze_category,
    freeze_numeric,
)
from loopwright.core.statistics.drift import effective_rows
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.evaluation.loss import ReferenceLoss, row_losses
from loopwright.features.field import Field
from loopwright.monitoring.estimate import Calibration, calibrate
from loopwright.monitoring.served import is_category, training_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from loopwright.core.storage.stores import Stores
    from loopwright.evaluation.outputs import OutputKind, Outputs

OUTPUT: Final = "__output__"
CONFIDENCE: Final = "__confidence__"
_BINS: Final = 10  # deciles: the layout that the two-stage rule's rates were measured on
_SERIES_ROWS: Final = 4096

reference_profiles = sa.Table(
    "reference_profiles",
    metadata,
    sa.Column("version", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("blob", sa.String(64), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)


def version_id(model: str, number: int) -> str:
    """Name a version as everywhere: ``eta/3``."""
    return f"{model}/{number}"


def count_cells(bins: Bins, values: pa.Array) -> NDArray[np.int64]:
    """Count a column on frozen bins, shape (cells,); null is missing. Counts of disjoint parts add up exactly."""
    if isinstance(bins, NumericBins):
        return bins.count(values.to_numpy(zero_copy_only=False))
    position = {name: cell for cell, name in enumerate(bins.categories)}
    counts = np.zeros(len(bins.cells), dtype=np.int64)
    tally = pc.value_counts(values.cast(pa.string()))
    for name, rows in zip(tally.field("values").to_pylist(), tally.field("counts").to_pylist(), strict=True):
        counts[len(bins.categories) + 1 if name is None else position.get(name, len(bins.categories))] += rows
    return counts


def series_of(bins: Bins, values: pa.Array) -> NDArray[np.float32]:
    """Give the series whose autocorrelation counts: the numbers, or 0 and 1 for a class being the most frequent one."""
    if isinstance(bins, NumericBins):
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float32)
    common = bins.categories[0] if bins.categories else ""
    return np.asarray(pc.fill_null(pc.equal(values.cast(pa.string()), common), False)).astype(np.float32)  # noqa: FBT003


def independent_share(series: ArrayLike) -> float:
    """Estimate how many independent rows one row of a series in time order is worth, in (0, 1].

    The median over the quarters of the series: dependence between neighbours is in all of them, a sudden change, which
    must not hide behind the dependence that it feigns, in one.
    """
    values = np.asarray(series, dtype=np.float64)
    quarters = [part for part in np.array_split(values, 4) if len(part) >= 20] or [values]
    shares = [effective_rows(part) / len(part) for part in quarters if len(part)]
    return float(np.median(shares)) if shares else 1.0


@dataclass(frozen=True)
class FeatureReference:
    """One watched column: its bins, its counts, and how much its rows depend on each other."""

    name: str
    bins: Bins
    counts: tuple[int, ...]
    share: float = 1.0

    @property
    def effective_counts(self) -> NDArray[np.float64]:
        """The counts, as of so many independent rows."""
        return np.asarray(self.counts, dtype=np.float64) * self.share

    def to_json(self) -> dict[str, object]:
        """Write it as plain JSON values."""
        return {"name": self.name, "bins": self.bins.to_json(), "counts": list(self.counts), "share": self.share}

    @classmethod
    def from_json(cls, data: dict[str, object]) -> FeatureReference:
        """Read what `to_json` wrote."""
        counts = tuple(int(count) for count in cast("list[int]", data["counts"]))
        return cls(
            str(data["name"]),
            bins_from_json(cast("dict[str, object]", data["bins"])),
            counts,
            float(str(data["share"])),
        )


@dataclass(frozen=True)
class ReferenceProfile:
    """The reference of one model version.

    Attributes:
        model: The model's name.
        version: The version's id, such as ``"eta/3"``.
        kind: What the model predicts.
        fields: The model's inputs.
        features: One entry per watched input column.
        outputs: The distribution of the answers, and of a classifier's confidence, on the holdout.
        loss: The loss on the holdout.
        calibration: How a classifier's confidence relates to being right, for the label-free estimate; None where it
            gives none.
        rows: Training rows.
    """

    model: str
    version: str
    kind: OutputKind
    fields: tuple[Field, ...]
    features: tuple[FeatureReference, ...]
    outputs: tuple[FeatureReference, ...]
    loss: ReferenceLoss
    calibration: Calibration | None
    rows: int

    @property
    def watched(self) -> tuple[FeatureReference, ...]:
        """Everything that drift is tested on: inputs and outputs."""
        return (*self.features, *self.outputs)

    def to_json(self) -> dict[str, object]:
        """Write the profile as plain JSON values; `from_json` gives an equal one."""
        return {
            "model": self.model,
            "version": self.version,
            "kind": self.kind,
            "fields": [field.to_json() for field in self.fields],
            "features": [feature.to_json() for feature in self.features],
            "outputs": [output.to_json() for output in self.outputs],
            "loss": self.loss.to_json(),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "rows": self.rows,
        }

    @classmethod
    def from_json(cls, data: dict[str, object]) -> ReferenceProfile:
        """Read what `to_json` wrote."""
        listed = {name: cast("list[dict[str, object]]", data[name]) for name in ("fields", "features", "outputs")}
        calibration = cast("dict[str, list[float]] | None", data["calibration"])
        return cls(
            str(data["model"]),
            str(data["version"]),
            cast("OutputKind", data["kind"]),
            tuple(Field.from_json(one) for one in listed["fields"]),
            tuple(FeatureReference.from_json(one) for one in listed["features"]),
            tuple(FeatureReference.from_json(one) for one in listed["outputs"]),
            ReferenceLoss.from_json(cast("dict[str, object]", data["loss"])),
            None if calibration is None else Calibration.from_json(calibration),
            int(str(data["rows"])),
        )


def output_columns(kind: OutputKind, values: pa.Array, confidence: pa.Array | None) -> dict[str, pa.Array]:
    """Lay out answers as the watched output columns: the number or the class, and a classifier's confidence."""
    columns = {OUTPUT: values.cast(pa.float64()) if kind == "regression" else values.cast(pa.string())}
    return columns if confidence is None else columns | {CONFIDENCE: confidence.cast(pa.float64())}


def freeze(
    *,
    model: str,
    version: str,
    table: pa.Table,
    fields: Sequence[Field],
    outputs: Outputs,
    labels: Sequence[object],
    loss: ReferenceLoss,
) -> ReferenceProfile:
    """Freeze the reference of a model version.

    Args:
        model: The model's name.
        version: The version's id, such as ``"eta/3"``.
        table: The training rows; in the order of ``__event_time__`` where the table has it.
        fields: The model's inputs, columns of the table.
        outputs: The model's answers on the holdout.
        labels: The true values of the holdout, one per answer.
        loss: The loss on the holdout, as its evaluation measured it.

    Raises:
        DeclarationError: If there are no training rows, or labels and outputs differ in length.
    """
    if table.num_rows == 0:
        raise DeclarationError(f"The reference of {version} needs training rows, got none.")
    if len(labels) != len(outputs):
        raise DeclarationError(
            f"The reference of {version} has {len(outputs)} holdout answers and {len(labels)} labels."
        )
    ordered = "__event_time__" in table.column_names
    if ordered:
        table = table.sort_by("__event_time__")
    columns = training_columns(table, fields)
    names = {field.name for field in fields if is_category(field)}
    features = [
        _freeze_column(name, values, by_name=name in names, in_time=ordered) for name, values in columns.items()
    ]
    confidence = None if outputs.probabilities is None else outputs.probabilities.max(axis=1)
    answers = _answers(outputs)
    frozen = [
        _freeze_column(name, values, by_name=pa.types.is_string(values.type), in_time=False)
        for name, values in output_columns(
            outputs.kind, answers, None if confidence is None else pa.array(confidence)
        ).items()
    ]
    return ReferenceProfile(
        model,
        version,
        outputs.kind,
        tuple(fields),
        tuple(feature for feature in features if feature is not None),
        tuple(output for output in frozen if output is not None),
        loss,
        None if confidence is None else _calibrated(confidence, outputs, labels),
        table.num_rows,
    )


def _calibrated(confidence: NDArray[np.float64], outputs: Outputs, labels: Sequence[object]) -> Calibration | None:
    if outputs.kind == "regression":
        return None
    return calibrate(confidence, row_losses(outputs.kind, outputs.values.tolist(), labels) == 0.0)


def _answers(outputs: Outputs) -> pa.Array:
    if outputs.kind == "regression":
        return pa.array(outputs.values.astype(np.float64))
    return pa.array([None if value is None else str(value) for value in outputs.values.tolist()], pa.string())


def _freeze_column(name: str, values: pa.Array, *, by_name: bool, in_time: bool) -> FeatureReference | None:
    """Freeze one column; None where it has no value to freeze."""
    if values.null_count == len(values):
        return None
    if by_name:
        present = values.drop_null().dictionary_encode()
        bins: Bins = freeze_category(present.dictionary_decode().to_numpy(zero_copy_only=False))
    else:
        try:
            bins = freeze_numeric(values.drop_null().to_numpy(zero_copy_only=False), bins=_BINS)
        except ValueError:
            return None
    share = independent_share(series_of(bins, values)[:_SERIES_ROWS]) if in_time else 1.0
    return FeatureReference(name, bins, tuple(int(count) for count in count_cells(bins, values)), share)


class ReferenceProfiles:
    """The profiles of all versions: JSON in the blob store, their digests in the facts."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def put(self, profile: ReferenceProfile) -> str:
        """Store a profile and return its digest; storing the same one again changes nothing.

        Raises:
            DeclarationError: If the version has another profile already: a reference never changes.
        """
        content = json.dumps(profile.to_json(), sort_keys=True, separators=(",", ":")).encode()
        digest = self._stores.blobs.put(content)
        row: dict[str, object] = {
            "version": profile.version, "model": profile.model, "blob": digest, "created_at": self._stores.clock.now(),
        }  # fmt: skip
        with self._stores.facts.write() as connection:
            self._stores.facts.insert_missing(connection, reference_profiles, [row])
            kept = connection.execute(
                sa.select(reference_profiles.c.blob).where(reference_profiles.c.version == profile.version)
            ).scalar_one()
        if kept != digest:
            raise DeclarationError(
                f"The version {profile.version} has another reference profile already; a reference never changes."
            )
        return digest

    def get(self, version: str) -> ReferenceProfile | None:
        """Return the profile of a version, or None."""
        with self._stores.facts.read() as connection:
            query = sa.select(reference_profiles.c.blob).where(reference_profiles.c.version == version)
            digest = connection.execute(query).scalar()
        return None if digest is None else _read(self._stores, digest)


def load_profiles(stores: Stores, model: str) -> dict[str, ReferenceProfile]:
    """Return the profiles of all versions of a model, by version id."""
    query = sa.select(reference_profiles.c.version, reference_profiles.c.blob).where(
        reference_profiles.c.model == model
    )
    with stores.facts.read() as connection:
        rows = connection.execute(query).all()
    return {version: _read(stores, digest) for version, digest in rows}


@lru_cache(maxsize=256)
def _parsed(content: bytes) -> ReferenceProfile:
    return ReferenceProfile.from_json(json.loads(content))


def _read(stores: Stores, digest: str) -> ReferenceProfile:
    return _parsed(stores.blobs.get(digest))

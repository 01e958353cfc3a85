"""Write a training set's two files, batch by batch, so that neither is ever seen half-written.

Each file is written under a temporary name, given to the blob store, and then renamed into the training set's folder.
Memory is bounded by one batch.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self, cast

import pyarrow as pa
import pyarrow.compute as pc

from loopwright.features.columns import Array, arrow_type, to_arrow
from loopwright.features.example_rows import ARRIVED_AT, LABEL, ExampleSource
from loopwright.features.split import EVENT_TIME, KEY
from loopwright.features.training_set import folder_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from loopwright.core.storage.stores import Stores
    from loopwright.features.field import Field

Part = Literal["train", "holdout"]
PARTS: tuple[Part, Part] = ("train", "holdout")
_META = {KEY: pa.string(), EVENT_TIME: pa.timestamp("us", tz="UTC"), ARRIVED_AT: pa.timestamp("us", tz="UTC")}


class SetWriter:
    """The two files of a training set while they are being written.

    Attributes:
        pinned: The field of each transform, from its first batch on.
        rows: How many rows each part has.
        digests: The content digest of each part, once the block has ended.
    """

    def __init__(
        self, stores: Stores, digest: str, fields: Sequence[Field], label: Field, source: ExampleSource
    ) -> None:
        self._stores = stores
        self._digest = digest
        self._declared = tuple(fields)
        self._label = label
        self._source = source
        self._seen: dict[str, set[str]] = {}
        self._files: dict[Part, pa.ipc.RecordBatchFileWriter] = {}
        self._paths: dict[Part, Path] = {}
        self.pinned: dict[str, Field] = {}
        self.rows: dict[Part, int] = dict.fromkeys(PARTS, 0)
        self.digests: dict[Part, str] = {}

    def __enter__(self) -> Self:
        folder = folder_of(self._stores, self._digest)
        folder.mkdir(parents=True, exist_ok=True)
        token = self._stores.ids.new()
        self._paths = {part: folder / f".{part}.{token}.tmp" for part in PARTS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        try:
            if kind is None:
                for part in PARTS:
                    self.digests[part] = self._stores.blobs.put_file(self._paths[part])
                    self._paths[part].replace(folder_of(self._stores, self._digest) / f"{part}.arrow")
        finally:
            for path in self._paths.values():
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()

    @property
    def fields(self) -> tuple[Field, ...]:
        """The features with what the data fixed: transforms' types and shapes, categories of the training rows."""
        return tuple(self._fixed(field) for field in self._declared)

    @property
    def label(self) -> Field:
        """The target, with its categories in the training rows."""
        if self._label.dtype not in {"category", "string"}:
            return self._label
        return self._label.with_categories(tuple(sorted(self._seen.get(LABEL, ()))))

    def write(self, table: pa.Table, transformed: Mapping[str, Array], held: Array) -> None:
        """Append a batch: the rows that ``held`` marks to the holdout, the others to the training part."""
        columns: dict[str, pa.Array | pa.ChunkedArray] = {}
        for field in self._declared:
            if field.origin == "transform":
                columns[field.name] = to_arrow(transformed[field.name], self.pinned[field.name])
            else:
                columns[field.name] = table.column(field.name).cast(arrow_type(field))
        columns[LABEL] = table.column(LABEL).cast(arrow_type(self._label))
        columns |= {name: table.column(name).cast(kind) for name, kind in _META.items()}
        whole = pa.table(columns)
        mask = pa.array(held)
        for part, rows in (("train", whole.filter(pc.invert(mask))), ("holdout", whole.filter(mask))):
            self._append(cast("Part", part), rows)

    def _append(self, part: Part, rows: pa.Table) -> None:
        if part not in self._files:
            self._files[part] = pa.ipc.new_file(str(self._paths[part]), rows.schema)
        self._files[part].write_table(rows.combine_chunks())
        self.rows[part] += rows.num_rows
        if part == "train":
            for field in (*self._declared, replace(self._label, name=LABEL)):
                if field.dtype in {"category", "string"} and (field.name == LABEL or field.dtype == "category"):
                    values = pc.unique(rows.column(field.name)).to_pylist()
                    self._seen.setdefault(field.name, set()).update(value for value in values if value is not None)

    def _fixed(self, field: Field) -> Field:
        if field.origin == "transform":
            return self.pinned[field.name]
        if field.dtype != "category":
            return field
        declared = self._source.categories(field.name) if field.origin == "column" else ()
        return field.with_categories(declared or tuple(sorted(self._seen.get(field.name, ()))))

"""The request-time half of the features: from request rows to exactly what the model got in training.

An assembly is made once per model version, from the training set's specification and record. It checks the request,
looks up the views' values in the online store (one call per view), runs the on-demand transforms (one call per
transform) and puts the fields in their order with the types and categories that training fixed. It carries its
functions by value, so that it loads where the project file is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import cloudpickle
import numpy as np

from loopwright.core.errors import FeatureError, InvalidRequestError
from loopwright.core.hashing import digest_bytes
from loopwright.data.contract.sensitive import masked
from loopwright.data.ingest.payload import examine_image
from loopwright.features.by_value import dump_by_value
from loopwright.features.column_block import BlockReader, ColumnBlock
from loopwright.features.columns import Array, ModelInput, model_input, served_rows
from loopwright.features.lookup import LookupResult, ViewLookup, look_up
from loopwright.features.request import RequestField, Row, read_field
from loopwright.features.request_column import as_field, read_block, read_column
from loopwright.features.row_batch import RowBatch
from loopwright.features.transform_run import run_in_batches

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.core.pseudonyms import Pseudonyms
    from loopwright.features.field import Field
    from loopwright.features.online import OnlineStore

NO_ROWS = "The request has no rows."


@dataclass(frozen=True)
class TransformCall:
    """A transform that runs on request fields."""

    name: str
    inputs: tuple[str, ...]
    function: Callable[..., object]
    batch_rows: int
    field: Field


class Assembled:
    """The model's input for some rows, and what is to be logged beside the answer.

    Unpacks as ``X, served``. Both are made when first asked for: a compiled model may take ``columns`` and never need a
    DataFrame.

    Attributes:
        fields: The model's input, in the order of training.
        columns: Its values by field.
        ignored: Names that the rows carried and the model does not know.
        lookups: Of each view, for which rows the online store had a value.
    """

    __slots__ = ("_served", "_x", "columns", "fields", "ignored", "lookups")

    def __init__(
        self,
        fields: tuple[Field, ...],
        columns: Mapping[str, Array],
        ignored: tuple[str, ...],
        lookups: tuple[LookupResult, ...] = (),
    ) -> None:
        self.fields = fields
        self.columns = columns
        self.ignored = ignored
        self.lookups = lookups
        self._x: ModelInput | None = None
        self._served: list[dict[str, object]] | None = None

    def __len__(self) -> int:
        return len(self.columns[self.fields[0].name])

    @property
    def X(self) -> ModelInput:  # noqa: N802 - scikit-learn's name
        """What the model got in training, for these rows."""
        if self._x is None:
            self._x = model_input(self.columns, self.fields)
        return self._x

    @property
    def served(self) -> list[dict[str, object]]:
        """The features of each row as plain values; long arrays as mean, std, min and max."""
        if self._served is None:
            columns = self.columns
            if isinstance(columns, ColumnBlock):
                self._served = columns.plain_rows()
            else:
                self._served = served_rows(columns, self.fields)
        return self._served

    def __iter__(self) -> Iterator[object]:
        return iter((self.X, self.served))


@dataclass(frozen=True)
class FeatureAssembly:
    """How request rows become the model's input.

    Attributes:
        inputs: The fields that a request row has, in a stable order.
        fields: The model's input, in the order of training.
        views: What is looked up.
        transforms: What is computed.
        known: Names that a row may also carry without being reported (the dataset's other columns).
    """

    inputs: tuple[RequestField, ...]
    fields: tuple[Field, ...]
    views: tuple[ViewLookup, ...] = ()
    transforms: tuple[TransformCall, ...] = ()
    known: frozenset[str] = frozenset()

    def assemble(
        self, rows: Sequence[Row], online: OnlineStore | None = None, now: datetime | None = None
    ) -> Assembled:
        """Turn request rows into the model's input.

        Args:
            rows: One mapping per row, as JSON gives them; images as bytes or base64 text. A `RowBatch` is taken by
                column.
            online: Where the views' values are; needed if the model uses a view.
            now: The moment of the request, for the views' ttl; needed if the model uses a view.

        Raises:
            InvalidRequestError: If a row is no mapping, lacks a required field, has one of the wrong type, or an image
                that cannot be read.
            FeatureError: If a transform fails, or the model uses a view and there is no online store.
        """
        if not rows:
            raise InvalidRequestError(NO_ROWS, hint="Send at least one.")
        batch = rows if isinstance(rows, RowBatch) else None
        if self._block_reader is not None:
            block = self._block_reader.read(rows) if batch is None else read_block(batch, self._names, self._expected)
            if block is not None:
                return Assembled(self.fields, block, ())
        if batch is None:
            ignored = self._check_names(rows)
            raw = {field.name: self._hide(read_field(rows, field), field) for field in self.inputs}
        else:
            ignored = tuple(sorted(batch.columns.keys() - self._expected))
            raw = {field.name: self._hide(read_column(batch, field), field) for field in self.inputs}
        columns: dict[str, Array] = {}
        for field in self.fields:
            if field.origin == "column":
                columns[field.name] = self._codes(cast("Array", raw[field.name]), field)
        found = look_up(self.views, raw, len(rows), online, now) if self.views else []
        for view, one in zip(self.views, found, strict=True):
            for field in view.fields:
                values = [None if row is None else row.values.get(field.name) for row in one.rows]
                columns[field.name] = self._codes(online_array(values, field), field)
        for call in self.transforms:
            inputs = [raw[name] for name in call.inputs]
            try:
                results, _ = run_in_batches(
                    call.name, call.function, inputs, rows=len(rows), batch_rows=call.batch_rows, pinned=call.field
                )
            except FeatureError as error:
                self._check_images(raw, error)
                raise
            columns[call.field.name] = results
        return Assembled(self.fields, columns, ignored, tuple(one.result for one in found))

    def with_pseudonyms(self, pseudonyms: Pseudonyms) -> FeatureAssembly:
        """Return the assembly with what it needs where a request names people by fields that the dataset has hashed."""
        object.__setattr__(self, "_pseudonyms", pseudonyms)
        return self

    def _hide(self, values: Array | list[bytes | None], field: RequestField) -> Array | list[bytes | None]:
        """Do to a field's values what was done to the dataset's at ingest."""
        if field.hidden is None:
            return values
        if field.hidden == "hash" and "_pseudonyms" not in self.__dict__:
            raise FeatureError(
                f"The field '{field.name}' is hashed, and the workspace's pseudonyms were not given.",
                hint="Load the version through the registry.",
            )
        change = masked if field.hidden == "mask" else cast("Pseudonyms", self.__dict__["_pseudonyms"]).of
        result = np.empty(len(values), dtype=object)
        result[:] = [None if value is None else change(cast("str", value)) for value in values]
        return result

    def _check_names(self, rows: Sequence[Row]) -> tuple[str, ...]:
        expected = self._expected
        extra: set[str] = set()
        for index, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise InvalidRequestError(f"Row {index} must be an object with fields, got {type(row).__name__}.")
            if not row.keys() <= expected:
                extra |= row.keys() - expected
        return tuple(sorted(extra))

    def _check_images(self, raw: Mapping[str, Array | list[bytes | None]], error: FeatureError) -> None:
        """Where a transform failed, see whether a row's image cannot be read: then the request is at fault, not we."""
        for field in self.inputs:
            if field.type != "image":
                continue
            for row, value in enumerate(cast("list[bytes | None]", raw[field.name])):
                defect = None if value is None else examine_image(value)[0]
                if defect is not None:
                    message = f"Row {row}: the field '{field.name}' must be an image, got {defect}."
                    raise InvalidRequestError(message, field=field.name, row=row) from error

    @cached_property
    def _block_reader(self) -> BlockReader | None:
        return BlockReader.for_fields(self.inputs, self.fields, self.known)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @cached_property
    def _expected(self) -> frozenset[str]:
        return self.known | {field.name for field in self.inputs}

    @cached_property
    def _code_of(self) -> dict[str, dict[str | None, int]]:
        return {
            field.name: {category: code for code, category in enumerate(field.categories)}
            for field in self.fields
            if field.dtype == "category"
        }

    def _codes(self, values: Array, field: Field) -> Array:
        if field.dtype != "category":
            return as_field(values, field)
        known = self._code_of[field.name]
        return np.array([known.get(value, -1) for value in values.tolist()], dtype=np.int32)

    def __getstate__(self) -> dict[str, object]:
        names = ("inputs", "fields", "views", "transforms", "known")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)

    @property
    def needs_online(self) -> bool:
        """Whether ``assemble`` needs an online store."""
        return bool(self.views)


def online_array(values: Sequence[object], field: Field) -> Array:
    """Return the looked-up values of one feature as an array; None where there is none (a category stays text)."""
    if field.dtype in {"float64", "float32"}:
        return np.array(values, dtype=field.dtype)
    if field.dtype == "timestamp":
        micros = [np.iinfo(np.int64).min if value is None else cast("int", value) for value in values]
        return np.array(micros, dtype=np.int64).view("datetime64[us]")
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def assembly_to_bytes(assembly: FeatureAssembly) -> bytes:
    """Return the assembly as bytes, with the functions of the project (and what they call there) by value.

    The bytes are a pickle: load them only if their digest is on record in this workspace, or their origin is trusted.
    """
    return dump_by_value(assembly, [call.function for call in assembly.transforms])


def assembly_from_bytes(data: bytes) -> FeatureAssembly:
    """Load what ``assembly_to_bytes`` wrote. It runs code: the caller vouches for the bytes.

    Raises:
        FeatureError: If the bytes are no assembly.
    """
    loaded = cloudpickle.loads(data)
    if not isinstance(loaded, FeatureAssembly):
        raise FeatureError(
            f"The bytes {digest_bytes(data)[:12]} hold a {type(loaded).__name__} and no feature assembly."
        )
    return loaded

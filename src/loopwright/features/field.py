"""One feature as a model sees it: its name, type and shape.

A training set, a model's signature and the request-time assembly carry the same ``Field`` objects, so that the order,
the types and the categories of the input are decided once, when the training set is built.

How a declared column becomes a field (the type follows the declaration, never the content of one snapshot):

========================  =====================================================================
column type               field
========================  =====================================================================
float                     ``float64``; missing is NaN
int, required             ``int64``
int, not required         ``float64``; missing is NaN
bool, required            ``bool``
bool, not required        ``float64`` (0, 1 or NaN)
string, text              ``string``
category                  ``category`` with the categories of the training rows; an unseen value is missing
timestamp, date           ``timestamp`` (UTC, microseconds)
a view's output           as above, always as *not required*: an example may have no row of the view
a transform's output      ``(n,)``: as returned; ``(n, …)``: ``float32`` with a shape
========================  =====================================================================

A model that was not trained here may also take arrays of other numbers, and ``int32``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from loopwright.core.errors import FeatureError

DType = Literal["float64", "float32", "int64", "int32", "bool", "string", "category", "timestamp"]
Origin = Literal["column", "view", "transform", "label"]

NUMERIC: frozenset[str] = frozenset({"float64", "float32", "int64", "int32", "bool"})


@dataclass(frozen=True)
class Field:
    """One column of a model's input, or its label.

    Attributes:
        name: The column's name in the training table and in a data frame.
        dtype: The type that the model gets.
        shape: Empty for one value per row; otherwise the shape of each row's array.
        nullable: Whether a row may lack a value.
        categories: For ``category``: the known values, in the order of their codes.
        origin: Where the value comes from.
        source: The name of the dataset, view or transform that makes it.

    >>> Field("pixels", "float32", shape=(8, 8)).width
    64
    """

    name: str
    dtype: DType
    shape: tuple[int, ...] = ()
    nullable: bool = True
    categories: tuple[str, ...] = ()
    origin: Origin = "column"
    source: str = ""

    def __post_init__(self) -> None:
        if self.dtype not in get_args(DType):
            raise FeatureError(
                f"The feature '{self.name}' has the unknown type {self.dtype!r}.",
                hint=f"Known: {', '.join(get_args(DType))}.",
            )
        if self.shape and self.dtype not in NUMERIC:
            raise FeatureError(
                f"The feature '{self.name}' has the shape {self.shape} and the type {self.dtype}; arrays hold numbers."
            )

    @property
    def width(self) -> int:
        """How many numbers one row has (1 for a scalar)."""
        return math.prod(self.shape)

    @property
    def is_vector(self) -> bool:
        """Whether each row is an array."""
        return bool(self.shape)

    @property
    def is_numeric(self) -> bool:
        """Whether the values are numbers (or booleans)."""
        return self.dtype in NUMERIC

    def with_categories(self, categories: tuple[str, ...]) -> Field:
        """Return the same field with its categories fixed."""
        return replace(self, categories=categories)

    def to_json(self) -> dict[str, object]:
        """Return the field as plain JSON values."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "nullable": self.nullable,
            "categories": list(self.categories),
            "origin": self.origin,
            "source": self.source,
        }

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Field:
        """Read a field as ``to_json`` wrote it.

        >>> Field.from_json(Field("city", "category", categories=("Bergen", "Oslo")).to_json()).categories
        ('Bergen', 'Oslo')
        """
        return cls(
            name=str(value["name"]),
            dtype=cast("DType", value["dtype"]),
            shape=tuple(cast("list[int]", value["shape"])),
            nullable=bool(value["nullable"]),
            categories=tuple(cast("list[str]", value["categories"])),
            origin=cast("Origin", value["origin"]),
            source=str(value["source"]),
        )


def field_of(name: str, type_name: str, *, required: bool, origin: Origin = "column", source: str = "") -> Field:
    """Return the field of a declared column, by the table in this module's docstring.

    Raises:
        FeatureError: If the type is a payload (image, audio), which no model takes as it is.

    >>> field_of("distance_km", "float", required=True).dtype, field_of("rooms", "int", required=False).dtype
    ('float64', 'float64')
    """
    dtype: DType
    match type_name:
        case "float":
            dtype = "float64"
        case "int":
            dtype = "int64" if required else "float64"
        case "bool":
            dtype = "bool" if required else "float64"
        case "string" | "text":
            dtype = "string"
        case "category":
            dtype = "category"
        case "timestamp" | "date":
            dtype = "timestamp"
        case _:
            raise FeatureError(
                f"The column '{name}' is of type '{type_name}', which a model cannot take as it is.",
                hint="Turn it into numbers with a transform (@loop.transform) and use that as the feature.",
            )
    return Field(name, dtype, nullable=not required, origin=origin, source=source)

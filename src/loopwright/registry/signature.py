"""What a model takes and what it answers: the contract that a registered version keeps.

The inputs are the features in the order in which the model met them in training; the output names the kind of
answer, the classes and the type of the value. Two versions with equal signatures can replace each other in a
running server without a change on the caller's side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from loopwright.core.errors import DeclarationError
from loopwright.features.field import Field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from loopwright.evaluation.outputs import OutputKind

Layout: TypeAlias = Literal["array", "frame"]
ClassLabel: TypeAlias = str | int | float | bool
PREDICTION_ID = "prediction_id"
"""The output that a server adds to those of the model."""


@dataclass(frozen=True)
class NamedOutput:
    """One of several outputs of a model.

    Attributes:
        name: Its name.
        dtype: NumPy's name of the type of its values, such as ``int32``; ``str`` for text.
        shape: Empty for one value per row; otherwise the shape of each row's array.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Give the output as plain JSON values."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


@dataclass(frozen=True)
class OutputSpec:
    """Say what a model answers.

    Attributes:
        kind: A number, one of two classes, one of k classes, or several named outputs.
        classes: The class labels in the order of the probability columns; None for a regression.
        dtype: NumPy's name of the type of the value, such as ``float64``, ``int64``, ``bool`` or ``str``.
        probabilities: Whether the model gives class probabilities beside the label.
        named: The named outputs, in the order in which the model gives them; empty for the other kinds.

    Raises:
        DeclarationError: When a classifier names fewer than two classes, a regression names any, or several outputs
            come without names.
    """

    kind: OutputKind
    classes: tuple[ClassLabel, ...] | None = None
    dtype: str = "float64"
    probabilities: bool = False
    named: tuple[NamedOutput, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind == "named") != bool(self.named):
            raise DeclarationError(f"a {self.kind} output with {len(self.named)} named outputs cannot be")
        if self.kind in ("regression", "named"):
            if self.classes is not None or self.probabilities:
                raise DeclarationError(f"a {self.kind} output has neither classes nor probabilities")
            return
        count = len(self.classes or ())
        if count < 2 or (self.kind == "binary") != (count == 2):
            raise DeclarationError(f"a {self.kind} output cannot have {count} classes: {self.classes}")
        if len(set(self.classes or ())) != count:
            raise DeclarationError(f"the classes repeat: {self.classes}")

    def class_array(self) -> NDArray[np.generic] | None:
        """Give the classes as an array of the output's type, or None where there are none."""
        return None if self.classes is None else np.array(self.classes, dtype=np.dtype(self.dtype))


@dataclass(frozen=True)
class Signature:
    """Say what a model takes and what it answers.

    Attributes:
        inputs: One field per feature, in the order of training.
        output: What comes back.

    >>> signature = Signature((Field("distance_km", "float64"),), OutputSpec("regression"))
    >>> signature.layout, signature.names
    ('frame', ('distance_km',))
    >>> Signature.from_json(signature.to_json()) == signature
    True
    """

    inputs: tuple[Field, ...]
    output: OutputSpec

    def __post_init__(self) -> None:
        if not self.inputs:
            raise DeclarationError("a model needs at least one input feature")
        if len(set(self.names)) != len(self.inputs):
            raise DeclarationError(f"the input names repeat: {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Give the names of the features, in order."""
        return tuple(field.name for field in self.inputs)

    @property
    def layout(self) -> Layout:
        """Say how the model gets its rows: one array feature as that array, anything else as a frame."""
        return "array" if len(self.inputs) == 1 and self.inputs[0].is_vector else "frame"

    @property
    def width(self) -> int:
        """Count the numbers of one row: one per scalar, one per element of an array."""
        return sum(field.width for field in self.inputs)

    def differences(self, other: Signature) -> list[str]:
        """Say in words how `other` differs from this one; an empty list when a caller cannot tell them apart."""
        mine, theirs = ({field.name: field for field in s.inputs} for s in (self, other))
        said = [f"input '{name}' is missing" for name in mine if name not in theirs]
        said += [f"input '{name}' is new" for name in theirs if name not in mine]
        said += [
            f"input '{name}' is {describe(theirs[name])} and was {describe(field)}"
            for name, field in mine.items()
            if name in theirs and theirs[name] != field
        ]
        if not said and self.names != other.names:
            said.append(f"the inputs come in another order: {', '.join(other.names)}")
        if self.output.kind != other.output.kind:
            said.append(f"the output is {other.output.kind} and was {self.output.kind}")
        elif self.output.classes != other.output.classes:
            said.append(f"the classes are {other.output.classes} and were {self.output.classes}")
        elif self.output != other.output:
            said.append(f"the output is {other.output} and was {self.output}")
        return said

    def to_json(self) -> dict[str, object]:
        """Give the signature as plain JSON values."""
        output: dict[str, object] = {
            "kind": self.output.kind,
            "classes": None if self.output.classes is None else list(self.output.classes),
            "dtype": self.output.dtype,
            "probabilities": self.output.probabilities,
        }
        if self.output.named:
            output["named"] = [one.to_json() for one in self.output.named]
        return {"inputs": [field.to_json() for field in self.inputs], "output": output}

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Signature:
        """Read what `to_json` wrote."""
        fields = cast("Sequence[dict[str, object]]", document["inputs"])
        output = cast("dict[str, object]", document["output"])
        classes = cast("Sequence[ClassLabel] | None", output["classes"])
        named = cast("Sequence[dict[str, Any]]", output.get("named", ()))
        return cls(
            tuple(Field.from_json(item) for item in fields),
            OutputSpec(
                kind=cast("OutputKind", output["kind"]),
                classes=None if classes is None else tuple(classes),
                dtype=str(output["dtype"]),
                probabilities=bool(output["probabilities"]),
                named=tuple(NamedOutput(one["name"], one["dtype"], tuple(one["shape"])) for one in named),
            ),
        )


def describe(field: Field) -> str:
    """Give a field's type in a few words.

    >>> describe(Field("pixels", "float32", shape=(784,)))
    'float32[784] or null'
    """
    shape = "".join(f"[{length}]" for length in field.shape)
    known = (
        f" of {', '.join(field.categories[:5])}{', …' if len(field.categories) > 5 else ''}" if field.categories else ""
    )
    return f"{field.dtype}{shape}{known}{' or null' if field.nullable else ''}"


def named_spec(named: Mapping[str, NDArray[np.generic]]) -> OutputSpec:
    """Read from some answers of a model with several outputs what it answers.

    Args:
        named: Arrays of shape (n, …) by name.

    Raises:
        DeclarationError: When a name is empty or stands for something else, or an array holds no numbers or texts.
    """
    parts = []
    for name, array in named.items():
        if not isinstance(name, str) or not name or name == PREDICTION_ID:
            raise DeclarationError(f"an output cannot be named {name!r}")
        if array.dtype.kind not in "biufUO":
            raise DeclarationError(f"the output '{name}' is {array.dtype}, which is neither numbers nor text")
        parts.append(NamedOutput(name, "str" if array.dtype.kind in "UO" else array.dtype.name, array.shape[1:]))
    return OutputSpec("named", dtype="object", named=tuple(parts))


def output_spec(estimator: object, values: NDArray[np.generic]) -> OutputSpec:
    """Read from a fitted estimator, and from some of its predictions, what it answers.

    Args:
        estimator: Anything with `predict`; a classifier is told by its `classes_`.
        values: Predictions of the estimator, shape (n,), for the type of the value.

    Raises:
        DeclarationError: When the estimator predicts several columns at once, or only one class.
    """
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        if values.ndim != 1 and values.size != len(values):
            raise DeclarationError(
                f"{type(estimator).__name__} predicts {values.shape[1:]} numbers per row; one model, one output"
            )
        if values.dtype.kind not in "fiu":
            raise DeclarationError(
                f"{type(estimator).__name__} predicts {values.dtype}, which is no number, and names no classes_"
            )
        return OutputSpec("regression", dtype="float64")
    labels = np.asarray(classes)
    if values.ndim != 1 or labels.ndim != 1 or labels.dtype.kind not in "fiubUO":
        raise DeclarationError(f"{type(estimator).__name__} predicts several outputs at once; one model, one output")
    kind: OutputKind = "binary" if len(labels) == 2 else "multiclass"
    dtype = "str" if labels.dtype.kind in "UO" else labels.dtype.name
    return OutputSpec(kind, tuple(labels.tolist()), dtype, probabilities=hasattr(estimator, "predict_proba"))

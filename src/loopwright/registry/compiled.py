"""The compiled form of a model: an ONNX graph that answers without scikit-learn.

One row costs some 10 µs where the estimator takes 100 to 2,000 µs. The session runs on one thread and does not spin,
so that many models share a core; processes give the parallelism. `predict` may be called from several threads.

A row that the graph cannot carry (a missing value in a text column, a category the encoder never saw and would
refuse) raises `BeyondCompiledForm`: the caller then asks the native form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np

from loopwright.core.errors import InvalidRequestError
from loopwright.evaluation.outputs import Outputs
from loopwright.features.column_block import ColumnBlock
from loopwright.registry.one_row import bind_one_row
from loopwright.registry.rows import column_names, matrix, row_count, scalars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from loopwright.registry.one_row import OneRow
    from loopwright.registry.rows import Rows
    from loopwright.registry.signature import Signature

TensorType: TypeAlias = Literal["float32", "float64", "int64", "bool", "str"]
LabelSource: TypeAlias = Literal["values", "probabilities", "label"]

# Two probabilities this close are a tie, and the first class wins as in scikit-learn's argmax: a forest of 50 trees
# sums to 0.5 exactly in float64 and to 0.50000024 in float32.
TIE = 1e-6


class BeyondCompiledForm(Exception):  # noqa: N818  (a signal between two forms of one model, not a failure)
    """The compiled graph cannot carry these rows; the native form can."""


@dataclass(frozen=True)
class TensorInput:
    """Name one input of the graph: all columns as one matrix, or a single column.

    Attributes:
        name: The graph's name for it; in the layout ``columns``, the name of the column.
        dtype: The type of its elements.
        categories: For a text column whose encoder refuses unknown values: the values it knows.
    """

    name: str
    dtype: TensorType
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True)
class CompiledForm:
    """Record a compiled form that passed the parity gate.

    Attributes:
        digest: Where the graph lies among the blobs.
        size_bytes: Its size.
        layout: ``matrix`` (one input) or ``columns`` (one input per feature).
        inputs: The inputs of the graph.
        labels_from: Where the value of an answer comes from.
        rows_compared: How many rows the parity gate compared.
        largest_difference: The largest difference it found: of a probability (absolute) or a number (relative).
    """

    digest: str
    size_bytes: int
    layout: Literal["matrix", "columns"]
    inputs: tuple[TensorInput, ...]
    labels_from: LabelSource
    rows_compared: int = 0
    largest_difference: float = 0.0

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> CompiledForm:
        """Read what `dataclasses.asdict` gave."""
        values = dict(document)
        inputs = cast("Sequence[Mapping[str, object]]", values.pop("inputs"))
        tensors = tuple(
            TensorInput(
                name=str(item["name"]),
                dtype=cast("TensorType", item["dtype"]),
                categories=None if item.get("categories") is None else tuple(cast("Sequence[str]", item["categories"])),
            )
            for item in inputs
        )
        return cls(inputs=tensors, **values)  # type: ignore[arg-type]


class CompiledModel:
    """Answer rows with an ONNX graph.

    Args:
        graph: The serialised ONNX model.
        form: Its record.
        signature: The signature of the model version.
    """

    def __init__(self, graph: bytes, form: CompiledForm, signature: Signature) -> None:
        import onnxruntime  # noqa: PLC0415  (0.1 s that listing models need not pay)

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.form = form
        self._run = session.run
        self._options = onnxruntime.RunOptions()  # made once: without it every call makes its own
        self._names = [item.name for item in session.get_outputs()]
        self._tensors = tuple((item, np.dtype(item.dtype)) for item in form.inputs)
        self._known = {t.name: frozenset(t.categories) for t in form.inputs if t.categories is not None}
        self._fields = signature.inputs
        self._columns = column_names(signature.inputs)
        self._kind = signature.output.kind
        self._classes = signature.output.classes
        self._class_array = signature.output.class_array()
        self._probabilities = signature.output.probabilities
        if form.labels_from == "label":
            self._names = self._names[: 2 if self._probabilities else 1]
        elif form.labels_from == "probabilities":
            self._names = self._names[1:2] or self._names[:1]  # a graph of our own has no label
        else:
            self._names = self._names[:1]
        self._one_row: OneRow | None = None
        if form.layout == "matrix":
            tensor, dtype = self._tensors[0]
            width = len(self._columns)
            self._one_row = bind_one_row(session, width, dtype, name=tensor.name, outputs=self._names)

    def predict(self, rows: Rows) -> Outputs:
        """Answer n rows.

        Raises:
            BeyondCompiledForm: When the graph cannot carry one of the rows.
            InvalidRequestError: When a column is missing or of the wrong type.
        """
        answers = self._answers(rows)
        if self.form.labels_from == "values":
            return Outputs(self._kind, answers[0].reshape(-1).astype(np.float64))
        classes = cast("NDArray[np.generic]", self._class_array)
        if self.form.labels_from == "probabilities":
            probabilities = answers[0].astype(np.float64)
            if len(classes) == 2:
                winners = (probabilities[:, 1] > probabilities[:, 0] + TIE).astype(np.intp)
            else:
                winners = (probabilities >= probabilities.max(axis=1, keepdims=True) - TIE).argmax(axis=1)
            return Outputs(self._kind, classes[winners], probabilities, self._classes)
        labels = answers[0].reshape(-1).astype(classes.dtype)
        return Outputs(
            self._kind, labels, answers[1].astype(np.float64) if self._probabilities else None, self._classes
        )

    def _answers(self, rows: Rows) -> list[NDArray[np.generic]]:
        if self._one_row is not None and isinstance(rows, ColumnBlock) and len(rows.matrix) == 1:
            answers = self._one_row.run(rows.matrix) if rows.names == self._columns else None
            if answers is not None:
                return answers
        return cast("list[NDArray[np.generic]]", self._run(self._names, self._feed(rows), self._options))

    def carries(self, rows: Rows) -> NDArray[np.bool_]:
        """Say row by row whether the graph can carry it, shape (n,)."""
        carried = np.ones(row_count(rows), dtype=np.bool_)
        if self.form.layout == "columns":
            columns = scalars(rows, self._fields)
            for tensor, _ in self._tensors:
                if tensor.dtype == "str":
                    known = self._known.get(tensor.name)
                    texts = columns[tensor.name].astype(object)
                    carried &= [isinstance(text, str) and (known is None or text in known) for text in texts]
        return carried

    def _feed(self, rows: Rows) -> dict[str, NDArray[np.generic]]:
        if self.form.layout == "matrix":
            tensor, dtype = self._tensors[0]
            if isinstance(rows, ColumnBlock) and rows.names == self._columns:
                return {tensor.name: rows.matrix.astype(dtype)}
            return {tensor.name: matrix(rows, self._fields, self._columns, dtype)}
        fed: dict[str, NDArray[np.generic]] = {}
        columns = scalars(rows, self._fields)
        for tensor, dtype in self._tensors:
            values = columns[tensor.name]
            if tensor.dtype == "str":
                fed[tensor.name] = self._texts(values, tensor.name)
            else:
                fed[tensor.name] = self._numbers(values, tensor.name, dtype)
        return fed

    @staticmethod
    def _numbers(values: NDArray[np.generic], name: str, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        try:
            return values.astype(dtype).reshape(-1, 1)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"the column '{name}' cannot be read as {dtype}: {error}") from error

    def _texts(self, values: NDArray[np.generic], name: str) -> NDArray[np.generic]:
        texts = values.astype(object)
        known = self._known.get(name)
        for text in texts:
            if not isinstance(text, str):
                raise BeyondCompiledForm(f"{text!r} in the text column '{name}'")
            if known is not None and text not in known:
                raise BeyondCompiledForm(f"the unknown value {text!r} in the text column '{name}'")
        return texts.reshape(-1, 1)

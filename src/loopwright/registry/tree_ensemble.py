"""Boosted trees as plain arrays, and the ONNX nodes that answer as they do.

XGBoost and LightGBM keep their trees in forms of their own; the readers beside this file bring both into `Trees`, and
`graph_nodes` writes them as one TreeEnsemble operator (opset 3 of ``ai.onnx.ml``) with what follows it. ONNX Runtime
answers one row of 300 trees in some 20 µs, where the libraries' own calls take 50 to 500 µs.

Types: an ensemble whose library compares float32 numbers is written for a float32 input and decides as the library
does, number for number. One whose library compares float64 numbers (LightGBM) is written for a float64 input, or, for
features that are float32 themselves, for float32 with thresholds rounded down, which decides the same
(`loopwright.registry.hist_boosting.floor32`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from loopwright.registry.cannot_compile import CannotCompileError
from loopwright.registry.hist_boosting import floor32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Comparison: TypeAlias = Literal["BRANCH_LT", "BRANCH_LEQ"]
Transform: TypeAlias = Literal["identity", "exponential", "sigmoid", "softmax"]
FloatType: TypeAlias = Literal["float32", "float64"]
ML_OPSET = 3
OPSET = 18
OPERATORS: dict[Transform, str] = {"exponential": "Exp", "sigmoid": "Sigmoid", "softmax": "Softmax"}


@dataclass(frozen=True)
class SetSplit:
    """A split on a set of categories.

    Attributes:
        node: Its node.
        codes: The codes of the set.
        codes_left: Whether the codes of the set go left and all others right, or the other way round.
        missing_left: Whether a missing value goes left.
    """

    node: int
    codes: frozenset[int]
    codes_left: bool
    missing_left: bool

    def goes_left(self, code: int) -> bool:
        """Say on which side a category goes."""
        return (code in self.codes) == self.codes_left


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree: parallel arrays, one entry per node, node 0 the root.

    Attributes:
        feature: The feature that the node compares; not read for a leaf.
        threshold: What it is compared with, float64; not read for a leaf.
        left: The node for a value that compares true; -1 for a leaf.
        right: The node for any other value; -1 for a leaf.
        missing_left: Whether a missing value goes left.
        value: What a leaf adds to the answer, float64.
        target: Which of the answers it adds to.
        sets: The splits on sets of categories; a graph takes trees without any
            (`loopwright.registry.category_tables.with_tables`).
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    value: NDArray[np.float64]
    target: int = 0
    sets: tuple[SetSplit, ...] = ()

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """Tell the leaves from the splits."""
        return self.left < 0


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees whose values add up, and what is made of the sums.

    Attributes:
        trees: The trees.
        base: What each sum begins with, one number per target.
        compares: ``x < threshold`` or ``x <= threshold``.
        transform: What is made of the sums.
        classifies: Whether the answers are probabilities of classes; one target then stands for the second of two.
        compared_as: The type in which the library compares a value with a threshold.
    """

    trees: tuple[Tree, ...]
    base: tuple[float, ...]
    compares: Comparison
    transform: Transform
    classifies: bool
    compared_as: FloatType

    @property
    def targets(self) -> int:
        """Count the sums."""
        return len(self.base)

    def for_input(self, dtype: FloatType, *, float32_features: bool) -> Trees:
        """Give the same trees with thresholds that decide a float32 input as the library decides its float64 numbers.

        Args:
            dtype: The type of the graph's input.
            float32_features: Whether the features are float32 numbers to begin with.
        """
        if self.compared_as == dtype or not float32_features:
            return self
        trees = tuple(replace(tree, threshold=floor32(tree.threshold).astype(np.float64)) for tree in self.trees)
        return replace(self, trees=trees)


@dataclass(frozen=True)
class NodeSpec:
    """One node of a graph, before it is made."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str
    version: int
    attributes: dict[str, Any]


def graph_nodes(
    trees: Trees,
    source: str,
    outputs: Sequence[str],
    *,
    dtype: FloatType,
    labels: Sequence[int] | Sequence[str] = (),
) -> list[NodeSpec]:
    """Write the trees as nodes.

    Args:
        trees: The trees.
        source: The name of the matrix of features, of type `dtype`.
        outputs: The name of the answer; for classes, the names of the label and of the probabilities.
        dtype: The type of the input.
        labels: The classes, for a classifier.
    """
    if any(tree.sets for tree in trees.trees):
        raise CannotCompileError("it splits on categories, and only the graph of trees alone has tables for them")
    compared: FloatType = trees.compared_as
    nodes: list[NodeSpec] = []
    if dtype == "float64" and compared == "float32":
        nodes.append(NodeSpec("Cast", (source,), (f"{source}_32",), "", OPSET, {"to": 1}))
        source = f"{source}_32"
        dtype = "float32"
    if trees.classifies and trees.transform in {"sigmoid", "softmax"} and (trees.targets == 1) == (len(labels) == 2):
        nodes.append(_classifier(trees, source, tuple(outputs), dtype, labels))
        return nodes
    sums = outputs[-1] if trees.transform == "identity" else f"{outputs[-1]}_sums"
    nodes.append(_regressor(trees, source, sums, dtype))
    if trees.transform != "identity":
        nodes.append(NodeSpec(OPERATORS[trees.transform], (sums,), (outputs[-1],), "", OPSET, {}))
    if trees.classifies:
        nodes.append(NodeSpec("ArgMax", (outputs[-1],), (outputs[0],), "", OPSET, {"axis": 1, "keepdims": 0}))
    return nodes


def _classifier(
    trees: Trees, source: str, outputs: tuple[str, ...], dtype: FloatType, labels: Sequence[int] | Sequence[str]
) -> NodeSpec:
    # The sums of two classes stand for the second one; the operator reads them from class id 0 and fills in the first.
    # Where no leaf is negative, ONNX Runtime takes the sums for probabilities when it chooses the label: a leaf too
    # small to change a sum keeps it from that.
    if trees.targets == 1 and not any((tree.value < 0).any() for tree in trees.trees):
        trees = replace(trees, trees=(*trees.trees, _leaf(-1e-30)))
    attributes = _splits(trees, dtype) | _leaves(trees, "class", dtype)
    attributes["post_transform"] = "LOGISTIC" if trees.transform == "sigmoid" else "SOFTMAX"
    texts = all(isinstance(label, str) for label in labels)
    attributes["classlabels_strings" if texts else "classlabels_int64s"] = list(labels)
    return NodeSpec("TreeEnsembleClassifier", (source,), outputs, "ai.onnx.ml", ML_OPSET, attributes)


def _leaf(value: float) -> Tree:
    nothing = np.zeros(1, dtype=np.int64)
    return Tree(nothing, np.zeros(1), nothing - 1, nothing - 1, np.zeros(1, dtype=np.bool_), np.array([value]))


def _regressor(trees: Trees, source: str, output: str, dtype: FloatType) -> NodeSpec:
    attributes = _splits(trees, dtype) | _leaves(trees, "target", dtype)
    attributes |= {"n_targets": trees.targets, "aggregate_function": "SUM", "post_transform": "NONE"}
    return NodeSpec("TreeEnsembleRegressor", (source,), (output,), "ai.onnx.ml", ML_OPSET, attributes)


def _splits(trees: Trees, dtype: FloatType) -> dict[str, Any]:
    parts = trees.trees
    leaf = np.concatenate([tree.is_leaf for tree in parts])
    sizes = [len(tree.left) for tree in parts]

    def joined(name: str) -> NDArray[Any]:
        return np.where(leaf, 0, np.concatenate([getattr(tree, name) for tree in parts]))

    return {
        "nodes_treeids": np.repeat(np.arange(len(parts)), sizes).tolist(),
        "nodes_nodeids": np.concatenate([np.arange(size) for size in sizes]).tolist(),
        "nodes_featureids": joined("feature").tolist(),
        "nodes_modes": np.where(leaf, "LEAF", trees.compares).tolist(),
        "nodes_truenodeids": joined("left").tolist(),
        "nodes_falsenodeids": joined("right").tolist(),
        "nodes_missing_value_tracks_true": joined("missing_left").astype(np.int64).tolist(),
        **_numbers("nodes_values", joined("threshold"), dtype),
    }


def _leaves(trees: Trees, word: Literal["class", "target"], dtype: FloatType) -> dict[str, Any]:
    parts = trees.trees
    leaves = [np.flatnonzero(tree.is_leaf) for tree in parts]
    counts = [len(found) for found in leaves]
    weights = np.concatenate([tree.value[found] for tree, found in zip(parts, leaves, strict=True)])
    return {
        f"{word}_treeids": np.repeat(np.arange(len(parts)), counts).tolist(),
        f"{word}_nodeids": np.concatenate(leaves).tolist(),
        f"{word}_ids": np.repeat([tree.target for tree in parts], counts).tolist(),
        **_numbers(f"{word}_weights", weights, dtype),
        **(_numbers("base_values", np.array(trees.base), dtype) if any(trees.base) else {}),
    }


def _numbers(name: str, values: NDArray[np.float64], dtype: FloatType) -> dict[str, Any]:
    if dtype == "float32":
        with np.errstate(over="ignore"):  # a threshold beyond float32 is infinite, and compares as it did
            return {name: values.astype(np.float32).tolist()}
    from onnx import numpy_helper  # noqa: PLC0415  (only registering needs it)

    return {f"{name}_as_tensor": numpy_helper.from_array(values.astype(np.float64), name)}


def tree_graph(trees: Trees, *, width: int, dtype: FloatType, name: str) -> Any:  # noqa: ANN401  (an ONNX model)
    """Write the trees as a graph of their own: a matrix in; a number, or a class code and probabilities out.

    Args:
        trees: The trees.
        width: Features of a row.
        dtype: The type of the input.
        name: The name of the input.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415  (only registering needs it)

    floats = TensorProto.FLOAT if dtype == "float32" else TensorProto.DOUBLE
    classes = max(2, trees.targets)
    outputs = ("label", "probabilities") if trees.classifies else ("value",)
    nodes = [
        helper.make_node(spec.operator, spec.inputs, spec.outputs, domain=spec.domain, **spec.attributes)
        for spec in graph_nodes(trees, name, outputs, dtype=dtype, labels=list(range(classes)))
    ]
    answers = [helper.make_tensor_value_info(outputs[-1], TensorProto.FLOAT, [None, classes])]
    if trees.classifies:
        answers.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, [None]))
    else:
        answers = [helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "model", [helper.make_tensor_value_info(name, floats, [None, width])], answers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="loopwright")

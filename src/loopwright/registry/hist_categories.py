"""Histogram gradient boosting that splits on categories, as an ONNX graph.

ONNX tree nodes compare numbers; a categorical split asks whether a category lies in a set. Since the categories of a
feature are fixed at training, each set becomes a table of 0 (goes left) and 1 (goes right) with one row per category
code and one for a missing or unknown value. The graph looks the code up in the tables, appends the looked-up
indicators to the features, and the split becomes "indicator <= 0.5". The numbers of all other nodes stay as they are.

The estimator reorders its columns (categories first); the nodes are put back to the order of the frame.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np

from loopwright.registry.cannot_compile import CannotCompileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.features.field import Field

MODELS = frozenset({"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"})
BITS = 32
"""Width of one word of scikit-learn's bitsets of categories."""


@dataclass(frozen=True)
class EncodedTrees:
    """Hold trees whose categorical splits compare indicators.

    Attributes:
        model: A copy of the estimator with rewritten nodes and no preprocessing, for the converter.
        tables: Per categorical column its position in the frame and the indicators of its sets, shape
            (1 + categories, sets): row 0 for a missing value, row 1 + code for a category.
    """

    model: object
    tables: tuple[tuple[int, NDArray[np.float32]], ...]

    @property
    def indicators(self) -> int:
        """Count the indicators that are appended to the features."""
        return sum(table.shape[1] for _, table in self.tables)


@dataclass(frozen=True)
class _Trees:
    nodes: NDArray[np.void]


def takes_codes(estimator: object, fields: tuple[Field, ...]) -> bool:
    """Say whether the estimator splits on categories and all its features are numbers or category codes."""
    numbers = all(field.is_numeric or field.dtype == "category" for field in fields)
    kind = type(estimator)
    known = kind.__name__ in MODELS and kind.__module__.startswith("sklearn.")
    return known and numbers and any(field.dtype == "category" for field in fields)


def encode(estimator: object, fields: tuple[Field, ...]) -> EncodedTrees:
    """Rewrite the categorical splits of a fitted estimator.

    Raises:
        CannotCompileError: When the estimator treats other columns as categories than the fields do.
    """
    model = cast("Any", estimator)
    fields = tuple(field for field in fields for _ in range(field.width))  # one per column of the frame
    positions = [position for position, field in enumerate(fields) if field.dtype == "category"]
    if model.is_categorical_ is None or list(np.flatnonzero(model.is_categorical_)) != positions:
        raise CannotCompileError("it splits on other categories than the frame's category columns")
    numbers = [position for position in range(len(fields)) if position not in positions]
    order = np.array([*positions, *numbers])
    encoder = model._preprocessor.named_transformers_["encoder"]  # noqa: SLF001
    known, index = model._bin_mapper.make_known_categories_bitsets()  # noqa: SLF001
    values = [_encoded(fields[p], encoder.categories_[rank]) for rank, p in enumerate(positions)]
    sets: list[list[NDArray[np.float32]]] = [[] for _ in positions]
    rewritten: list[list[tuple[Any, NDArray[np.void], dict[int, tuple[int, int]]]]] = []
    for iteration in model._predictors:  # noqa: SLF001
        done = []
        for tree in iteration:
            places: dict[int, tuple[int, int]] = {}
            for number in np.flatnonzero(tree.nodes["is_categorical"] & ~tree.nodes["is_leaf"].astype(bool)):
                node = tree.nodes[number]
                rank = int(node["feature_idx"])
                left = tree.raw_left_cat_bitsets[node["bitset_idx"]]
                sides = _sides(values[rank], left, known[index[rank]], missing_left=bool(node["missing_go_to_left"]))
                places[int(number)] = (rank, len(sets[rank]))
                sets[rank].append(sides)
            done.append((tree, tree.nodes.copy(), places))
        rewritten.append(done)
    offsets = len(fields) + np.concatenate([[0], np.cumsum([len(found) for found in sets])]).astype(int)
    for iteration in rewritten:
        for _, nodes, moved in iteration:
            nodes["feature_idx"] = order[nodes["feature_idx"]]
            for index_in_tree, (rank, place) in moved.items():
                nodes["feature_idx"][index_in_tree] = int(offsets[rank]) + place
                nodes["num_threshold"][index_in_tree] = 0.5
                nodes["is_categorical"][index_in_tree] = 0
    shadow = copy.copy(model)
    shadow._predictors = [[_Trees(nodes) for _, nodes, _ in iteration] for iteration in rewritten]  # noqa: SLF001
    shadow._preprocessor = None  # noqa: SLF001
    shadow.is_categorical_ = None
    shadow.n_features_in_ = int(offsets[-1])
    tables = tuple((p, np.stack(found, axis=1)) for p, found in zip(positions, sets, strict=True) if found)
    return EncodedTrees(shadow, tables)


def _encoded(field: Field, known: NDArray[np.generic]) -> list[int | None]:
    """Give what the estimator's encoder makes of a missing value and of each category; None is missing."""
    places = {value: place for place, value in enumerate(known.tolist()) if isinstance(value, str)}
    return [None, *(places.get(category) for category in field.categories)]


def _sides(
    values: list[int | None], left: NDArray[np.uint32], known: NDArray[np.uint32], *, missing_left: bool
) -> NDArray[np.float32]:
    """Give the side each value takes, 0 for left: as `_predict_one_from_raw_data` of scikit-learn decides."""

    def goes_left(value: int | None) -> bool:
        if value is None or not (_holds(left, value) or _holds(known, value)):
            return missing_left
        return _holds(left, value)

    return np.array([0.0 if goes_left(value) else 1.0 for value in values], dtype=np.float32)


def _holds(bits: NDArray[np.uint32], value: int) -> bool:
    return bool(int(bits[value // BITS]) >> (value % BITS) & 1)


class Tables(Protocol):
    """Trees with tables; `EncodedTrees` is one."""

    @property
    def tables(self) -> tuple[tuple[int, NDArray[np.float32]], ...]:
        """Give per column its position in the frame and its table."""


def prepend(
    graph: Any,  # noqa: ANN401  (an ONNX model)
    encoded: Tables,
    name: str,
    width: int,
    *,
    dtype: Literal["float32", "float64"] = "float32",
) -> None:
    """Put the look-up of the indicators before a graph that takes them: its input becomes the frame's matrix."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415  (only registering needs it)

    kind = TensorProto.FLOAT if dtype == "float32" else TensorProto.DOUBLE
    body = graph.graph
    extended = "extended"
    for node in body.node:
        for position, used in enumerate(node.input):
            if used == name:
                node.input[position] = extended
    nodes = []
    parts = [name]
    constants: dict[str, NDArray[np.generic]] = {"one": np.array(1, dtype=np.int64)}
    for place, table in encoded.tables:
        constants |= {f"table_{place}": table.astype(dtype), f"place_{place}": np.array(place, dtype=np.int64)}
        nodes += [
            helper.make_node("Gather", [name, f"place_{place}"], [f"column_{place}"], axis=1),
            helper.make_node("Cast", [f"column_{place}"], [f"code_{place}"], to=TensorProto.INT64),
            helper.make_node("Add", [f"code_{place}", "one"], [f"row_{place}"]),
            helper.make_node("Gather", [f"table_{place}", f"row_{place}"], [f"indicators_{place}"], axis=0),
        ]
        parts.append(f"indicators_{place}")
    nodes.append(helper.make_node("Concat", parts, [extended], axis=1))
    kept = list(body.node)
    del body.node[:]
    body.node.extend([*nodes, *kept])
    body.initializer.extend([numpy_helper.from_array(value, key) for key, value in constants.items()])
    del body.input[:]
    body.input.append(helper.make_tensor_value_info(name, kind, [None, width]))

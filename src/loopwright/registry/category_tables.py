"""Splits of boosted trees on sets of categories, as comparisons of looked-up numbers.

ONNX tree nodes compare numbers. The categories of a column are fixed at training, so each set of them becomes a column
of a table: 0 where a category's code goes left, 1 where it goes right, and the same for a missing one. The graph looks
the codes up and appends what it finds to the features (`loopwright.registry.hist_categories.prepend`), and the split
becomes "looked-up number <= 0.5".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from loopwright.registry.cannot_compile import CannotCompileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.features.field import Field
    from loopwright.registry.tree_ensemble import Trees


@dataclass(frozen=True, eq=False)
class TabledTrees:
    """Hold trees whose every split compares numbers.

    Attributes:
        trees: The trees.
        tables: Per column with categories its position in the frame and its table, shape (1 + categories, sets): row 0
            for a missing value, row 1 + code for a category.
    """

    trees: Trees
    tables: tuple[tuple[int, NDArray[np.float32]], ...] = ()

    @property
    def indicators(self) -> int:
        """Count the numbers that are appended to the features."""
        return sum(table.shape[1] for _, table in self.tables)


def with_tables(trees: Trees, fields: tuple[Field, ...]) -> TabledTrees:
    """Rewrite the splits on sets of categories; trees without any come back as they are.

    Args:
        trees: The trees.
        fields: The features, in the order of training.

    Raises:
        CannotCompileError: When the trees split on categories of a column that has none.
    """
    columns = [field for field in fields for _ in range(field.width)]
    sets: dict[int, list[NDArray[np.float32]]] = {}
    places: list[list[tuple[int, int, int]]] = []
    for tree in trees.trees:
        moved = []
        for split in tree.sets:
            position = int(tree.feature[split.node])
            known = columns[position].categories if columns[position].dtype == "category" else ()
            if not known:
                raise CannotCompileError(f"it splits on categories of '{columns[position].name}', which has numbers")
            sides = [split.missing_left, *map(split.goes_left, range(len(known)))]
            found = sets.setdefault(position, [])
            moved.append((split.node, position, len(found)))
            found.append(np.array([0.0 if left else 1.0 for left in sides], dtype=np.float32))
        places.append(moved)
    if not sets:
        return TabledTrees(trees)
    order = sorted(sets)
    first = dict(zip(order, len(columns) + np.cumsum([0, *(len(sets[place]) for place in order[:-1])]), strict=True))
    rewritten = []
    for tree, moved in zip(trees.trees, places, strict=True):
        feature, threshold = tree.feature.copy(), tree.threshold.copy()
        for node, position, rank in moved:
            feature[node], threshold[node] = int(first[position]) + rank, 0.5
        rewritten.append(replace(tree, feature=feature, threshold=threshold, sets=()))
    tables = tuple((place, np.stack(sets[place], axis=1)) for place in order)
    return TabledTrees(replace(trees, trees=tuple(rewritten)), tables)

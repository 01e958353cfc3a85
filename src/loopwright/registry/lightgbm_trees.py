"""Read the trees of a LightGBM booster.

Source of the form: `Booster.dump_model` and ``NumericalDecision`` in LightGBM's ``include/LightGBM/tree.h``. LightGBM
compares float64 numbers with ``<=``. What a missing value does is said per node: with missing type ``NaN`` it goes
where `default_left` says; with ``None`` it counts as 0; with ``Zero`` every 0 counts as missing, which a graph's nodes
cannot say. Numbers within 1e-35 of 0 are 0 to LightGBM (``kZeroThreshold`` in ``include/LightGBM/meta.h``): thresholds
there are moved so that all of them stay on the side of 0. An infinite threshold is dumped as 1e300 (``AvoidInf``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from loopwright.registry.cannot_compile import CannotCompileError
from loopwright.registry.tree_ensemble import SetSplit, Tree, Trees

if TYPE_CHECKING:
    from loopwright.registry.tree_ensemble import Transform

IDENTITY = frozenset(
    {"regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "none"}
)
INFINITE = 1e300
ZERO = float(np.float32(1e-35))
EXPONENTIAL = frozenset({"poisson", "gamma", "tweedie"})


def lightgbm_trees(booster: Any, *, classifies: bool) -> Trees:  # noqa: ANN401  (a ``lightgbm.Booster``)
    """Read a booster's trees, up to the best iteration where training was stopped early.

    Args:
        booster: A ``lightgbm.Booster``.
        classifies: Whether its answers are probabilities of classes.

    Raises:
        CannotCompileError: For what a graph cannot say: zeros that count as missing, linear leaves, objectives of one's
            own.
    """
    dumped = booster.dump_model()
    per_iteration = int(dumped["num_tree_per_iteration"])
    transform, scale = _objective(str(dumped.get("objective", "none")))
    if dumped.get("average_output"):
        scale *= per_iteration / max(1, len(dumped["tree_info"]))
    trees = tuple(
        _tree(info["tree_structure"], place % per_iteration, scale) for place, info in enumerate(dumped["tree_info"])
    )
    if not trees:
        raise CannotCompileError("it has no trees")
    if classifies and transform not in {"sigmoid", "softmax"}:
        raise CannotCompileError("its objective gives no probabilities")
    return Trees(trees, (0.0,) * per_iteration, "BRANCH_LEQ", transform, classifies, "float64")


def _objective(text: str) -> tuple[Transform, float]:
    """Read what is made of the sums, and by what they are multiplied first."""
    name, *rest = text.split()
    options = dict(part.partition(":")[::2] for part in rest)
    if name in IDENTITY and "sqrt" not in rest:
        return "identity", 1.0
    if name in EXPONENTIAL:
        return "exponential", 1.0
    if name in {"binary", "multiclassova"}:
        return "sigmoid", float(options.get("sigmoid", 1.0))
    if name == "cross_entropy":
        return "sigmoid", 1.0
    if name == "multiclass":
        return "softmax", 1.0
    raise CannotCompileError(f"no graph is known for the objective '{text}'")


def _tree(root: dict[str, Any], target: int, scale: float) -> Tree:
    rows: list[tuple[int, float, int, int, bool, float]] = []
    stack: list[tuple[dict[str, Any], int, int]] = [(root, -1, 0)]  # a node, its parent's place, and the side
    links: list[list[int]] = []
    sets: list[SetSplit] = []
    while stack:
        node, parent, side = stack.pop()
        place = len(rows)
        if parent >= 0:
            links[parent][side] = place
        links.append([-1, -1])
        if "split_feature" not in node:
            if node.get("leaf_features"):
                raise CannotCompileError("its leaves are linear models")
            rows.append((0, 0.0, -1, -1, False, float(node["leaf_value"]) * scale))
            continue
        if node["decision_type"] == "==":  # codes in the set go left; any other and a missing one go right
            codes = frozenset(map(int, str(node["threshold"]).split("||")))
            sets.append(SetSplit(place, codes, codes_left=True, missing_left=False))
            rows.append((int(node["split_feature"]), 0.0, 0, 0, False, 0.0))
        else:
            rows.append((int(node["split_feature"]), *_decision(node), 0.0))
        stack += [(node["right_child"], place, 1), (node["left_child"], place, 0)]
    feature, threshold, _, _, missing, value = (np.array(column) for column in zip(*rows, strict=True))
    sides = np.array(links, dtype=np.int64)
    return Tree(
        feature=feature.astype(np.int64),
        threshold=threshold.astype(np.float64),
        left=sides[:, 0],
        right=sides[:, 1],
        missing_left=missing,
        value=value,
        target=target,
        sets=tuple(sets),
    )


def _decision(node: dict[str, Any]) -> tuple[float, int, int, bool]:
    """Read the threshold of a split, and whether a missing value goes left."""
    threshold = float(node["threshold"])
    if -ZERO <= threshold <= ZERO:
        threshold = ZERO if threshold >= 0 else float(np.nextafter(-ZERO, -np.inf))
    if abs(threshold) >= INFINITE:
        threshold = math.copysign(math.inf, threshold)
    if node["missing_type"] == "Zero":
        raise CannotCompileError("it takes 0 for a missing value, and a graph takes NaN only")
    missing_left = bool(node["default_left"]) if node["missing_type"] == "NaN" else threshold >= 0.0
    return threshold, 0, 0, missing_left

"""Read the trees of an XGBoost model.

Source of the form: XGBoost's JSON model schema (``doc/model.schema``). XGBoost compares float32 numbers with ``<``,
sends a missing value where `default_left` says, and begins each sum with the base score, which it keeps as the
objective's answer, not as a sum: the logarithm or log-odds of it is where the sums begin.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loopwright.registry.cannot_compile import CannotCompileError
from loopwright.registry.tree_ensemble import SetSplit, Tree, Trees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopwright.registry.tree_ensemble import Transform

IDENTITY = frozenset(
    {
        *("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"),
        *("reg:linear", "rank:pairwise", "rank:ndcg", "rank:map", "binary:logitraw"),
    }
)
SIGMOID = frozenset({"binary:logistic", "reg:logistic"})
EXPONENTIAL = frozenset({"count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"})
SOFTMAX = frozenset({"multi:softprob", "multi:softmax"})


def xgboost_trees(booster: Any, *, classifies: bool, best_only: bool, missing: float = math.nan) -> Trees:  # noqa: ANN401
    """Read a booster's trees.

    Args:
        booster: An ``xgboost.Booster``.
        classifies: Whether its answers are probabilities of classes.
        best_only: Leave out what came after the best iteration of an early stopping, as the estimators do.
        missing: The number that stands for a missing value.

    Raises:
        CannotCompileError: For what a graph cannot say: linear boosters, leaves of several numbers, objectives of one's
            own.
    """
    if not math.isnan(missing):
        raise CannotCompileError(f"it takes the number {missing:g} for a missing value, and a graph takes NaN only")
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    transform = _transform(learner["objective"]["name"])
    boosted = learner["gradient_booster"]
    drop: list[float] | None = None
    if boosted["name"] == "dart":
        drop = boosted["weight_drop"]
        boosted = boosted["gbtree"]
    if boosted["name"] != "gbtree":
        raise CannotCompileError(f"its booster is {boosted['name']}, which has no trees")
    model = boosted["model"]
    count = len(model["trees"])
    best = learner.get("attributes", {}).get("best_iteration")
    if best_only and best is not None:
        count = model["iteration_indptr"][int(best) + 1]
    said = learner["learner_model_param"]
    targets = max(1, int(said["num_class"]), int(said.get("num_target", 1)))
    trees = tuple(
        _tree(model["trees"][place], model["tree_info"][place], 1.0 if drop is None else drop[place])
        for place in range(count)
    )
    if not trees:
        raise CannotCompileError("it has no trees")
    if classifies and transform not in {"sigmoid", "softmax"}:
        raise CannotCompileError(f"its objective {learner['objective']['name']} gives no probabilities")
    base = _base(said["base_score"], targets, transform)
    return Trees(trees, base, "BRANCH_LT", transform, classifies, "float32")


def _transform(objective: str) -> Transform:
    kinds: tuple[tuple[Transform, frozenset[str]], ...] = (
        ("identity", IDENTITY),
        ("sigmoid", SIGMOID),
        ("exponential", EXPONENTIAL),
        ("softmax", SOFTMAX),
    )
    for transform, known in kinds:
        if objective in known:
            return transform
    raise CannotCompileError(f"no graph is known for the objective {objective}")


def _base(score: str, targets: int, transform: Transform) -> tuple[float, ...]:
    read = json.loads(score)  # a list since XGBoost 3.1, a number before
    scores = [float(one) for one in (read if isinstance(read, list) else [read])]
    if len(scores) == 1:
        scores *= targets
    inverse: dict[Transform, Callable[[float], float]] = {
        "sigmoid": lambda share: math.log(share) - math.log1p(-share),
        "exponential": math.log,
    }
    return tuple(inverse.get(transform, float)(one) for one in scores)


def _tree(node: dict[str, Any], target: int, weight: float) -> Tree:
    if int(node["tree_param"].get("size_leaf_vector", "1")) > 1:
        raise CannotCompileError("its leaves hold several numbers each")
    left = np.array(node["left_children"], dtype=np.int64)
    conditions = np.array(node["split_conditions"], dtype=np.float32).astype(np.float64)
    leaf = left < 0
    return Tree(
        feature=np.array(node["split_indices"], dtype=np.int64),
        threshold=conditions,
        left=left,
        right=np.array(node["right_children"], dtype=np.int64),
        missing_left=np.array(node["default_left"], dtype=np.bool_),
        value=cast("Any", np.where(leaf, conditions * weight, 0.0)),
        target=int(target),
        sets=tuple(_sets(node)),
    )


def _sets(node: dict[str, Any]) -> Iterator[SetSplit]:
    """Read the splits on categories: what is kept per node are the codes that go right."""
    for place, begin, count in zip(
        node["categories_nodes"], node["categories_segments"], node["categories_sizes"], strict=True
    ):
        codes = frozenset(int(code) for code in node["categories"][begin : begin + count])
        yield SetSplit(int(place), codes, codes_left=False, missing_left=bool(node["default_left"][place]))

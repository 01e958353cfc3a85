"""The evaluator end to end: figures, comparison, verdict, facts, and what it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from loopwright.core.errors import BudgetSpentError, DeclarationError
from loopwright.core.ref import Ref
from loopwright.evaluation.evaluation import Evaluation
from loopwright.evaluation.evaluator import EvaluationRequest, Evaluator
from loopwright.evaluation.gate import at_least, at_most, beats_champion, every_slice, no_worse_than_champion
from loopwright.evaluation.holdout import Holdout, open_holdout
from loopwright.evaluation.outputs import Outputs
from loopwright.features.field import Field

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.evaluation.evaluator import Predict

    MakeHoldout = Callable[..., Holdout]
    Pace = Callable[[float], Predict]

GATES = (beats_champion("mae"), at_most("mae", 3.0), every_slice("city", "mae", within=0.25))
OLD, NEW = Ref("model", "eta/1"), Ref("model", "eta/2")


def request(subject: Ref, holdout: Holdout, predict: Predict, **changes: object) -> EvaluationRequest:
    return EvaluationRequest(subject, holdout, predict, ("mae", "rmse"), gates=GATES, **changes)  # type: ignore[arg-type]


def test_a_first_model_and_a_better_one_pass(stores: Stores, make_holdout: MakeHoldout, pace: Pace) -> None:
    holdout, evaluator = make_holdout(), Evaluator(stores)
    old = evaluator.evaluate(request(OLD, holdout, pace(4.3)))
    first = evaluator.verdict(GATES, old, None, holdout)
    assert first.outcome == "pass"
    assert "No champion" in first.rules[0].reason

    new = evaluator.evaluate(request(NEW, holdout, pace(4.0)))
    verdict = evaluator.verdict(GATES, new, old, holdout)
    assert [rule.outcome for rule in verdict.rules] == ["pass", "pass", "pass"]
    assert verdict.champion == "model:eta/1"
    assert evaluator.passing_verdict(NEW) == verdict
    assert evaluator.passing_verdict(NEW, champion=OLD) == verdict
    assert evaluator.passing_verdict(NEW, champion=Ref("model", "eta/9")) is None
    assert evaluator.passing_verdict(Ref("model", "eta/9")) is None

    back = evaluator.verdict(GATES, old, new, holdout)
    assert back.outcome == "fail"
    assert evaluator.passing_verdict(OLD) is None  # the latest verdict counts
    assert Evaluation.from_json(json.loads(json.dumps(new.to_json()))) == new


def test_the_figures_are_right(stores: Stores, make_holdout: MakeHoldout, pace: Pace) -> None:
    holdout = make_holdout()
    evaluation = Evaluator(stores).evaluate(request(NEW, holdout, pace(4.0), slices=["city", "distance_km"]))
    error = holdout.y - 4.0 * holdout.column("distance_km").astype(float)
    assert evaluation.metrics["mae"].value == pytest.approx(np.abs(error).mean())
    assert evaluation.metrics["rmse"].value == pytest.approx(np.sqrt((error**2).mean()))
    assert evaluation.released["mae"] == pytest.approx(evaluation.metrics["mae"].value, abs=0.02)
    assert evaluation.metrics["mae"].interval(0.99).contains(2 * np.sqrt(2 / np.pi))
    assert {s.label for s in evaluation.slices if s.column == "city"} == {"Oslo", "Bergen"}
    assert len({s.label for s in evaluation.slices if s.column == "distance_km"}) == 5
    assert evaluation.reference.mean == pytest.approx(np.abs(error).mean())
    assert evaluation.reference.detector(average_run_length=1e4).form == "betting"
    assert evaluation.reference.upper > evaluation.reference.rate


def test_the_same_question_is_answered_from_the_facts(stores: Stores, make_holdout: MakeHoldout, pace: Pace) -> None:
    holdout, evaluator = make_holdout(), Evaluator(stores)
    calls = []

    def counted(features: object) -> Outputs:
        calls.append(1)
        return pace(4.0)(features)  # type: ignore[arg-type]

    first = evaluator.evaluate(request(NEW, holdout, counted))
    assert evaluator.evaluate(request(NEW, holdout, counted)) == first
    assert Evaluator(stores).evaluate(request(NEW, holdout, counted)) == first
    assert len(calls) == 1
    verdict = evaluator.verdict(GATES, first, None, holdout)
    assert evaluator.verdict(GATES, first, None, holdout) == verdict
    assert evaluator.records.verdicts(NEW) == [verdict]
    assert evaluator.records.evaluations(NEW) == [first]
    assert [read.metric for read in evaluator.ledger.reads(holdout.digest)] == ["mae", "rmse"]


def test_the_same_seed_gives_the_same_bounds(stores: Stores, make_holdout: MakeHoldout, pace: Pace) -> None:
    holdout, evaluator = make_holdout(), Evaluator(stores)
    first = evaluator.evaluate(request(OLD, holdout, pace(4.0)))
    second = evaluator.evaluate(request(NEW, holdout, pace(4.0)))
    third = evaluator.evaluate(request(NEW, holdout, pace(4.0), seed=1))
    assert first.metrics == second.metrics
    assert third.metrics != second.metrics


def test_a_retired_holdout_is_refused_before_the_model_is_asked(
    stores: Stores, make_holdout: MakeHoldout, pace: Pace
) -> None:
    holdout, evaluator = make_holdout(), Evaluator(stores, budget=2)
    evaluator.evaluate(request(OLD, holdout, pace(4.3)))
    asked = []

    def never(features: object) -> Outputs:
        asked.append(features)
        return pace(4.0)(features)  # type: ignore[arg-type]

    with pytest.raises(BudgetSpentError, match="retired"):
        evaluator.evaluate(request(NEW, holdout, never))
    assert asked == []
    assert evaluator.evaluate(request(OLD, holdout, pace(4.3))).rows == 600


def test_dependent_rows_are_resampled_together(stores: Stores, make_holdout: MakeHoldout) -> None:
    holdout = make_holdout()
    evaluator = Evaluator(stores, resamples=200)

    def late(features: object) -> Outputs:
        slow = np.asarray(features["distance_km"]) > 5.5  # type: ignore[index]
        return Outputs("regression", np.where(slow, 31.0, 13.0))

    asked = EvaluationRequest(NEW, holdout, late, ("mae", "r2", "mape", "median_absolute_error"), cluster="city")
    evaluation = evaluator.evaluate(asked)
    plain = EvaluationRequest(OLD, holdout, late, ("mae",))
    assert evaluation.metrics["mae"].standard_error != evaluator.evaluate(plain).metrics["mae"].standard_error
    compared = evaluator.compare(evaluation, evaluator.evaluate(plain), holdout, ["mae"], cluster="city")
    assert compared["mae"].difference.value == 0.0


def test_a_classifier(stores: Stores, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    digit = rng.integers(0, 3, 400)
    table = pa.table(
        {
            "ink": digit + rng.normal(0, 0.3, 400),
            "__label__": digit,
            "__key__": [str(i) for i in range(400)],
            "__event_time__": pa.array(np.arange(400), pa.timestamp("us", "UTC")),
        }
    )
    path = tmp_path / "digits.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    holdout = open_holdout(path, (Field("ink", "float64"),), Field("digit", "int64", origin="label"))

    def model(offset: float) -> Predict:
        def predict(features: object) -> Outputs:
            ink = np.asarray(features["ink"]) + offset  # type: ignore[index]
            scores = np.exp(-((ink[:, None] - np.arange(3)) ** 2) / 0.2)
            probabilities = scores / scores.sum(axis=1, keepdims=True)
            return Outputs("multiclass", probabilities.argmax(axis=1), probabilities, (0, 1, 2))

        return predict

    gates = (beats_champion("accuracy"), no_worse_than_champion("log_loss", by=0.05), at_least("f1", 0.8))
    evaluator = Evaluator(stores, resamples=300)
    names = ("accuracy", "roc_auc", "brier")
    old = evaluator.evaluate(EvaluationRequest(OLD, holdout, model(0.4), names, gates=gates))
    new = evaluator.evaluate(EvaluationRequest(NEW, holdout, model(0.0), names, gates=gates))
    assert set(new.metrics) == {"accuracy", "roc_auc", "brier", "log_loss", "f1"}
    assert new.reference.kind == "zero_one"
    verdict = evaluator.verdict(gates, new, old, holdout)
    assert verdict.outcome == "pass", verdict.reasons
    assert "mcnemar" in verdict.rules[0].reason
    assert evaluator.verdict(gates, old, new, holdout).outcome == "fail"


def test_misuse_is_one_clear_error(stores: Stores, make_holdout: MakeHoldout, pace: Pace) -> None:
    holdout, evaluator = make_holdout(), Evaluator(stores, resamples=100)
    with pytest.raises(DeclarationError, match="answered 1 rows for a holdout of 600"):
        evaluator.evaluate(request(NEW, holdout, lambda _: Outputs("regression", np.zeros(1))))
    with pytest.raises(DeclarationError, match="accuracy does not apply to regression outputs"):
        evaluator.evaluate(EvaluationRequest(NEW, holdout, pace(4.0), ("accuracy",)))
    with pytest.raises(DeclarationError, match="no column 'town'"):
        evaluator.evaluate(EvaluationRequest(NEW, holdout, pace(4.0), ("mae",), slices=("town",)))
    with pytest.raises(DeclarationError, match="at least one metric"):
        evaluator.evaluate(EvaluationRequest(NEW, holdout, pace(4.0), ()))
    assert evaluator.ledger.reads(holdout.digest) == []  # nothing was answered, nothing is written
    here = evaluator.evaluate(EvaluationRequest(NEW, holdout, pace(4.0), ("mae",)))
    there = evaluator.evaluate(EvaluationRequest(OLD, make_holdout(seed=1), pace(4.0), ("mae",)))
    with pytest.raises(DeclarationError, match="different rows"):
        evaluator.compare(here, there, holdout, ["mae"])
    with pytest.raises(DeclarationError, match="lacks rmse"):
        evaluator.verdict([at_most("rmse", 1.0)], here, None, holdout)


def test_lineage_leads_from_the_verdict_to_the_model_and_the_holdout(
    stores: Stores, make_holdout: MakeHoldout, pace: Pace
) -> None:
    holdout, evaluator = make_holdout(), Evaluator(stores, resamples=100)
    evaluation = evaluator.evaluate(request(NEW, holdout, pace(4.0)))
    verdict = evaluator.verdict(GATES, evaluation, None, holdout)
    sources = {str(edge.source) for edge in stores.lineage.ancestors(Ref("verdict", verdict.id))}
    assert {f"evaluation:{evaluation.id}", "model:eta/2", f"holdout:{holdout.digest}"} <= sources

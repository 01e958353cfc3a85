from __future__ import annotations

import dataclasses
import json

from sklearn.linear_model import Ridge

from loopwright.evaluation.estimate import normal_estimate
from loopwright.evaluation.evaluation import Evaluation
from loopwright.evaluation.loss import ReferenceLoss
from loopwright.evaluation.records import EvaluationRecords
from loopwright.evaluation.slices import SliceResult
from loopwright.evaluation.verdict import RuleResult, Verdict
from loopwright.registry.alias import Aliases
from loopwright.registry.card import card_of
from loopwright.registry.registry import Registry


def test_a_new_version_has_a_card(stores, runs):
    version = Registry(stores).register(runs.candidate(Ridge()))
    card = card_of(stores, version)
    page = card.markdown()
    assert page.startswith("# eta/1\n")
    assert "| x0 | float64 |" in page
    assert "not evaluated on a holdout yet" in page
    assert "`model:eta/1` registered as `run:run-1`" in page
    assert "compiled: ONNX" in page
    assert json.loads(json.dumps(card.to_json()))["lineage"][0]["source"] == "run:run-1"


def test_the_card_shows_the_newest_evaluation_verdict_and_alias(stores, runs, clock):
    version = Registry(stores).register(runs.candidate(Ridge()))
    mae = normal_estimate(5.1, 0.1, rows=900, method="bootstrap")
    excess = normal_estimate(0.25, 0.1, rows=90, method="bootstrap")
    reference = ReferenceLoss("absolute_error", 20.0, 5.1, 0.2, 0.22, 900)
    slices = (
        SliceResult("city", "Oslo|centre", "mae", 90, mae, excess),
        SliceResult("city", "x", "mae", 2, None, None),
    )
    evaluation = Evaluation(
        stores.ids.new(),
        str(version.ref),
        "ab" * 32,
        "regression",
        900,
        {"mae": mae},
        {},
        slices,
        reference,
        "cd" * 32,
        0,
    )
    verdict = Verdict(stores.ids.new(), str(version.ref), None, "h", (RuleResult("mae is at most 6", "pass", "5.1"),))
    records = EvaluationRecords(stores.facts)
    with stores.facts.write() as connection:
        records.add_evaluation(evaluation, question="a", created_at=clock.now(), connection=connection)
        records.add_verdict(verdict, question="b", created_at=clock.now(), connection=connection)
    Aliases(stores).move("eta", "champion", 1, expected=None, by="loop")
    card = card_of(stores, version)
    page = card.markdown()
    assert page.startswith("# eta/1 (champion)\n")
    assert "| mae | 5.1 | 4.904 to 5.296 |" in page
    assert "| city = Oslo\\|centre | 90 | mae | 25% |" in page
    assert "**pass**" in page
    assert "| mae is at most 6 | pass | 5.1 |" in page
    assert json.loads(json.dumps(card.to_json()))["verdict"]["outcome"] == "pass"


def test_the_card_says_why_there_is_no_compiled_form(stores, runs):
    registry = Registry(stores)
    version = registry.register(runs.candidate(Ridge()))
    native = dataclasses.replace(version, compiled=None, not_compiled_because="the answers differ", notes="Take care.")
    page = dataclasses.replace(card_of(stores, version), version=native).markdown()
    assert "compiled: none, because the answers differ" in page
    assert "Take care." in page

"""Levels from evidence: nothing shown is level 0, everything shown is level 3, and every remedy exists."""

from __future__ import annotations

import ast
import inspect
import shlex
from dataclasses import fields, replace

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

import loopwright as lw
from loopwright.app.cli.main import build
from loopwright.planning.evidence import DatasetEvidence, Evidence, ModelEvidence
from loopwright.planning.maturity import Finding, assess

NOTHING = Evidence("p", (DatasetEvidence("orders"),), (ModelEvidence("eta"),))
DECLARED = ModelEvidence(
    "eta", gates=1, triggers=1, is_online=True, is_deployed=True, has_steps=True, has_objectives=True,
    watches_drift=True, kpis=("refund_rate",),
)  # fmt: skip
TRAINED = replace(DECLARED, runs_by_turn=2, turns_by_trigger=1, versions=2, proven_versions=2, verdicts=2)
DEPLOYED = replace(TRAINED, champion="eta/2", answered=9, promotions=2, former_champions=1, releases_promoted=1)
CLOSED = replace(
    DEPLOYED, watched_buckets=3, drift_windows=2, loss_windows=2, kpi_values=5, signals=1, turns_by_signal=1,
    promotions_by_signal=1,
)  # fmt: skip
ORDERS = (DatasetEvidence("orders", 3, 4),)
FULL = Evidence("p", ORDERS, (CLOSED,), 1, 2, has_workload=True, has_plan=True, plan_looks=9)


@pytest.mark.parametrize(
    ("evidence", "level"),
    [
        (Evidence("p"), 0),
        (NOTHING, 0),
        (Evidence("p", ORDERS, (DECLARED,)), 0),
        (Evidence("p", ORDERS, (TRAINED,)), 1),
        (Evidence("p", ORDERS, (DEPLOYED,)), 2),
        (Evidence("p", ORDERS, (CLOSED,)), 2),
        (FULL, 3),
        (replace(FULL, models=(CLOSED, TRAINED)), 1),
        (replace(FULL, datasets=(DatasetEvidence("orders", 3, 0),)), 0),
    ],
)
def test_a_level_needs_all_of_its_evidence_for_every_model(evidence: Evidence, level: int) -> None:
    found = assess(evidence)
    assert found.level == level
    assert all((one.remedy is None) == one.is_met for one in found.findings)
    assert (found.missing == ()) == (level == 3)


def test_a_declaration_is_a_promise_and_asks_for_a_command_next() -> None:
    bare = {one.name: one for one in assess(NOTHING).missing}
    declared = {one.name: one for one in assess(Evidence("p", ORDERS, (DECLARED,))).missing}
    for name in (
        "begun by a trigger",
        "released in steps",
        "data watched",
        "business watched",
        "judged on sealed rows",
    ):
        assert bare[name].remedy is not None
        assert declared[name].remedy is not None
        assert bare[name].remedy.kind == "declaration"
        assert declared[name].remedy.kind == "command"
    assert declared["business watched"].remedy.text == "loopwright kpi eta refund_rate 0.01"


def test_a_model_that_only_scores_batches_needs_no_release_in_steps() -> None:
    batch = replace(CLOSED, is_online=False, has_steps=False, releases_promoted=0, watched_buckets=0)
    assert assess(replace(FULL, models=(batch,))).level == 3


def _remedies() -> list[Finding]:
    cases = [Evidence("p"), NOTHING, Evidence("p", ORDERS, (DECLARED,), alert_channels=1, has_workload=True)]
    cases += [replace(cases[-1], has_plan=True)]
    return [one for case in cases for one in assess(case).missing]


def test_every_command_that_is_named_exists_and_takes_these_words() -> None:
    commands = {one.remedy.text for one in _remedies() if one.remedy is not None and one.remedy.kind == "command"}
    assert len(commands) > 5
    for text in commands:
        program, verb, *words = shlex.split(text)
        assert program == "loopwright"
        context = typer.main.get_command(build(verb)).make_context("loopwright", [verb, *words])
        command, name = context.command, verb
        while hasattr(command, "commands"):
            name, command, words = command.resolve_command(context, [name, *words])
            context = command.make_context(name, list(words), parent=context)
            name, *words = [*context._protected_args, *context.args] if hasattr(command, "commands") else [""]


def test_every_declaration_that_is_named_can_be_written() -> None:
    texts = {one.remedy.text for one in _remedies() if one.remedy is not None and one.remedy.kind == "declaration"}
    assert len(texts) > 5
    for text in texts:
        calls = [node for node in ast.walk(ast.parse(text.lstrip("@"))) if isinstance(node, ast.Call)]
        for call in calls:
            assert isinstance(call.func, ast.Attribute)
            assert isinstance(call.func.value, ast.Name)
            owner = {"loop": lw.Loop, "lw": lw}[call.func.value.id]
            known = inspect.signature(getattr(owner, call.func.attr)).parameters
            assert {word.arg for word in call.keywords} <= set(known), text


COUNTS = [one.name for one in fields(ModelEvidence) if one.type == "int"]


@given(st.dictionaries(st.sampled_from(COUNTS), st.integers(0, 3)), st.sampled_from(COUNTS))
def test_more_evidence_never_lowers_the_level(counts: dict[str, int], name: str) -> None:
    model = replace(DECLARED, **counts)
    more = replace(model, **{name: getattr(model, name) + 1})
    assert assess(replace(FULL, models=(more,))).level >= assess(replace(FULL, models=(model,))).level

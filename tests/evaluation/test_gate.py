"""Gates are checked where they are written, and survive JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import DeclarationError, UnknownNameError
from loopwright.evaluation.gate import (
    Gate,
    at_least,
    at_most,
    beats_champion,
    every_slice,
    gate_from_json,
    gate_to_json,
    no_worse_than_champion,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "declare",
    [
        lambda: beats_champion("maee"),
        lambda: at_most("maee", 6.0),
        lambda: at_least("maee", 6.0),
        lambda: every_slice("city", "maee", within=0.1),
        lambda: no_worse_than_champion("maee", by=0.1),
    ],
)
def test_an_unknown_metric_is_one_clear_error_at_declaration(declare: Callable[[], Gate]) -> None:
    with pytest.raises(UnknownNameError, match=r"There is no metric 'maee'\. Did you mean 'mae'\? Known: "):
        declare()


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: beats_champion("mae", margin=-1), "margin of at least 0"),
        (lambda: beats_champion("mae", confidence=95), "between 0.5 and 1"),
        (lambda: every_slice("city", "mae", within=-0.1), "within of at least 0"),
        (lambda: every_slice("city", "mae", within=0.1, min_rows=1), "min_rows of at least 2"),
        (lambda: no_worse_than_champion("mae", by=float("nan")), "by of at least 0"),
        (lambda: gate_from_json({"rule": "Other"}), "there is no gate"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(declare: Callable[[], object], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declare()


@pytest.mark.parametrize(
    "gate",
    [
        beats_champion("accuracy_score", margin=0.01),
        no_worse_than_champion("auc", by=0.02),
        at_most("mean_absolute_error", 6),
        at_least("r2", 0.3, confidence=0.9),
        every_slice("city", "mae", within=0.15),
    ],
)
def test_gates_survive_json(gate: Gate) -> None:
    assert gate_from_json(json.loads(json.dumps(gate_to_json(gate)))) == gate


def test_declarations_import_nothing_heavy() -> None:
    code = (
        "import sys, loopwright.evaluation.gate, loopwright.evaluation.verdict;"
        "print([m for m in ('numpy', 'scipy', 'sklearn', 'pandas', 'pyarrow', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

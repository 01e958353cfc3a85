"""An evaluator killed at any moment leaves whole evaluations, and finishes when asked again."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from loopwright.core.ids import Ids
from loopwright.core.ref import Ref
from loopwright.core.storage.stores import open_stores
from loopwright.evaluation.evaluator import EvaluationRequest, Evaluator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopwright.core.clock import ManualClock
    from loopwright.core.settings import Settings
    from loopwright.evaluation.evaluator import Predict
    from loopwright.evaluation.holdout import Holdout

CHILD = """
import sys
from pathlib import Path
import numpy as np
from loopwright.core.ref import Ref
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.evaluation.evaluator import EvaluationRequest, Evaluator
from loopwright.evaluation.holdout import open_holdout
from loopwright.evaluation.outputs import Outputs
from loopwright.features.field import Field

project, path = Path(sys.argv[1]), Path(sys.argv[2])
fields = (Field("distance_km", "float64"), Field("city", "category", categories=("Bergen", "Oslo")))
holdout = open_holdout(path, fields, Field("minutes", "float64", origin="label"))
evaluator = Evaluator(open_stores(Settings.load(project, environ={})), resamples=50)
for i in range(40):
    predict = lambda X: Outputs("regression", np.asarray(X["distance_km"]) * (3 + i / 40))
    evaluator.evaluate(EvaluationRequest(Ref("model", f"eta/{i}"), holdout, predict, ("mae", "rmse", "r2")))
    print(i, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 7, 20])
def test_killed_between_and_inside_evaluations(
    tmp_path: Path,
    settings: Settings,
    clock: ManualClock,
    make_holdout: Callable[..., Holdout],
    pace: Callable[[float], Predict],
    lines: int,
) -> None:
    holdout = make_holdout()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), str(tmp_path / "holdout-600-0.arrow")], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    for _ in range(lines):
        assert child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()

    stores = open_stores(settings, clock=clock, ids=Ids(clock))
    evaluator = Evaluator(stores, resamples=50)
    done = [i for i in range(40) if evaluator.records.evaluations(Ref("model", f"eta/{i}"))]
    assert done == list(range(len(done)))
    assert len(done) >= lines
    reads = evaluator.ledger.reads(holdout.digest)
    assert len(reads) == 3 * len(done)  # every evaluation with its ledger rows, none without

    for i in range(len(done) + 2):
        subject = Ref("model", f"eta/{i}")
        evaluator.evaluate(EvaluationRequest(subject, holdout, pace(3 + i / 40), ("mae", "rmse", "r2")))
        assert len(evaluator.records.evaluations(subject)) == 1
    assert len(evaluator.ledger.reads(holdout.digest)) == 3 * (len(done) + 2)
    stores.close()

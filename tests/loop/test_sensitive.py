"""A hashed column in the whole loop: trained on pseudonyms, asked with names, joined by key, and found by why."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from loopwright.core.clock import ManualClock
from loopwright.core.errors import FeatureError
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.core.pseudonyms import Pseudonyms
from loopwright.data.disclosure import HIDDEN
from loopwright.features.assembly import assembly_from_bytes
from loopwright.loop.loading import load_loop
from loopwright.loop.turn import run_turn
from loopwright.loop.why import seen_prediction, why_row
from loopwright.serving.predictor import Predictor
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = """
import loopwright as lw

loop = lw.Loop("fares")
rides = loop.dataset(
    "rides",
    source=lw.files("data/*.csv"),
    event_time="at",
    key="ride",
    contract=[
        lw.column("ride", "string", sensitive="hash"),
        lw.column("driver", "category", sensitive="hash"),
        lw.column("km", "float"),
        lw.column("at", "timestamp"),
        lw.column("fare", "float", sensitive=True),
    ],
)


@loop.model("fare", label=lw.label(rides.fare), features=[rides["driver", "km"]], holdout=lw.latest("50m"),
            metrics=["mae"], gates=[lw.at_most("mae", 1.0)])
def fare(train):
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    encode = make_column_transformer((OneHotEncoder(), ["driver"]), remainder="passthrough")
    return make_pipeline(encode, LinearRegression()).fit(train.X, train.y)


loop.deploy(fare, online=lw.online())
"""
EXTRA = {"ann": 10.0, "bo": 200.0, "cy": 3000.0}


def _write(folder: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    lines = ["ride,driver,km,at,fare"]
    for n in range(300):
        driver = list(EXTRA)[n % 3]
        km = 1 + n % 7
        lines.append(f"ride-{n},{driver},{km},{(start + timedelta(minutes=n)).isoformat()},{2 * km + EXTRA[driver]}")
    folder.mkdir()
    (folder / "a.csv").write_text("\n".join([*lines, ""]))


def test_requests_name_people_and_the_model_knows_pseudonyms(tmp_path: Path) -> None:
    _write(tmp_path / "data")
    (tmp_path / "loop.py").write_text(PROJECT)
    clock = ManualClock(datetime(2026, 2, 1, tzinfo=UTC))
    with Workspace.open(tmp_path, clock=clock, ids=Ids(clock, seeded_entropy(1))) as workspace:
        loop = load_loop(tmp_path)
        assert run_turn(loop, workspace).models["fare"]["promoted"] is True
        version = workspace.registry.get("fare", "champion")
        predictor = Predictor(workspace.registry.load(version), online=None, clock=clock)
        for driver, extra in EXTRA.items():
            answers = predictor.predict_many([{"driver": driver, "km": 4.0}])
            assert float(answers.values[0]) == pytest.approx(8 + extra, abs=0.5)
        names = Pseudonyms(workspace.stores.facts)
        stored = workspace.data.read(workspace.data.snapshot("rides"), columns=["driver"])["driver"].to_pylist()
        assert set(stored) == {names.of(driver) for driver in EXTRA}
        # A row is found by the name that its owner knows; its restricted value is on record as read.
        row = why_row(workspace, loop, "rides", "ride-7").row
        assert row is not None
        assert row.row["ride"] == names.of("ride-7")
        assert [read.columns for read in workspace.access.reads()] == [("fare",)]
        # The assembly alone, without the workspace's salt, cannot stand in.
        alone = assembly_from_bytes(workspace.stores.blobs.get(version.assembly_digest))
        with pytest.raises(FeatureError, match="pseudonyms were not given"):
            alone.assemble([{"driver": "ann", "km": 4.0}])


def test_a_viewer_is_told_why_without_restricted_values(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(PROJECT)
    with Workspace.open(tmp_path) as workspace:
        label = load_loop(tmp_path).models["fare"].label
        admin = workspace.access.create("ada", "admin")
        viewer = workspace.access.create("dash", "viewer")
    record = {"prediction_id": "p1", "features": '{"km": 4.0, "fare": 18.0}'}
    for secret, value, reads in ((viewer, HIDDEN, 0), (admin, 18.0, 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LOOPWRIGHT_ACCESS_TOKEN", secret)
            with Workspace.open(tmp_path) as workspace:
                served, outcome = seen_prediction(workspace, label, record, {"label": 18.0, "revision": 1})
                assert json.loads(str(served["features"])) == {"km": 4.0, "fare": value}
                assert outcome == {"label": value, "revision": 1}
                assert len(workspace.access.reads()) == reads
                derived = {"prediction_id": "p2", "features": '{"km": 4.0, "spent": 18.0}'}
                served, _ = seen_prediction(workspace, label, derived, None, restricted=("spent",))
                assert json.loads(str(served["features"])) == {"km": 4.0, "spent": value}
                assert len(workspace.access.reads()) == 2 * reads

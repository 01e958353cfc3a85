"""The champion is asked with its own inputs, or not at all: never with what another definition made of a name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.clock import ManualClock
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.core.ref import Ref
from loopwright.loop.loading import load_loop
from loopwright.loop.turn import run_turn
from loopwright.registry.version import model_versions
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = """
import loopwright as lw

loop = lw.Loop("rents")
homes = loop.dataset(
    "homes",
    source=lw.files("data/*.csv"),
    event_time="seen_at",
    key="home_id",
    contract=[
        lw.column("home_id", "int"),
        lw.column("area", "float"),
        lw.column("town", "category"),
        lw.column("floor", "int"),
        lw.column("seen_at", "timestamp"),
        lw.column("rent", "float"),
    ],
)


@loop.transform(homes.area)
def size(area):
    return area / 10


@loop.model(
    "rent",
    label=lw.label(homes.rent),
    features=[homes["town"], size],
    holdout=lw.latest("100m"),
    metrics=["mae"],
    gates=[lw.no_worse_than_champion("mae", by=0.5), lw.at_most("mae", 5.0)],
)
def rent(train):
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(make_column_transformer(("passthrough", ["size"])), LinearRegression()).fit(train.X, train.y)
"""


def _write(folder: Path, name: str, numbers: range, towns: tuple[str, ...]) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    lines = ["home_id,area,town,floor,seen_at,rent"]
    for n in numbers:
        area = 20 + n % 50
        seen = (start + timedelta(minutes=n)).isoformat()
        lines.append(f"{n},{area},{towns[n % len(towns)]},{n % 5},{seen},{100 + 7 * area}")
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join([*lines, ""]))


def test_a_champion_meets_a_changed_feature_set(tmp_path: Path) -> None:
    data, project = tmp_path / "data", tmp_path / "loop.py"
    clock = ManualClock(datetime(2026, 2, 1, tzinfo=UTC))
    with Workspace.open(tmp_path, clock=clock, ids=Ids(clock, seeded_entropy(1))) as workspace:

        def turn(text: str) -> tuple[dict[str, object], list[str], str]:
            project.write_text(text)
            clock.advance(timedelta(hours=1))
            result = run_turn(load_loop(tmp_path), workspace).models["rent"]
            (verdict,) = workspace.evaluation.records.verdicts(Ref("model", str(result["version"])))
            return result, [rule.outcome for rule in verdict.rules], verdict.rules[0].reason

        _write(data, "a.csv", range(300), ("Oslo", "Bergen"))
        first, outcomes, reason = turn(PROJECT)
        assert first["promoted"] is True
        assert outcomes == ["pass", "pass"]
        assert reason.startswith("No champion")

        # A town that the champion never saw, and a feature it does not take: it answers by what it knows.
        _write(data, "b.csv", range(300, 400), ("Oslo", "Bergen", "Tromsø"))
        second, outcomes, reason = turn(PROJECT.replace('homes["town"], size', 'homes["floor", "town"], size'))
        assert second["promoted"] is True
        assert outcomes == ["pass", "pass"]
        assert "against the champion's" in reason

        # The same name made by other code: the champion is asked with what its own code makes of the rows.
        third, outcomes, reason = turn(
            PROJECT.replace('homes["town"], size', 'homes["floor", "town"], size').replace("area / 10", "area / -3")
        )
        assert third["promoted"] is True
        assert outcomes == ["pass", "pass"]
        assert "against the champion's" in reason
        assert float(reason.split("champion's ")[1].split(":")[0]) < 1e-6  # by other code it would be hundreds

        # An input of the champion that is no feature any more.
        fourth, outcomes, reason = turn(PROJECT)
        assert fourth["promoted"] is True
        assert outcomes == ["pass", "pass"]
        assert "against the champion's" in reason


def test_a_champion_that_cannot_be_asked_is_no_champion_beaten(tmp_path: Path) -> None:
    """Its own features cannot be made: the definition was not kept, or it lies beyond the rows that are there."""
    data, project = tmp_path / "data", tmp_path / "loop.py"
    clock = ManualClock(datetime(2026, 2, 1, tzinfo=UTC))
    with Workspace.open(tmp_path, clock=clock, ids=Ids(clock, seeded_entropy(1))) as workspace:

        def turn(text: str) -> tuple[dict[str, object], list[str], str]:
            project.write_text(text)
            clock.advance(timedelta(hours=1))
            result = run_turn(load_loop(tmp_path), workspace).models["rent"]
            (verdict,) = workspace.evaluation.records.verdicts(Ref("model", str(result["version"])))
            return result, [rule.outcome for rule in verdict.rules], verdict.rules[0].reason

        _write(data, "a.csv", range(300), ("Oslo", "Bergen"))
        assert turn(PROJECT)[0]["promoted"] is True
        with workspace.stores.facts.write() as connection:
            row = connection.execute(sa.select(model_versions.c.record)).scalar_one()
            older = {name: value for name, value in row.items() if name != "definition_digest"}
            connection.execute(model_versions.update().values(record=older))
        second, outcomes, reason = turn(PROJECT.replace("area / 10", "area / -3"))
        assert second["promoted"] is False
        assert outcomes == ["not_enough_evidence", "pass"]
        assert "it takes size, which" in reason
        assert "was not kept" in reason

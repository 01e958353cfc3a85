"""The champion by hand: promoted with an override, rolled back, reproduced, with every move on record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def own(turned: Path, tmp_path: Path, bare: Callable) -> Callable:
    """Run a verb on a copy of the turned project, which may be changed."""
    project = tmp_path / "own"
    shutil.copytree(turned, project)
    return lambda *words: bare(*words, "--project", str(project))


def moves(own: Callable) -> list[tuple[int | None, int | None, str | None]]:
    found = json.loads(own("models", "history", "price", "--json").out)
    return [(move["from_version"], move["to_version"], move["override_reason"]) for move in found]


def test_the_champion_by_hand(own: Callable, tmp_path: Path) -> None:
    assert own("models", "promote", "price/1").out.strip() == "price/1 is champion already."
    path = tmp_path / "own" / "loop.py"
    path.write_text(
        path.read_text()
        .replace('lw.at_most("mae", 5.0)', 'lw.at_most("mae", -1.0)')
        .replace("LinearRegression()", "LinearRegression(positive=True)")
    )
    refused = own("run")
    assert refused.code == 3
    assert "No passing verdict for price" in refused.error
    assert own("models", "promote", "price/2").code == 3
    assert own("models", "promote", "price/2", "--override", "the gate is wrong").code == 0
    assert own("models", "rollback", "price", "--reason", "it was not").code == 0
    assert moves(own) == [(None, 1, None), (1, 2, "the gate is wrong"), (2, 1, "it was not")]
    assert "override: the gate is wrong" in own("models", "history", "price").out


def test_a_version_is_reproduced(own: Callable) -> None:
    report = json.loads(own("models", "reproduce", "price/1", "--json").out)
    assert report["equal_predictions"]
    assert report["same_file"]
    assert report["rows"] > 0

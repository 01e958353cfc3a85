"""``loopwright plan --keep`` and ``plan watch``: a project's plan held against what is seen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

FLAGS = ("--per-day", "200k", "--service-time", "30ms", "--clouds", "gcp", "--draws", "200")


@pytest.fixture
def project(turned: Path, tmp_path: Path) -> Path:
    """A copy of the project that has turned once, to write into."""
    return Path(shutil.copytree(turned, tmp_path / "project"))


def test_a_kept_plan_is_watched(bare: Callable[..., object], project: Path) -> None:
    kept = bare("plan", *FLAGS, "--keep", "--project", str(project))
    assert (kept.code, kept.error) == (0, "")
    assert f"Written: {project}/plan.json" in kept.out
    said = bare("plan", "watch", "--project", str(project))
    assert (said.code, said.error) == (0, "")
    assert "requests: 0 whole hours seen, and a day is needed" in said.out
    found = json.loads(bare("plan", "watch", "--project", str(project), "--bill", "90000", "--json").out)
    states = {one["check"]: one["state"] for one in found["held"]}
    assert states["cost"] == "broken"
    assert states["requests"] == states["trainings"] == "not known"
    assert [one["check"] for one in found["signals"]] == ["plan:cost"]
    assert "plan:cost" in bare("incidents", "list", "--project", str(project)).out
    assert "plan:cost" in bare("status", "--project", str(project)).out


def test_without_a_plan_the_way_to_one_is_said(bare: Callable[..., object], project: Path, tmp_path: Path) -> None:
    said = bare("plan", "watch", "--project", str(project))
    assert said.code == 2
    assert "keeps no plan" in said.error
    assert "loopwright plan --keep" in said.error
    (tmp_path / "other.json").write_text("no json")
    said = bare("plan", "watch", "--project", str(project), "--plan", str(tmp_path / "other.json"))
    assert said.code == 2
    assert "is no plan" in said.error
    said = bare("plan", *FLAGS, "--keep", "--project", str(tmp_path / "nowhere"))
    assert said.code != 0
    assert "Traceback" not in said.error

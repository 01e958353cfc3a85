"""The digits example: the demonstration tells it twice with the same numbers, and a user can run it from a copy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"
CLI = [sys.executable, "-m", "loopwright.app.cli.main"]
DIFFERENT = {"seconds_total", "why", "folder"}  # times, ids of predictions, places


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """What two demonstrations with the same seed found, told side by side."""
    folders = [tmp_path_factory.mktemp("demo") for _ in range(2)]
    told = [
        subprocess.Popen(
            [*CLI, "demo", "--json", "--folder", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    said = [process.communicate() for process in told]
    assert [process.returncode for process in told] == [0, 0], said
    return [json.loads(output) for output, _ in said]


def test_the_demo_ends_promoted(reports: list[dict[str, object]]) -> None:
    report = reports[0]
    assert report["seconds_total"] > 0
    assert report["rows_ingested"] >= 1000
    assert report["rows_quarantined"] == 5
    accuracy = report["accuracy"]
    assert accuracy["before"] > 0.9
    assert accuracy["after"] > accuracy["drifted"] + 0.5
    assert 0 < report["rows_until_signal"] <= 350
    assert report["requests"] > 500
    assert report["requests_failed"] == 0
    assert report["champion"] == {"before": "digit/1", "after": "digit/2"}
    assert [one["version"] for one in report["verdicts"]] == ["digit/1", "digit/2"]
    assert {one["verdict"] for one in report["verdicts"]} == {"pass"}
    assert [one["version"] for one in report["turns"]] == ["digit/1", "digit/2"]
    assert report["turns"][1]["cause"].startswith("loss of digit/1")
    assert report["drift_features"]
    assert any("data/images/digit-01000.png" in line for line in report["why"])


def test_the_same_seed_gives_the_same_numbers(reports: list[dict[str, object]]) -> None:
    first, second = ({name: one[name] for name in one if name not in DIFFERENT} for one in reports)
    assert first == second


def test_as_its_user_would(tmp_path: Path) -> None:
    """``python camera.py`` and ``loopwright run`` in a copy; a second run finds nothing new."""
    for file in ("loop.py", "camera.py"):
        shutil.copyfile(EXAMPLE / file, tmp_path / file)
    shell = [[sys.executable, "camera.py"], [*CLI, "run"], [*CLI, "run"]]
    said = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout for command in shell
    ]
    assert "1000 pictures with labels and 5 faulty ones" in said[0]
    assert "digit/1 is champion" in said[1]
    assert "Nothing new" in said[2]

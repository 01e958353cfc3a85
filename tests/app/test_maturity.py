"""``loopwright maturity``: a project's level from its stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


def test_a_fresh_project_is_at_level_0(bare: Callable[..., object], tmp_path: Path) -> None:
    assert bare("init", str(tmp_path / "fresh"), "--no-data").code == 0
    said = bare("maturity", "--project", str(tmp_path / "fresh"))
    assert (said.code, said.error) == (0, "")
    assert "level 0 of 3, manual" in said.out
    assert "run: loopwright run" in said.out
    assert "run: loopwright data ingest digits" in said.out


def test_a_project_that_turned_once_by_hand_misses_a_trigger(command: Callable[..., object]) -> None:
    found = json.loads(command("maturity", "--json").out)
    assert (found["level"], found["name"]) == (0, "manual")
    met = {one["name"]: one["is_met"] for one in found["findings"]}
    for name in ("versioned data", "contract", "training by turns", "judged on sealed rows", "one code for features"):
        assert met[name], name
    assert not met["begun by a trigger"]
    assert not met["answers"]
    (trigger,) = (one for one in found["findings"] if one["name"] == "begun by a trigger")
    assert trigger["remedy"] == {"kind": "declaration", "text": 'loop.retrain(price, on=[lw.schedule("0 3 1 * *")])'}
    said = command("maturity", "--all")
    assert "write in loop.py: loop.retrain(price" in said.out
    assert "1 training by turns" in said.out

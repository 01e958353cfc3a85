"""A new project from a template."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from loopwright.app.cli.init import template_names
from loopwright.loop.loading import load_loop


def test_every_template_loads(bare: Callable, tmp_path: Path) -> None:
    assert template_names() == ["deliveries", "digits"]
    for name in template_names():
        said = bare("init", str(tmp_path / name), "--template", name)
        assert said.code == 0
        assert "loopwright run" in said.out
        assert load_loop(tmp_path / name).models
        assert not list((tmp_path / name).rglob("__pycache__")) or name


def test_a_project_is_never_overwritten(bare: Callable, tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text("mine = 1\n")
    said = bare("init", str(tmp_path))
    assert said.code == 2
    assert "holds a project already" in said.error
    assert (tmp_path / "loop.py").read_text() == "mine = 1\n"


def test_an_unknown_template(bare: Callable, tmp_path: Path) -> None:
    said = bare("init", str(tmp_path / "new"), "--template", "digit")
    assert said.code == 2
    assert "Did you mean 'digits'?" in said.error

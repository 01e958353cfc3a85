"""The public door: what is exported, what is there, what is documented, what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import loopwright

if TYPE_CHECKING:
    from pathlib import Path


def test_all_is_what_is_exported() -> None:
    assert loopwright.__all__ == sorted(set(loopwright.__all__))
    assert set(loopwright.__all__) == {*loopwright._HOME_OF, "__version__"}
    for name in loopwright.__all__:
        assert getattr(loopwright, name) is not None


def test_the_version_is_said_once(root: Path) -> None:
    assert tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"] == loopwright.__version__


def test_editors_see_the_same_names(source: Path) -> None:
    tree = ast.parse((source / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        (node.module, alias.name) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == {(home, name) for name, home in loopwright._HOME_OF.items()}


def test_every_exported_name_is_documented() -> None:
    assert [name for name in loopwright.__all__ if not (getattr(loopwright, name).__doc__ or "").strip()] == []


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, loopwright; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & {"numpy", "pandas", "pyarrow", "duckdb", "sklearn", "sqlalchemy", "pydantic", "typer"}


def test_declaring_a_project_imports_nothing_heavy() -> None:
    code = (
        "import sys, loopwright as lw\n"
        "loop = lw.Loop('p')\n"
        "rows = loop.dataset('rows', source=lw.files('a.csv'), key='id', event_time='at')\n"
        "lw.label(rows.y, arrives_after='2h'), lw.latest('14d'), lw.search(trials=3, a=lw.uniform(0, 1))\n"
        "lw.beats_champion('mae'), lw.online(), lw.kpi('k', at_most=1)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & {"numpy", "pandas", "pyarrow", "duckdb", "sklearn", "sqlalchemy", "ibis", "optuna"}

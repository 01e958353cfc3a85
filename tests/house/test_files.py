"""Files: one noun each, of bounded length, named by what they hold."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MEANINGLESS = re.compile(r"^(utils?|helpers?|common|misc|legacy|tools|stuff)$")
MOST_LINES = 400
MOST_LINES_OF_A_DOOR = 40


def python_files(source: Path) -> list[Path]:
    return [path for path in sorted(source.rglob("*.py")) if "templates" not in path.parts]


def test_no_file_is_longer_than_the_ceiling(source: Path) -> None:
    long = {
        str(path.relative_to(source)): lines
        for path in python_files(source)
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert long == {}


def test_most_files_are_short(source: Path) -> None:
    lengths = [len(path.read_text().splitlines()) for path in python_files(source)]
    assert sum(length <= 300 for length in lengths) / len(lengths) >= 0.85


def test_doors_hold_a_docstring_and_exports_only(source: Path) -> None:
    for path in source.rglob("*/__init__.py"):
        if "templates" in path.parts:
            continue
        text = path.read_text()
        assert len(text.splitlines()) <= MOST_LINES_OF_A_DOOR, path
        body = ast.parse(text).body
        assert isinstance(body[0], ast.Expr), f"{path} has no docstring"
        kinds = {type(node).__name__ for node in body[1:]}
        assert kinds <= {"Import", "ImportFrom", "Assign"}, path


def test_names_mean_something(source: Path) -> None:
    assert [path for path in source.rglob("*") if MEANINGLESS.match(path.stem)] == []


def test_every_module_says_what_it_is_for(source: Path) -> None:
    silent = [
        str(path.relative_to(source))
        for path in python_files(source)
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_every_public_name_is_documented(source: Path) -> None:
    silent = []
    for path in python_files(source):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node):
                silent.append(f"{path.relative_to(source)}:{node.name}")
            if isinstance(node, ast.ClassDef):
                silent += [
                    f"{path.relative_to(source)}:{node.name}.{inner.name}"
                    for inner in node.body
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
                    and not inner.name.startswith("_")
                    and not ast.get_docstring(inner)
                    and not any(isinstance(d, ast.Name) and d.id == "overload" for d in inner.decorator_list)
                ]
    assert silent == []


def test_the_environment_is_read_in_one_place(source: Path) -> None:
    readers = [
        str(path.relative_to(source))
        for path in python_files(source)
        if re.search(r"os\.(environ|getenv)", path.read_text()) and path.name != "settings.py"
    ]
    # A child process is given a copy of its parent's variables, a default is set for OpenMP, and Ray is told to report
    # nothing; nothing is decided.
    assert set(readers) == {"training/process.py", "core/openmp.py", "core/compute_ray.py"}

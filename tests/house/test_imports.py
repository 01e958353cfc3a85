"""The direction of imports: enforced by import-linter, and the ways around it closed."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

COMMAND_TABLE = {"app/cli/main.py", "__init__.py"}


def modules(source: Path) -> list[Path]:
    return [path for path in sorted(source.rglob("*.py")) if "templates" not in path.parts]


def test_contract_holds_and_ignores_nothing(root: Path) -> None:
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert contracts
    assert not any(contract.get("ignore_imports") for contract in contracts)
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_contract_names_every_room(root: Path, source: Path) -> None:
    (contract,) = [
        item
        for item in tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        if item["type"] == "layers"
    ]
    named = {part.strip() for layer in contract["layers"] for part in layer.split("|")}
    rooms = {f"loopwright.{path.parent.name}" for path in source.glob("*/__init__.py")} | {
        f"loopwright.{path.stem}" for path in source.glob("*.py") if path.stem != "__init__"
    }
    assert rooms == named


def test_no_rings() -> None:
    graph = grimp.build_graph("loopwright", cache_dir=None)
    colour: dict[str, int] = {}

    def visit(module: str, path: list[str]) -> None:
        colour[module] = 1
        for target in sorted(graph.find_modules_directly_imported_by(module)):
            if colour.get(target) == 1:
                pytest.fail(f"a ring of imports: {' → '.join([*path[path.index(target) :], target])}")
            if target not in colour:
                visit(target, [*path, target])
        colour[module] = 2

    for module in sorted(graph.modules - {"loopwright"}):
        if module not in colour:
            visit(module, [module])


def test_no_late_first_party_imports(source: Path) -> None:
    late = []
    for path in modules(source):
        name = str(path.relative_to(source))
        if name in COMMAND_TABLE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                late += [
                    f"{name}:{inner.lineno}"
                    for inner in ast.walk(node)
                    if (isinstance(inner, ast.ImportFrom) and (inner.module or "").startswith("loopwright"))
                    or (isinstance(inner, ast.Import) and any(a.name.startswith("loopwright") for a in inner.names))
                ]
    assert late == []


def test_members_import_the_sibling_file_not_a_door(source: Path) -> None:
    doors = {
        f"loopwright.{path.parent.relative_to(source).as_posix().replace('/', '.')}"
        for path in source.rglob("*/__init__.py")
    }
    through = []
    for path in modules(source):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in doors:
                for alias in node.names:
                    folder = source / Path(*node.module.split(".")[1:])
                    if not (folder / f"{alias.name}.py").exists() and not (folder / alias.name).is_dir():
                        through.append(f"{path.relative_to(source)}:{node.lineno} {node.module}.{alias.name}")
    assert through == []

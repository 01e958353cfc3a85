"""``loopwright init``: a new project from a template, ready to run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import console
from loopwright.core.errors import UnknownNameError, UsageError

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"


def template_names() -> list[str]:
    """Return the names of the templates that ship with the package."""
    return sorted(path.parent.name for path in TEMPLATES.glob("*/loop.py"))


def copy_template(template: str, folder: Path) -> list[str]:
    """Copy a template into a folder and return the files written.

    Raises:
        UnknownNameError: If there is no such template.
        UsageError: If the folder holds a project already.
    """
    if template not in template_names():
        raise UnknownNameError("template", template, template_names())
    if (folder / "loop.py").exists():
        raise UsageError(f"{folder} holds a project already.", hint="Choose another folder.")
    written = []
    for path in sorted((TEMPLATES / template).rglob("*")):
        relative = path.relative_to(TEMPLATES / template)
        if path.is_dir() or {"data", ".loopwright", "__pycache__"} & set(relative.parts):
            continue
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        written.append(str(relative))
    return written


def command(
    folder: Annotated[Path, typer.Argument(help="The new project's folder.")],
    template: Annotated[str, typer.Option("--template", "-t", help="digits or deliveries.")] = "digits",
) -> None:
    """Make a new project from a template, ready to run."""
    written = copy_template(template, folder)
    console.print(f"Made the project [bold]{folder}[/] from the template {template}:")
    for name in written:
        console.print(f"  {name}")
    maker = next((name for name in written if name in {"camera.py", "city.py"}), None)
    console.print("Next:")
    console.print(f"  cd {folder}")
    if maker is not None:
        console.print(f"  python {maker}       # writes the example's data")
    console.print("  loopwright run        # ingest, train, judge, register")
    console.print("  loopwright up         # serve, watch, and keep turning")

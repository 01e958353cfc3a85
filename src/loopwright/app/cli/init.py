"""``loopwright init``: a new project from a template, ready to run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import console
from loopwright.core.errors import FailedError, UnknownNameError, UsageError

DATA_MAKERS = ("camera.py", "city.py")
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


def make_data(folder: Path) -> str | None:
    """Run the template's program that writes its example data; return what it said, or None where there is none.

    Raises:
        FailedError: If the program fails.
    """
    maker = next((name for name in DATA_MAKERS if (folder / name).is_file()), None)
    if maker is None:
        return None
    done = subprocess.run(  # noqa: S603 - a file that was just copied from this package
        [sys.executable, maker], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise FailedError(f"{maker} could not write the example's data: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


def command(
    folder: Annotated[Path, typer.Argument(help="The new project's folder.")],
    template: Annotated[str, typer.Option("--template", "-t", help="digits or deliveries.")] = "digits",
    data: Annotated[bool, typer.Option("--data/--no-data", help="Write the example's data too.")] = True,
) -> None:
    """Make a new project from a template, with its example data, ready to run."""
    written = copy_template(template, folder)
    console.print(f"Made the project [bold]{folder}[/] from the template {template}: {', '.join(written)}")
    said = make_data(folder) if data else None
    if said:
        console.print(said)
    console.print("Next:")
    console.print(f"  cd {folder}")
    console.print("  loopwright run        # ingest, train, judge, register")
    console.print("  loopwright up         # serve, watch, and keep turning")

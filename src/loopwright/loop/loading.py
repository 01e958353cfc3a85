"""Find and load the project: the ``loop.py`` of a folder and the one ``Loop`` it declares."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError, LoopwrightError, UsageError
from loopwright.loop.project import Loop

if TYPE_CHECKING:
    from types import ModuleType

FILE_NAME = "loop.py"


def find_project(start: Path) -> Path:
    """Return the nearest folder, from ``start`` upwards, that holds a ``loop.py``.

    Raises:
        UsageError: If there is none.
    """
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / FILE_NAME).is_file():
            return candidate
    raise UsageError(
        f"There is no {FILE_NAME} in {folder} or above it.",
        hint="Run `loopwright init my-project` for a new project, or name one with --project FOLDER.",
    )


def load_loop(project: Path) -> Loop:
    """Import the project's ``loop.py`` and return the ``Loop`` it declares.

    The file's folder is importable while it runs, so that a project can be spread over several files.

    Raises:
        DeclarationError: If the file cannot be imported, with the line at fault, or declares no Loop, or several.
    """
    path = project / FILE_NAME
    module = _import(path)
    loops = {id(value): value for value in vars(module).values() if isinstance(value, Loop)}
    if len(loops) != 1:
        found = "no Loop" if not loops else f"{len(loops)} Loops"
        raise DeclarationError(f"{path} declares {found}.", hint="Write exactly one `loop = lw.Loop('name')` in it.")
    return next(iter(loops.values()))


def _import(path: Path) -> ModuleType:
    name = f"loopwright_project_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DeclarationError(f"{path} cannot be imported.", hint="Check that it is a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except LoopwrightError as error:
        del sys.modules[name]
        error.hint = f"{error.hint or ''} ({_where(error, path)})".strip()
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise DeclarationError(
            f"{path.name} cannot be imported: {type(error).__name__}: {_said(error)} ({_where(error, path)}).",
            hint=f"{_meant(error)}Correct that line and run the command again.",
        ) from error
    finally:
        sys.path.remove(folder)
    return module


def _said(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error).rstrip(".")


def _meant(error: BaseException) -> str:
    if not isinstance(error, AttributeError) or error.obj is None:
        return ""
    close = difflib.get_close_matches(str(error.name), dir(error.obj), n=1)
    return f"Did you mean '{close[0]}'? " if close else ""


def _where(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"{Path(error.filename or path).name}, line {error.lineno}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == path.parent
    ]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else path.name

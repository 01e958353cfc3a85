"""Open the project that a verb works on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from loopwright.core.access import require
from loopwright.core.errors import UnknownNameError
from loopwright.loop.loading import find_project, load_loop
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopwright.loop.project import Loop


def known_model(loop: Loop, name: str | None) -> str | None:
    """Return the name of a declared model, or None where none is asked for.

    Raises:
        UnknownNameError: If the project declares no such model.
    """
    if name is not None and name not in loop.models:
        raise UnknownNameError("model", name, loop.models)
    return name


def require_operator(workspace: Workspace, action: str) -> None:
    """Let pass who may change things.

    Raises:
        AccessDeniedError: If access control is on, and the token's role is a viewer's.
    """
    require(workspace.principal, "operator", action)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[tuple[Loop, Workspace]]:
    """Load the project in a folder (or above it) and open its workspace for the length of the block."""
    project = find_project(folder)
    loop = load_loop(project)
    with Workspace.open(project) as workspace:
        yield loop, workspace

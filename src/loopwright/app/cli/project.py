"""Open the project that a verb works on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from loopwright.loop.loading import find_project, load_loop
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopwright.loop.project import Loop


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[tuple[Loop, Workspace]]:
    """Load the project in a folder (or above it) and open its workspace for the length of the block."""
    project = find_project(folder)
    loop = load_loop(project)
    with Workspace.open(project) as workspace:
        yield loop, workspace

"""A file that an export makes: its place below the folder, and its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Artefact:
    """One file.

    Attributes:
        path: Below the folder that is exported to, with ``/`` between.
        text: What it holds.
    """

    path: str
    text: str


def write_artefacts(artefacts: Sequence[Artefact], folder: Path, *, force: bool = False) -> None:
    """Write the files; those that are there already with the same text are left alone.

    Nothing is written where one of them would be overwritten without ``force``.

    Raises:
        UsageError: If a file with another text is there, and ``force`` is not given.
        StoreError: If the folder cannot be written to.
    """
    changed = [one for one in artefacts if _differs(folder / one.path, one.text)]
    if changed and not force:
        names = ", ".join(one.path for one in changed[:3]) + (" …" if len(changed) > 3 else "")
        raise UsageError(
            f"{len(changed)} files in {folder} would be overwritten: {names}.",
            hint="Give --force to replace them, or another folder.",
        )
    try:
        for one in artefacts:
            path = folder / one.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(one.text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{folder} cannot be written to: {error.strerror}.", hint="Name another folder.") from error


def _differs(path: Path, text: str) -> bool:
    return path.exists() and (not path.is_file() or path.read_bytes() != text.encode())

"""Where the answers of a score job go: a table of the lake, or a folder of files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

from loopwright.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

FileFormat: TypeAlias = Literal["parquet", "csv"]
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_LAKE = "lake"


@dataclass(frozen=True)
class LakeTable:
    """The table ``scores/<name>`` of the lake; rows that cannot be scored go to ``score_rejects/<name>``."""

    name: str

    @property
    def table(self) -> str:
        """The table's name in the lake."""
        return f"scores/{self.name}"

    @property
    def rejects(self) -> str:
        """The name of the table of rows that cannot be scored."""
        return f"score_rejects/{self.name}"

    def describe(self) -> dict[str, object]:
        """Return the destination as JSON values."""
        return {"kind": _LAKE, "name": self.name}

    def __str__(self) -> str:
        return f"lake:{self.name}"


@dataclass(frozen=True)
class Folder:
    """A folder with one file per part, and a manifest once all are there.

    Attributes:
        path: The folder; absolute.
        format: ``parquet`` or ``csv``.
    """

    path: Path
    format: FileFormat = "parquet"

    def describe(self) -> dict[str, object]:
        """Return the destination as JSON values."""
        return {"kind": "folder", "path": str(self.path), "format": self.format}

    def __str__(self) -> str:
        return str(self.path)


Destination: TypeAlias = "LakeTable | Folder"


def parse_destination(text: str, *, model: str, project: Path, format: str = "parquet") -> Destination:
    """Read ``lake`` (the table of the model), ``lake:NAME``, or a folder's path, which begins at the project.

    Raises:
        UsageError: If the name or the format cannot be used.

    >>> str(parse_destination("lake", model="eta", project=Path("/project")))
    'lake:eta'
    >>> str(parse_destination("out/may", model="eta", project=Path("/project")))
    '/project/out/may'
    """
    kind, _, name = text.partition(":")
    if kind == _LAKE:
        if name and not _NAME.fullmatch(name):
            raise UsageError(
                f"'{name}' is no name for a table of scores.", hint="Use letters, digits, '_', '-' and '.'."
            )
        return LakeTable(name or model)
    if "://" in text:
        raise UsageError(
            f"Scores go to the lake or to a folder, not to {text}.",
            hint="Write --to lake, or a folder of this machine.",
        )
    if not text.strip():
        raise UsageError("The destination is empty.", hint="Write --to lake, or a folder.")
    if format not in get_args(FileFormat):
        raise UsageError(f"Files of format {format!r} are not written.", hint="Use parquet or csv.")
    return Folder((project / text).absolute(), cast("FileFormat", format))


def destination_from(value: Mapping[str, Any]) -> Destination:
    """Read a destination as ``describe`` wrote it."""
    return LakeTable(value["name"]) if value["kind"] == _LAKE else Folder(Path(value["path"]), value["format"])

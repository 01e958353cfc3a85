"""Where a store lives: a folder on this machine or a prefix in an object store, told apart in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loopwright.core.errors import SettingsError, StoreError

_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


def made_folder(folder: Path, named_by: str) -> Path:
    """Make a folder that a store needs, unless it is there.

    Args:
        folder: the folder.
        named_by: the setting that named it, for the message.

    Raises:
        StoreError: it cannot be made: a file is in its way, or nobody may write there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The folder {folder} cannot be made: {error.strerror}.", hint=f"Correct {named_by}, or make room for it."
        ) from error
    return folder


@dataclass(frozen=True)
class Location:
    """A place for bytes: ``folder`` on this machine, or else ``url`` in an object store.

    >>> Location.parse("file:///var/store").folder
    PosixPath('/var/store')
    >>> Location.parse("s3://bucket/prefix/").child("tables").url
    's3://bucket/prefix/tables'
    """

    url: str
    folder: Path | None

    @classmethod
    def parse(cls, where: str | Path) -> Location:
        """Read a path, a ``file://`` URL or an object-store URL (``s3``, ``gs``, ``az``, ``abfss``).

        Raises:
            SettingsError: a URL of another scheme, or without a bucket.
        """
        if isinstance(where, Path) or not _SCHEME.match(where):
            folder = Path(where).expanduser().absolute()
            return cls(str(folder), folder)
        parts = urlsplit(where)
        if parts.scheme == "file":
            folder = Path(unquote(parts.path)).absolute()
            return cls(str(folder), folder)
        if parts.scheme not in _SCHEMES or not parts.netloc:
            known = ", ".join(f"{scheme}://" for scheme in ("file", *_SCHEMES))
            raise SettingsError(
                f"'{where}' is no place for a store.", hint=f"Use a folder or a URL with one of: {known}."
            )
        return cls(where.rstrip("/"), None)

    def child(self, name: str) -> Location:
        """Give the place ``name`` below this one."""
        if self.folder is not None:
            folder = self.folder / name
            return Location(str(folder), folder)
        return Location(f"{self.url}/{name}", None)

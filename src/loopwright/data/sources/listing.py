"""What lies where a source points, by listing only: names, sizes and times, no content.

It needs the standard library alone (and obstore for URLs), so that "is there anything new?" is answered without
importing the user's project or any engine.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.hashing import digest_json
from loopwright.data.sources.files import format_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, order=True)
class Listed:
    """One file: its name (relative to the project where it lies inside, else a path or URL), size and time."""

    name: str
    size_bytes: int
    modified_ns: int


def list_source(description: Mapping[str, object], project: Path) -> list[Listed] | None:
    """List what a source describes, in the order of names; None where it cannot be listed from outside the project.

    The description is what ``Source.describe()`` gave; label tables of images are listed with the images. Nothing is
    there: an empty list.
    """
    if description.get("kind") != "files":
        return None
    declared = description.get("format")
    found = list_files(str(description["pattern"]), project, images=declared == "images")
    labels = description.get("labels")
    if isinstance(labels, str):
        found += list_files(labels, project)
    return sorted(set(found), key=_name)


def state_digest(description: Mapping[str, object], project: Path) -> str | None:
    """Return a digest of the listing: while it stays the same, there is nothing new. None as in :func:`list_source`."""
    listed = list_source(description, project)
    return None if listed is None else digest_json([[one.name, one.size_bytes, one.modified_ns] for one in listed])


def list_files(pattern: str, project: Path, *, images: bool = False) -> list[Listed]:
    """List the files that a path, a folder, a glob or a URL means, in the order of their names."""
    if is_url(pattern):
        return sorted(_list_url(pattern, images=images))
    root = os.path.abspath(project)  # noqa: PTH100 - a symlinked project keeps the names its user sees
    found: set[str] = set()
    anchored = os.path.join(root, pattern)  # noqa: PTH118 - as above
    is_folder_sought = not has_wildcard(pattern)
    if is_folder_sought and os.path.isdir(anchored):  # noqa: PTH112
        found.update(_walk(anchored, images=images))
    else:
        found.update([anchored] if is_folder_sought else glob.iglob(anchored, recursive=True))  # noqa: PTH207
    listed = []
    inside, is_plain = root + os.sep, os.path.normpath(anchored) == anchored
    for path in found:
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path object per file doubles the time of a listing
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(status.st_mode):
            continue
        name = path
        if path.startswith(inside):
            name = path[len(inside) :] if is_plain else os.path.relpath(path, root)
        listed.append(Listed(name.replace(os.sep, "/"), status.st_size, status.st_mtime_ns))
    return sorted(listed, key=_name)


def _name(listed: Listed) -> str:
    return listed.name


def fixed_part(pattern: str) -> str:
    """Return the folder part of a pattern before its first wildcard, with its final slash.

    >>> fixed_part("data/images/**/*.png"), fixed_part("data/a.csv")
    ('data/images/', 'data/')
    """
    match = _WILD.search(pattern)
    head = pattern[: match.start()] if match else pattern
    return head[: head.rfind("/") + 1]


def has_wildcard(pattern: str) -> bool:
    """Tell whether a pattern has a sign that a glob expands."""
    return _WILD.search(pattern) is not None


def is_url(pattern: str) -> bool:
    """Tell whether a pattern names an object store."""
    return "://" in pattern


def split_url(url: str) -> tuple[str, str]:
    """Split a URL into the store (scheme and bucket) and the path inside it.

    >>> split_url("s3://bucket/a/*.csv")
    ('s3://bucket', 'a/*.csv')
    """
    scheme, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    return f"{scheme}://{bucket}", path


def _walk(folder: str, *, images: bool) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in names:
            kind = format_of(name)
            if kind is not None and not name.startswith((".", "_")) and (kind == "images") == images:
                yield os.path.join(parent, name)  # noqa: PTH118


def _list_url(pattern: str, *, images: bool) -> Iterator[Listed]:
    from obstore.store import from_url  # noqa: PLC0415 - local listings do without it

    base, path = split_url(pattern)
    store = from_url(base + "/" if base.endswith("//") else base)
    prefix = fixed_part(path) if has_wildcard(path) else path
    shape = _as_regex(path) if has_wildcard(path) else None
    for page in store.list(prefix=prefix.rstrip("/") or None):
        for entry in page:
            name = entry["path"]
            if shape is not None:
                wanted = shape.fullmatch(name) is not None
            elif name == path:
                wanted = True
            else:
                kind = format_of(name)
                wanted = kind is not None and (kind == "images") == images and name.startswith(path.rstrip("/") + "/")
            if wanted:
                moment = int(entry["last_modified"].timestamp() * 1_000_000) * 1_000
                yield Listed(f"{base}/{name}", entry["size"], moment)


def _as_regex(pattern: str) -> re.Pattern[str]:
    parts = []
    for sign in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", pattern):
        if sign == "**/":
            parts.append("(?:[^/]+/)*")
        elif sign == "**":
            parts.append(".*")
        elif sign == "*":
            parts.append("[^/]*")
        elif sign == "?":
            parts.append("[^/]")
        elif sign.startswith("["):
            parts.append(sign.replace("[!", "[^"))
        else:
            parts.append(re.escape(sign))
    return re.compile("".join(parts))

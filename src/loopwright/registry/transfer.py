"""Carry a model version from one workspace to another: a folder or a zip with a manifest of digests.

::

    manifest.json          format, the version's record, and digest and size of each file
    files/<digest>         the model file, the compiled graph, the feature assembly, the golden rows

Importing checks every digest. The feature functions inside are code: the importing workspace loads them only when a
person vouches for the package by name, at the import or later.
"""

from __future__ import annotations

import json
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

from loopwright.core.errors import SourceError, StoreCorruptError, UsageError
from loopwright.core.hashing import digest_bytes
from loopwright.registry.version import ModelVersion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.registry.registry import Registry

FORMAT = 1
MANIFEST = "manifest.json"


class _Packed(Protocol):
    """The files of a package, by name."""

    def read(self, name: str, /) -> bytes: ...


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()


def export_version(stores: Stores, version: ModelVersion, target: Path) -> Path:
    """Write a version as a package: a zip where the name ends with ``.zip``, otherwise a new folder.

    Raises:
        UsageError: When the target exists already.
        StoreCorruptError: When bytes in the store do not match their digest.
    """
    if target.exists():
        raise UsageError(f"{target} exists already.", hint="Name a new file or folder.")
    files = {digest: stores.blobs.get(digest) for digest in dict.fromkeys(version.digests)}
    manifest = {
        "format": FORMAT,
        "version": version.to_json(),
        "files": [{"digest": digest, "size_bytes": len(data)} for digest, data in files.items()],
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    part = target.with_name(f".{target.name}.part")
    if target.suffix == ".zip":
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MANIFEST, text)
            for digest, data in files.items():
                archive.writestr(f"files/{digest}", data)
    else:
        (part / "files").mkdir(parents=True)
        for digest, data in files.items():
            (part / "files" / digest).write_bytes(data)
        (part / MANIFEST).write_text(text, encoding="utf-8")
    part.rename(target)
    return target


def import_version(
    stores: Stores, registry: Registry, source: Path, *, model: str | None = None, vouched_by: str | None = None
) -> ModelVersion:
    """Register a package from elsewhere under the next free number; the same package again gives the same version.

    Args:
        stores: The stores of the importing workspace.
        registry: Its registry.
        source: The folder or zip.
        model: The name it gets here; its own by default.
        vouched_by: Who knows where the package comes from and allows its code to run here. Without it the version
            is registered, and loading it is refused until it is imported again with a name.

    Raises:
        SourceError: When there is no package, or it was written by a newer version.
        StoreCorruptError: When a file does not match its digest.
    """
    with _opened(source) as packed:
        manifest = _manifest(packed, source)
        record = manifest["version"]
        run_id = str(record["run_id"])
        draft = ModelVersion.from_record(
            record, model=model or str(record["model"]), version=0, run_id=run_id, created_at=stores.clock.now()
        )
        for digest in dict.fromkeys(draft.digests):
            data = _file(packed, f"files/{digest}", source)
            if digest_bytes(data) != digest:
                raise StoreCorruptError(
                    f"the file {digest[:12]}… of {source} is not the one that was exported.",
                    hint="Export the version again.",
                )
            stores.blobs.put(data)
    reason = None if vouched_by is None else f"imported from {source.name}, vouched for by {vouched_by}"[:200]
    return registry.record(draft, reason=reason)


@contextmanager
def _opened(source: Path) -> Iterator[_Packed]:
    if source.is_dir():
        yield _Folder(source)
        return
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive
    except (FileNotFoundError, zipfile.BadZipFile) as error:
        raise SourceError(
            f"{source} is no package of a model version: {error}.", hint="Name a folder or zip that was exported."
        ) from error


def _file(packed: _Packed, name: str, source: Path) -> bytes:
    try:
        return packed.read(name)
    except (KeyError, FileNotFoundError) as error:
        raise SourceError(f"{source} lacks the file {name}.", hint="Export the version again.") from error


def _manifest(packed: _Packed, source: Path) -> dict[str, Any]:
    try:
        manifest = cast("dict[str, Any]", json.loads(_file(packed, MANIFEST, source)))
        written_in = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"The manifest of {source} cannot be read: {error}.") from error
    if written_in != FORMAT:
        raise SourceError(
            f"{source} has format {written_in}; this version of Loopwright reads {FORMAT}.",
            hint="Upgrade Loopwright: pip install --upgrade loopwright",
        )
    return manifest

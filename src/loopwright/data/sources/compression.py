"""Opens files that may be compressed, by their extension, and says of a damaged one that it is damaged."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa

from loopwright.data.sources.files import compression_of
from loopwright.data.sources.unit import UnreadableUnitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading its content, unpacked where its extension says that it is compressed.

    Raises:
        UnreadableUnitError: If it turns out to be damaged while it is read.
        OSError: If it cannot be opened.
    """
    compression = compression_of(path.name)
    try:
        with contextlib.ExitStack() as stack:
            if compression == ".gz":
                yield cast("BinaryIO", stack.enter_context(gzip.open(path, "rb")))
            elif compression == ".bz2":
                yield cast("BinaryIO", stack.enter_context(bz2.open(path, "rb")))
            elif compression == ".xz":
                yield cast("BinaryIO", stack.enter_context(lzma.open(path, "rb")))
            elif compression == ".zst":
                yield stack.enter_context(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
            elif compression == ".zip":
                archive = stack.enter_context(zipfile.ZipFile(path))
                yield cast("BinaryIO", stack.enter_context(archive.open(_only_member(archive))))
            else:
                yield stack.enter_context(path.open("rb"))
    except (zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise _damaged(compression, error) from error
    except OSError as error:
        # what the machine cannot do has a number; what a decoder says of the content has none
        if error.errno is not None or compression is None:
            raise
        raise _damaged(compression, error) from error


def _damaged(compression: str | None, error: Exception) -> UnreadableUnitError:
    reason = str(error).split("\n", 1)[0] or type(error).__name__
    return UnreadableUnitError(f"the compressed file ({compression}) is damaged or not complete: {reason}")


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [one for one in archive.infolist() if not one.is_dir()]
    if len(members) != 1:
        raise UnreadableUnitError(f"the zip archive holds {len(members)} files, and one is read; unpack it")
    if members[0].flag_bits & 1:
        raise UnreadableUnitError("the zip archive has a password; unpack it")
    return members[0]

"""How DuckDB reads a large CSV file by itself, all columns as texts: several times as fast as block by block in Python.

It is used where what it gives is exactly what :mod:`loopwright.data.sources.tabular` gives. Three things see to that:

- Only plain files are taken: UTF-8, not compressed, a header in one line, at least two columns.
- A file in which any quote occurs is left to the careful reader: without quotes each line is a row, wherever a thread
  begins to read; with them it is not, and DuckDB drops a last row whose quote is not closed.
- DuckDB stops at what it cannot take apart. It forgives an empty field after the last one, but not where the text for
  missing values is another than nothing; so that text is the file's own digest, which no file contains.

Where it stops, the careful reader reads the file from its beginning.
"""

from __future__ import annotations

import codecs
import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.data.sources.files import FilesSource, format_of

if TYPE_CHECKING:
    from pathlib import Path

SCANNED_BYTES = 24 << 20  # smaller files are read as fast by blocks
_HEAD_BYTES = 1 << 20
_COMPRESSED = {".gz", ".bz2", ".zst", ".xz", ".zip", ".lz4", ".br"}
_TEXT_BYTES = 1 << 21  # DuckDB's bound for a line, which it has to be told when it may not guess


@dataclass(frozen=True)
class CsvScan:
    """A CSV file that DuckDB may read by itself.

    Attributes:
        path: The file.
        digest: SHA-256 of its content.
        delimiter: Between fields.
        skip: Rows that were read before.
    """

    path: Path
    digest: str
    delimiter: str
    skip: int
    known_as: tuple[int, int]  # size and time, in nanoseconds, when it was planned

    def has_changed(self) -> bool:
        """Tell whether the file is another one now."""
        return self.known_as != _state(self.path)

    def has(self, sign: bytes) -> bool:
        """Tell whether a sign is anywhere in the file."""
        with self.path.open("rb", buffering=0) as file:  # mapped, the file would count as memory of this process
            return any(sign in block for block in iter(lambda: file.read(_HEAD_BYTES), b""))

    def relation(self, columns: int) -> str:
        """Write the DuckDB relation that gives the file's rows in their order, as texts ``c0``, ``c1`` and so on.

        An empty field is an empty text there.
        """
        named = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(columns))
        path = str(self.path).replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
        return (
            f"read_csv({quote_text(path)}, columns={{{named}}}, auto_detect=false, header=true, "
            f"delim={quote_text(self.delimiter)}, quote='\"', escape='\"', comment='', "
            f"nullstr={quote_text(self.digest)}, allow_quoted_nulls=false, strict_mode=true, ignore_errors=false, "
            f"null_padding=false, max_line_size={_TEXT_BYTES}, parallel=true)"
        )


def csv_scan(path: Path, source: FilesSource, *, digest: str, skip: int = 0) -> CsvScan | None:
    """Return how DuckDB may read a file; None where it is no large plain CSV file."""
    if (source.format or format_of(path.name)) != "csv" or path.suffix.lower() in _COMPRESSED:
        return None
    if path.stat().st_size < SCANNED_BYTES or codecs.lookup(source.encoding).name not in {"utf-8", "ascii"}:
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    line = head.split(b"\n", 1)[0].removesuffix(b"\r")
    if not line.strip() or b'"' in line or b"\r" in line or head[:2] in {b"\xff\xfe", b"\xfe\xff"} or b"\0" in line:
        return None
    text = line.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="replace")
    counts = {sign: text.count(sign) for sign in ",;\t|"}
    delimiter = source.delimiter or (
        "\t" if ".tsv" in path.name.lower() else max(counts, key=lambda sign: counts[sign])
    )
    if len(delimiter) != 1 or delimiter in '"\r\n' or len(next(csv.reader([text], delimiter=delimiter))) < 2:
        return None
    return CsvScan(path, digest, delimiter, skip, _state(path))


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def texts_sql(name: str, index: int) -> str:
    """Write the column of a relation under its own name: an empty field is a missing value."""
    return f"NULLIF(c{index}, '') AS {quote_name(name)}"

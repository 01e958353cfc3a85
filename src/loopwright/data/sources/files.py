"""The source ``files``: CSV, Parquet, JSON Lines and folders of images, here or in an object store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from loopwright.core.errors import DeclarationError, UnknownNameError

FileFormat = Literal["csv", "parquet", "jsonl", "images"]
Unlabelled = Literal["wait", "ingest"]

FORMATS: tuple[str, ...] = get_args(FileFormat)
EXTENSIONS: dict[str, FileFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".png": "images",
    ".jpg": "images",
    ".jpeg": "images",
    ".bmp": "images",
    ".gif": "images",
    ".webp": "images",
    ".tif": "images",
    ".tiff": "images",
}
COMPRESSIONS = frozenset({".gz", ".zst", ".bz2"})


@dataclass(frozen=True)
class FilesSource:
    """Files that match a pattern. Make it with :func:`files`."""

    pattern: str
    format: FileFormat | None = None
    labels: str | None = None
    labels_on: str | None = None
    unlabelled: Unlabelled = "wait"
    column: str = "image"
    measures: tuple[str, ...] = ()
    delimiter: str | None = None
    encoding: str = "utf-8"

    @property
    def kind(self) -> str:
        """``files``."""
        return "files"

    @property
    def is_images(self) -> bool:
        """Whether each file is one row that holds an image."""
        return self.format == "images" or (self.format is None and format_of(self.pattern) == "images")

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        described: dict[str, object] = {"kind": "files", "pattern": self.pattern}
        if self.is_images:
            described |= {"format": "images", "column": self.column, "unlabelled": self.unlabelled}
            described |= {"labels": self.labels, "labels_on": self.labels_on, "measures": list(self.measures)}
        else:
            described |= {"format": self.format, "delimiter": self.delimiter, "encoding": self.encoding}
        return described


def files(
    pattern: str,
    *,
    format: FileFormat | None = None,
    labels: str | None = None,
    labels_on: str | None = None,
    unlabelled: Unlabelled = "wait",
    column: str = "image",
    measures: tuple[str, ...] | list[str] = (),
    delimiter: str | None = None,
    encoding: str = "utf-8",
) -> FilesSource:
    """Declare files as a source: a path, a folder, a glob (``**`` for any depth), or the same in an object store.

    Tables: ``.csv`` ``.tsv`` ``.parquet`` ``.jsonl``, also ``.gz``. A folder means every such file below it.

    Images (``.png``, ``.jpg``, …, or ``format="images"``): each file is one row with ``file`` (its path below the fixed
    part of the pattern, also the default key), ``column`` (the stored image), and, when asked for in ``measures``,
    ``width``, ``height``, ``format``. With ``labels`` (CSV, Parquet or JSON Lines, a glob too) the row gets the label
    table's columns: its column ``labels_on`` (default: ``file``, else its first) names the image by path, by file name
    or by file name without extension, the first that fits.

    An image that no label row names yet waits (``unlabelled="wait"``): it is not in the dataset, and comes in when its
    label does. With ``unlabelled="ingest"`` it comes in at once with empty label columns, which the contract must not
    require, and once more, complete, when the label arrives; the newest row of a key is the one that is read. A label
    row that names no image goes to the quarantine, and counts as soon as the image is there.

    Args:
        pattern: Path, folder, glob or URL (``s3://bucket/prefix/*.parquet``); relative to the project folder.
        format: Where the extension does not tell it.
        labels: Path, glob or URL of the label table of images.
        labels_on: The label table's column that names the image.
        unlabelled: What happens to an image without a label row.
        column: Name of the column that holds the image.
        measures: Any of ``width``, ``height``, ``format``: further columns read from the image.
        delimiter: Of CSV; found by itself when None.
        encoding: Of CSV.

    Raises:
        DeclarationError: If the arguments contradict each other.
    """
    if not isinstance(pattern, str) or not pattern.strip():
        raise DeclarationError(f"files() needs a path, a glob or a URL, got {pattern!r}.")
    if format is not None and format not in FORMATS:
        unknown = UnknownNameError("file format", str(format), FORMATS)
        raise DeclarationError(unknown.message, hint=unknown.hint)
    if unlabelled not in get_args(Unlabelled):
        raise DeclarationError(f"files(unlabelled={unlabelled!r}): use 'wait' or 'ingest'.")
    strange = sorted(set(measures) - {"width", "height", "format"})
    if strange:
        raise DeclarationError(f"files(measures=…) knows width, height and format, got {', '.join(strange)}.")
    source = FilesSource(pattern, format, labels, labels_on, unlabelled, column, tuple(measures), delimiter, encoding)
    if labels is not None and not source.is_images:
        raise DeclarationError(
            f"files({pattern!r}) has labels=, which is for images.",
            hint="Name an image extension in the pattern or say format='images'.",
        )
    return source


def format_of(path: str) -> FileFormat | None:
    """Return the format that a path's extension names, looking through ``.gz``; None where it names none.

    >>> format_of("orders/2026-01.csv.gz"), format_of("orders")
    ('csv', None)
    """
    name = path.rsplit("/", 1)[-1].lower()
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    dot = name.rfind(".")
    return EXTENSIONS.get(name[dot:]) if dot >= 0 else None

"""The source ``files``: tables in many formats and folders of images, audio or texts, here or in an object store."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Literal, get_args

from loopwright.core.errors import DeclarationError, UnknownNameError

FileFormat = Literal["csv", "parquet", "jsonl", "arrow", "avro", "orc", "images", "audio", "text"]
Payload = Literal["image", "audio", "text"]
Unlabelled = Literal["wait", "ingest"]

FORMATS: tuple[str, ...] = get_args(FileFormat)
PAYLOADS: dict[str, Payload] = {"images": "image", "audio": "audio", "text": "text"}
TABLES: tuple[str, ...] = tuple(name for name in FORMATS if name not in PAYLOADS)
MEASURES: dict[Payload, tuple[str, ...]] = {
    "image": ("width", "height", "format"),
    "audio": ("duration_s", "sample_rate_hz", "channels", "format"),
    "text": (),
}
_OF_FORMAT: dict[FileFormat, str] = {
    "csv": ".csv .tsv .txt",
    "parquet": ".parquet .pq",
    "jsonl": ".jsonl .ndjson .json",
    "arrow": ".arrow .arrows .ipc .feather",
    "avro": ".avro",
    "orc": ".orc",
    "images": ".png .jpg .jpeg .bmp .gif .webp .tif .tiff",
    "audio": ".wav .flac .mp3 .ogg .oga .opus .m4a .aif .aiff",
    "text": ".md .rst .html .htm .text",
}
EXTENSIONS: dict[str, FileFormat] = {
    extension: name for name, extensions in _OF_FORMAT.items() for extension in extensions.split()
}
COMPRESSIONS = frozenset({".gz", ".zst", ".bz2", ".xz", ".zip"})
SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "http", "https", "file")


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
    def payload(self) -> Payload | None:
        """What each file holds where it is one row (``image``, ``audio``, ``text``); None for tables."""
        return PAYLOADS.get(self.format or format_of(self.pattern) or "")

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        described: dict[str, object] = {"kind": "files", "pattern": self.pattern}
        if self.payload is not None:
            described["format"] = self.format or format_of(self.pattern)
            described |= {"column": self.column, "unlabelled": self.unlabelled}
            described |= {"labels": self.labels, "labels_on": self.labels_on, "measures": list(self.measures)}
            if self.encoding != "utf-8":
                described["encoding"] = self.encoding
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
    column: str | None = None,
    measures: tuple[str, ...] | list[str] = (),
    delimiter: str | None = None,
    encoding: str = "utf-8",
) -> FilesSource:
    """Declare files as a source: a path, a folder, a glob (``**`` for any depth), or the same in an object store.

    Tables: CSV (``.csv`` ``.tsv`` ``.txt``), Parquet, JSON Lines (``.jsonl`` ``.ndjson`` ``.json``), Arrow
    (``.arrow`` ``.ipc`` ``.feather``, file or stream), Avro (the extra ``avro``) and ORC. Text formats, Avro and Arrow
    streams also compressed: ``.gz`` ``.zst`` ``.bz2`` ``.xz``, or ``.zip`` with one file in it. A folder means every
    such file below it. Lists and structs stay what they are, but in JSON, where they become JSON text.

    Folders of images (``.png`` …), audio (``.wav`` ``.flac`` ``.mp3`` ``.ogg`` ``.m4a`` ``.aif``) or texts (``.md``
    ``.html`` …; of ``.txt``, say ``format="text"``): each file is one row with ``file`` (its path below the fixed part
    of the pattern, also the default key), ``column`` (the stored image, audio or text), and what ``measures`` asks for.
    With ``labels`` (a table in any format, a glob too) the row gets the label table's columns: its column
    ``labels_on`` (default: ``file``, else its first) names the file by path, by file name or by file name without
    extension, the first that fits.

    A file that no label row names yet waits (``unlabelled="wait"``): it is not in the dataset, and comes in when its
    label does. With ``unlabelled="ingest"`` it comes in at once with empty label columns, which the contract must not
    require, and once more, complete, when the label arrives; the newest row of a key is the one that is read. A label
    row that names no file goes to the quarantine, and counts as soon as the file is there.

    Args:
        pattern: Path, folder, glob or URL (``s3://bucket/prefix/*.parquet``, ``gs://``, ``az://``, ``abfs://``;
            ``https://`` for a single file); relative to the project folder.
        format: Where the extension does not tell it.
        labels: Path, glob or URL of the label table of images, audio or texts.
        labels_on: The label table's column that names the file.
        unlabelled: What happens to a file without a label row.
        column: Name of the column that holds the content; ``image``, ``audio`` or ``text`` by default.
        measures: Further columns, read from the content. Of images ``width``, ``height``, ``format``; of audio
            ``duration_s``, ``sample_rate_hz``, ``channels`` (of WAV and FLAC, else null), ``format``.
        delimiter: Of CSV; found by itself when None.
        encoding: Of CSV, JSON Lines and texts; a byte order mark of UTF-8 or UTF-16 is seen by itself.

    Raises:
        DeclarationError: If the arguments contradict each other.
    """
    if not isinstance(pattern, str) or not pattern.strip():
        raise DeclarationError(f"files() needs a path, a glob or a URL, got {pattern!r}.")
    for one in (pattern, labels):
        _check_url(one)
    if format is not None and format not in FORMATS:
        unknown = UnknownNameError("file format", str(format), FORMATS)
        raise DeclarationError(unknown.message, hint=unknown.hint)
    if unlabelled not in get_args(Unlabelled):
        raise DeclarationError(f"files(unlabelled={unlabelled!r}): use 'wait' or 'ingest'.")
    _check_text(delimiter, encoding)
    source = FilesSource(
        pattern, format, labels, labels_on, unlabelled, column or "image", tuple(measures), delimiter, encoding
    )
    payload = source.payload
    if payload is None:
        given = {"labels": labels, "labels_on": labels_on, "column": column, "measures": measures or None}
        named = [f"{name}=" for name, value in given.items() if value is not None]
        if named:
            raise DeclarationError(
                f"files({pattern!r}) has {', '.join(named)}, which is for images, audio and texts.",
                hint="Name such an extension in the pattern or say format='images', 'audio' or 'text'.",
            )
        return source
    strange = sorted(set(measures) - set(MEASURES[payload]))
    if strange:
        known = f"knows {', '.join(MEASURES[payload])}" if MEASURES[payload] else "knows none"
        raise DeclarationError(f"files(measures=…) of {payload} {known}, got {', '.join(strange)}.")
    return FilesSource(
        pattern, format, labels, labels_on, unlabelled, column or payload, tuple(measures), delimiter, encoding
    )


def _check_url(pattern: str | None) -> None:
    scheme, sign, rest = (pattern or "").partition("://")
    if not sign:
        return
    if scheme not in SCHEMES:
        unknown = UnknownNameError("kind of URL", f"{scheme}://", [f"{name}://" for name in SCHEMES])
        raise DeclarationError(f"files({pattern!r}): {unknown.message}", hint=unknown.hint)
    if scheme != "file" and not rest.partition("/")[0]:
        raise DeclarationError(f"files({pattern!r}) names no bucket.", hint=f"Write {scheme}://bucket/path/*.parquet.")
    if scheme in {"http", "https"} and any(sign in rest for sign in "*["):
        raise DeclarationError(
            f"files({pattern!r}): a web server cannot be listed.", hint="Name one file, or use the store's own URL."
        )


def _check_text(delimiter: str | None, encoding: str) -> None:
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise DeclarationError(f"files(delimiter={delimiter!r}): give one sign, such as ';' or '\\t'.")
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise DeclarationError(
            f"files(encoding={encoding!r}) is no encoding that Python knows.", hint="Common: utf-8, latin-1, utf-16."
        ) from None


def is_of_folder(name: str, format: str | None) -> bool:
    """Tell whether a file of a folder is meant: any table by default, else those of the format.

    >>> is_of_folder("a.csv.gz", None), is_of_folder("a.png", None), is_of_folder("a.txt", "text")
    (True, False, True)
    """
    kind = format_of(name)
    if format is None:
        return kind in TABLES
    return kind == format or (format == "text" and _plain(name).endswith(".txt"))


def format_of(path: str) -> FileFormat | None:
    """Return the format that a path's extension names, looking through ``.gz``; None where it names none.

    >>> format_of("orders/2026-01.csv.gz"), format_of("orders")
    ('csv', None)
    """
    name = _plain(path)
    dot = name.rfind(".")
    return EXTENSIONS.get(name[dot:]) if dot >= 0 else None


def compression_of(path: str) -> str | None:
    """Return the compression that a path's extension names, such as ``.gz``; None where it names none."""
    name = path.lower()
    return next((one for one in COMPRESSIONS if name.endswith(one)), None)


def _plain(path: str) -> str:
    name = path.rsplit("/", 1)[-1].lower()
    return name.removesuffix(compression_of(name) or "")

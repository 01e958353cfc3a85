"""The label tables of a folder of payloads: which row names which file.

All label files are read together; where several rows name one file, the last counts (label files in the order of their
names). A row names a file by its path below the fixed part of the pattern, by its name, or by its name without
extension, the first that fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import SourceError
from loopwright.core.hashing import digest_json
from loopwright.data.sources.plan import Known
from loopwright.data.sources.tabular import read_file
from loopwright.data.sources.unit import DEFECT, ROW, TEXT, UnreadableUnitError

if TYPE_CHECKING:
    import pyarrow as pa

    from loopwright.data.sources.files import FilesSource
    from loopwright.data.sources.here import Here
    from loopwright.data.sources.listing import Listed

FILE = "file"
Row = dict[str, object]


@dataclass(frozen=True)
class Orphan:
    """A label row that fits no file."""

    source: str
    number: int
    reason: str
    row: Row

    @property
    def as_known(self) -> Known:
        """What goes on record, so that the quarantine gets it once."""
        return Known(f"{self.source}#{self.number}", digest_json([self.reason, self.row]), 0, 0, 0, "orphan")


class Labels:
    """All label tables together.

    Raises:
        SourceError: If one cannot be read.
    """

    def __init__(self, source: FilesSource, listed: list[Listed], here: Here) -> None:
        self.columns: list[str] = []
        self._rows: list[tuple[str, int, str, Row]] = []
        self._broken: list[Orphan] = []
        self._source = source
        for one in listed:
            reader = type(source)(one.name, delimiter=source.delimiter, encoding=source.encoding)
            try:
                for batch in read_file(here.path(one), reader):
                    self._take(one.name, batch)
            except UnreadableUnitError as error:
                raise SourceError(f"The label table {one.name} cannot be read: {error}.", hint="Repair it.") from error
            except OSError as error:
                raise SourceError(f"The label table {one.name} cannot be read: {error.strerror}.") from error

    def _take(self, name: str, batch: pa.Table) -> None:
        columns = [column for column in batch.column_names if not column.startswith("__") and column != ROW]
        on = self._source.labels_on or (FILE if FILE in columns else columns[0] if columns else FILE)
        if on not in columns and batch.num_rows:
            raise SourceError(
                f"The label table {name} has no column '{on}'.", hint=f"Its columns: {', '.join(columns)}."
            )
        self.columns += [column for column in columns if column not in (*self.columns, FILE)]
        for row in batch.to_pylist():
            number = row.pop(ROW)
            defect, text = row.pop(DEFECT, None), row.pop(TEXT, None)
            if defect is not None:
                self._broken.append(Orphan(name, number, defect, {"line": text}))
            else:
                file = "" if row.get(on) is None else str(row[on])
                self._rows.append((name, number, file, {k: v for k, v in row.items() if k != FILE or on != FILE}))

    def match(self, names: list[str]) -> tuple[dict[str, Row], list[Orphan]]:
        """Give each file its label row, and return the rows that fit none."""
        paths = set(names)
        by_name: dict[str, list[str]] = {}
        by_stem: dict[str, list[str]] = {}
        for name in names:
            last = name.rsplit("/", 1)[-1]
            by_name.setdefault(last, []).append(name)
            by_stem.setdefault(last.rsplit(".", 1)[0], []).append(name)
        matched: dict[str, Row] = {}
        orphans = list(self._broken)
        for source, number, file, row in self._rows:
            fits = [file] if file in paths else by_name.get(file) or by_stem.get(file) or []
            if len(fits) == 1:
                matched[fits[0]] = row
            else:
                kind = {"image": "image", "audio": "audio file"}.get(str(self._source.payload), "text")
                reason = f"label: {len(fits)} {kind}s are named {file!r}" if file else f"label: no {kind} is named"
                orphans.append(Orphan(source, number, reason, row))
        return matched, orphans

"""Plans the reading of a folder of images, joined with its label tables.

The state of an image is its file (size, time) and the label row that names it. It is read when either is new. All label
files are read together whenever anything changed; where several rows name one image, the last counts (label files in
the order of their names). A label row that names no image, or several, goes to the quarantine once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.errors import SourceError
from loopwright.core.hashing import digest_json
from loopwright.data.sources.listing import fixed_part, list_files
from loopwright.data.sources.plan import Known, Plan, local_path, nothing_there
from loopwright.data.sources.tabular import read_file
from loopwright.data.sources.unit import DEFECT, ROW, TEXT, Unit, UnreadableUnitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from loopwright.data.sources.files import FilesSource
    from loopwright.data.sources.listing import Listed

FILE = "file"
_BATCH_BYTES = 64 << 20  # of images held at once; one batch is packed into shards together
_BATCH_FILES = 8192
_Row = dict[str, object]


def plan_images(source: FilesSource, project: Path, known: Mapping[str, Known], *, folder: Path) -> Plan:
    """Plan the reading of new images, of images whose label is new, and of label rows that fit no image.

    Raises:
        SourceError: If no image is where the source points and none ever was, or a label table cannot be read.
    """
    plan = Plan()
    images = list_files(source.pattern, project, images=True)
    labels = list_files(source.labels, project) if source.labels else []
    if not images and not known:
        raise nothing_there(source.pattern, project)
    if not has_changed([*images, *labels], known):
        plan.waiting = sum(one.state == "waiting" for one in known.values())
        return plan
    if source.labels and not labels:
        plan.warnings.append(f"No label table matches {source.labels} yet.")
    table = _Labels(source, project, labels, folder)
    root = fixed_part(source.pattern)
    matched, orphans = table.match([one.name.removeprefix(root) for one in images])
    chosen: list[tuple[Listed, str, _Row]] = []
    digests: dict[str, str] = {}  # most label rows are equal to others
    for one in images:
        name = one.name.removeprefix(root)
        row = matched.get(name)
        state = "waiting" if source.labels and row is None and source.unlabelled == "wait" else "read"
        content = repr(row)
        digest = digests.get(content) or digests.setdefault(content, digest_json(row))
        before = known.get(one.name)
        same_file = before is not None and (before.size_bytes, before.modified_ns) == (one.size_bytes, one.modified_ns)
        if before is not None and same_file and before.digest == digest and before.state == state:
            plan.waiting += state == "waiting"
            continue
        plan.records.append(Known(one.name, digest, one.size_bytes, one.modified_ns, int(state == "read"), state))
        if state == "waiting":
            plan.waiting += 1
        else:
            chosen.append((one, name, row or {}))
    plan.records += [Known(one.name, "", one.size_bytes, one.modified_ns, 0, "read") for one in labels]
    new_orphans = [row for row in orphans if row.as_known.digest != _digest_of(known.get(row.as_known.name))]
    plan.records += [row.as_known for row in new_orphans]
    columns = table.columns
    if chosen or new_orphans:
        plan.units.append(_unit(source, project, folder, chosen, new_orphans, columns))
    return plan


def has_changed(listed: list[Listed], known: Mapping[str, Known]) -> bool:
    """Tell whether a listing shows a file that is not on record with this size and time."""
    for one in listed:
        before = known.get(one.name)
        if before is None or (before.size_bytes, before.modified_ns) != (one.size_bytes, one.modified_ns):
            return True
    return False


def _digest_of(known: Known | None) -> str | None:
    return None if known is None else known.digest


class _Orphan:
    """A label row that fits no image."""

    def __init__(self, source: str, number: int, reason: str, row: _Row) -> None:
        self.source, self.number, self.reason, self.row = source, number, reason, row

    @property
    def as_known(self) -> Known:
        return Known(f"{self.source}#{self.number}", digest_json([self.reason, self.row]), 0, 0, 0, "orphan")


class _Labels:
    """All label tables together."""

    def __init__(self, source: FilesSource, project: Path, listed: list[Listed], folder: Path) -> None:
        self.columns: list[str] = []
        self._rows: list[tuple[str, int, str, _Row]] = []
        self._broken: list[_Orphan] = []
        self._source = source
        for one in listed:
            path = local_path(one, project, folder)
            reader = type(source)(one.name, delimiter=source.delimiter, encoding=source.encoding)
            try:
                for batch in read_file(path, reader):
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
                self._broken.append(_Orphan(name, number, defect, {"line": text}))
            else:
                image = "" if row.get(on) is None else str(row[on])
                self._rows.append((name, number, image, {k: v for k, v in row.items() if k != FILE or on != FILE}))

    def match(self, names: list[str]) -> tuple[dict[str, _Row], list[_Orphan]]:
        """Give each image its label row, and return the rows that fit none."""
        paths = set(names)
        by_name: dict[str, list[str]] = {}
        by_stem: dict[str, list[str]] = {}
        for name in names:
            last = name.rsplit("/", 1)[-1]
            by_name.setdefault(last, []).append(name)
            by_stem.setdefault(last.rsplit(".", 1)[0], []).append(name)
        matched: dict[str, _Row] = {}
        orphans = list(self._broken)
        for source, number, image, row in self._rows:
            fits = [image] if image in paths else by_name.get(image) or by_stem.get(image) or []
            if len(fits) == 1:
                matched[fits[0]] = row
            else:
                reason = f"label: {len(fits)} images are named {image!r}" if image else "label: no image is named"
                orphans.append(_Orphan(source, number, reason, row))
        return matched, orphans


def _unit(
    source: FilesSource,
    project: Path,
    folder: Path,
    chosen: list[tuple[Listed, str, _Row]],
    orphans: list[_Orphan],
    columns: list[str],
) -> Unit:
    def batches() -> Iterator[pa.Table]:
        held: list[tuple[str, str, bytes | None, _Row, str | None]] = []
        size = 0
        for one, name, row in chosen:
            data, defect = None, None
            try:
                data = local_path(one, project, folder).read_bytes()
            except OSError as error:
                defect = f"image: the file cannot be opened: {error.strerror}"
            held.append((one.name, name, data, row, defect))
            size += one.size_bytes
            if size >= _BATCH_BYTES or len(held) >= _BATCH_FILES:
                yield _batch(source, held, columns)
                held, size = [], 0
        if held:
            yield _batch(source, held, columns)
        if orphans:
            yield pa.table(
                {
                    "_source": pa.array([row.source for row in orphans]),
                    ROW: pa.array([row.number for row in orphans], pa.int64()),
                    DEFECT: pa.array([row.reason for row in orphans]),
                    TEXT: pa.array([str(row.row) for row in orphans]),
                }
            )

    digest = digest_json([one.name for one, _, _ in chosen])
    return Unit("images", digest, 0, 0, batches, is_text=True, is_recorded=False)


def _batch(
    source: FilesSource, held: list[tuple[str, str, bytes | None, _Row, str | None]], columns: list[str]
) -> pa.Table:
    arrays = {
        "_source": pa.array([one[0] for one in held], pa.string()),
        ROW: pa.array([0] * len(held), pa.int64()),
        FILE: pa.array([one[1] for one in held], pa.string()),
        source.column: pa.array([one[2] for one in held], pa.binary()),
    }
    for column in columns:
        values = [one[3].get(column) for one in held]
        arrays[column] = pa.array(values, pa.string() if not any(v is not None for v in values) else None)
    if any(one[4] for one in held):
        arrays[DEFECT] = pa.array([one[4] for one in held], pa.string())
        arrays[TEXT] = pa.array([None] * len(held), pa.string())
    return pa.table(arrays)

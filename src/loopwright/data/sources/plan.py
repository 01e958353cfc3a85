"""What an ingest has to read: the units of a source that are new since the last one.

A file is known by name, size and time; where these differ, by the digest of its content:

- the same content under the same name (touched) or under another name: nothing is added; a warning for the latter;
- a text file that has grown, its old lines unchanged: the new lines are read;
- other content under a known name: read again where the dataset has a key (rows that are stored are recognised),
  refused where it has none, since old rows could not be told from new ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from loopwright.core.errors import SourceError
from loopwright.core.hashing import digest_file
from loopwright.data.sources.arrow import digest_table, to_table
from loopwright.data.sources.csv_scan import csv_scan
from loopwright.data.sources.files import compression_of, format_of
from loopwright.data.sources.here import Here
from loopwright.data.sources.listing import has_wildcard, is_url, list_files
from loopwright.data.sources.tabular import has_header_format, is_text_format, read_file
from loopwright.data.sources.unit import BATCH_ROWS, ROW, Unit, numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

    from loopwright.data.sources.files import FilesSource
    from loopwright.data.sources.frame import Frame
    from loopwright.data.sources.listing import Listed


@dataclass(frozen=True)
class Known:
    """What is on record about a unit."""

    name: str
    digest: str
    size_bytes: int
    modified_ns: int
    rows: int
    state: str  # read, same, waiting, refused, orphan


@dataclass
class Plan:
    """The units to read, what to record without reading, and what to tell people.

    Attributes:
        units: What to read, in this order.
        records: What to put on record without reading.
        warnings: What to tell people.
        refused: Units that are not read, with the reason; each leaves one entry in the quarantine.
        waiting: Rows that wait for something, such as their label.
        marks: Asked once, after all units were read: how far each part of the source was read, as JSON values. They
            become durable in the transaction that makes the rows visible.
        counts_batches: Whether the report says of each of ``records`` what became of its rows.
        settled: Called once the rows are visible and the marks durable.
    """

    units: list[Unit] = field(default_factory=list)
    records: list[Known] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    waiting: int = 0
    marks: Callable[[], Mapping[str, object]] = dict
    counts_batches: bool = False
    settled: Callable[[], None] = lambda: None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read, to record or to refuse."""
        return not (self.units or self.records or self.refused)


def plan_files(source: FilesSource, project: Path, known: Mapping[str, Known], *, has_key: bool, folder: Path) -> Plan:
    """Plan the reading of table files. Files of an object store are brought into ``folder``.

    Raises:
        SourceError: If nothing is where the source points and nothing ever was, or a file cannot be opened.
    """
    plan = Plan()
    read = (one for one in known.values() if one.state == "read" and one.size_bytes)
    by_content = {_content(one.name, one.digest): one.name for one in read}
    here = Here(project, folder)
    listed = list_files(source.pattern, project, format=source.format, buckets=here.buckets)
    if not listed and not known:
        raise nothing_there(source.pattern, project)
    changed = [one for one in listed if not is_known(one, known)]
    here.bring(changed)
    for one in changed:
        before = known.get(one.name)
        path = here.path(one)
        try:
            digest = digest_file(path)
        except OSError as error:
            raise unreadable(one.name, error) from error
        if before is not None and before.digest == digest:
            plan.records.append(Known(one.name, digest, one.size_bytes, one.modified_ns, before.rows, before.state))
            continue
        content = _content(one.name, digest)
        if by_content.get(content, one.name) != one.name:
            plan.records.append(Known(one.name, digest, one.size_bytes, one.modified_ns, 0, "same"))
            plan.warnings.append(f"{one.name} has the content of {by_content[content]} and adds nothing.")
            continue
        skip = 0
        if before is not None and before.state == "read" and not has_key and before.rows:
            if not (is_text_format(path, source) and _has_grown(path, before)):
                plan.refused[one.name] = (
                    "it changed after it was read, and the dataset has no key to tell old rows from new; "
                    "give the dataset key=, or write new rows to a new file"
                )
                plan.records.append(Known(one.name, digest, one.size_bytes, one.modified_ns, 0, "refused"))
                continue
            skip = before.rows
        if one.size_bytes:
            by_content[content] = one.name
        else:
            plan.warnings.append(f"{one.name} is empty and adds nothing.")
        plan.units.append(_file_unit(one, path, digest, source, skip))
    return plan


def plan_frame(data: Frame, known: Mapping[str, Known], *, name: str | None = None, has_header: bool = True) -> Plan:
    """Plan the reading of a table in memory; content that was read before gives an empty plan."""
    table = to_table(data)
    digest = digest_table(table)
    unit_name = name or f"frame:{digest[:16]}"
    if unit_name in known:
        return Plan()

    def batches() -> Iterator[pa.Table]:
        first = 0
        for batch in table.to_batches(BATCH_ROWS):
            yield numbered(table.from_batches([batch]), first)
            first += batch.num_rows
        if first == 0:
            yield numbered(table, 0)

    return Plan(units=[Unit(unit_name, digest, table.nbytes, 0, batches, has_header=has_header)])


def _content(name: str, digest: str) -> tuple[str, str | None]:
    """Return what two files share that give the same rows: the content, and the format in which it is read."""
    return digest, format_of(name)


def is_known(listed: Listed, known: Mapping[str, Known]) -> bool:
    """Tell whether a file is on record with this size and time."""
    before = known.get(listed.name)
    return before is not None and (before.size_bytes, before.modified_ns) == (listed.size_bytes, listed.modified_ns)


def nothing_there(pattern: str, project: Path) -> SourceError:
    """Say that a pattern finds nothing, and what to do."""
    if not is_url(pattern) and (project / pattern).is_dir():
        return SourceError(
            f"The folder {pattern} holds no file of the format that is sought.",
            hint="Put the data there, or say format='images', 'audio' or 'text', or name the files by a glob.",
        )
    what = "No file matches" if has_wildcard(pattern) else "There is no file or folder"
    where = "" if is_url(pattern) or Path(pattern).is_absolute() else f" (looked in {project})"
    return SourceError(f"{what} {pattern}{where}.", hint="Correct the path in the project, or put the data there.")


def unreadable(name: str, error: OSError) -> SourceError:
    """Say that a file cannot be opened."""
    return SourceError(
        f"{name} cannot be read: {error.strerror or error}.", hint="Check its permissions, then run again."
    )


def _file_unit(one: Listed, path: Path, digest: str, source: FilesSource, skip: int) -> Unit:
    def batches() -> Iterator[pa.Table]:
        before = path.stat()
        try:
            for batch in read_file(path, source):
                fresh = batch.filter(pc.greater_equal(batch[ROW], skip)) if skip else batch
                yield fresh
        except OSError as error:
            raise unreadable(one.name, error) from error
        after = path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise SourceError(f"{one.name} changed while it was read.", hint="Run again when it is complete.")

    is_text, has_header = is_text_format(path, source), has_header_format(path, source)
    scan = csv_scan(path, source, digest=digest, skip=skip)
    return Unit(one.name, digest, one.size_bytes, one.modified_ns, batches, is_text, has_header, scan=scan)


def _has_grown(path: Path, before: Known) -> bool:
    """Tell whether the file begins with the content on record, followed by whole new lines."""
    if compression_of(path.name) is not None or path.stat().st_size <= before.size_bytes:
        return False
    sha = hashlib.sha256()
    last = b""
    with path.open("rb") as file:
        left = before.size_bytes
        while left:
            last = file.read(min(left, 1 << 20))
            sha.update(last)
            left -= len(last)
        joined = last.endswith(b"\n") or file.read(1) in {b"\n", b"\r"}
    return joined and sha.hexdigest() == before.digest

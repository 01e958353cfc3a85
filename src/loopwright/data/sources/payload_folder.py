"""Plans the reading of a folder of payloads (images, audio, texts), each file one row, joined with its label tables.

The state of a file is its size and time and the label row that names it. It is read when either is new. A label row
that names no file, or several, goes to the quarantine once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from loopwright.core.hashing import digest_json
from loopwright.data.sources.compression import opened
from loopwright.data.sources.csv_file import encoding_of
from loopwright.data.sources.here import Here
from loopwright.data.sources.labels import FILE, Labels, Orphan, Row
from loopwright.data.sources.listing import fixed_part, list_files
from loopwright.data.sources.plan import Known, Plan, is_known, nothing_there
from loopwright.data.sources.unit import DEFECT, ROW, SHOWN_CHARACTERS, TEXT, Unit, UnreadableUnitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from loopwright.data.sources.files import FilesSource
    from loopwright.data.sources.listing import Listed

_BATCH_BYTES = 64 << 20  # of payloads held at once; one batch is packed into shards together
_BATCH_FILES = 8192
_Chosen = tuple["Listed", str, Row]


class _Held(NamedTuple):
    source: str
    name: str
    content: bytes | str | None
    row: Row
    defect: str | None
    text: str | None = None


def plan_payloads(source: FilesSource, project: Path, known: Mapping[str, Known], *, folder: Path) -> Plan:
    """Plan the reading of new files, of files whose label is new, and of label rows that fit no file.

    Raises:
        SourceError: If no file is where the source points and none ever was, or a label table cannot be read.
    """
    plan = Plan()
    here = Here(project, folder)
    listed = list_files(source.pattern, project, format=_format(source), buckets=here.buckets)
    labels = list_files(source.labels, project, buckets=here.buckets) if source.labels else []
    if not listed and not known:
        raise nothing_there(source.pattern, project)
    if all(is_known(one, known) for one in [*listed, *labels]):
        plan.waiting = sum(one.state == "waiting" for one in known.values())
        return plan
    if source.labels and not labels:
        plan.warnings.append(f"No label table matches {source.labels} yet.")
    table = Labels(source, labels, here)
    root = fixed_part(source.pattern)
    matched, orphans = table.match([one.name.removeprefix(root) for one in listed])
    chosen: list[_Chosen] = []
    digests: dict[str, str] = {}  # most label rows are equal to others
    for one in listed:
        name = one.name.removeprefix(root)
        row = matched.get(name)
        state = "waiting" if source.labels and row is None and source.unlabelled == "wait" else "read"
        content = repr(row)
        digest = digests.get(content) or digests.setdefault(content, digest_json(row))
        before = known.get(one.name)
        if before is not None and is_known(one, known) and before.digest == digest and before.state == state:
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
    if chosen or new_orphans:
        plan.units.append(_unit(source, here, chosen, new_orphans, table.columns))
    return plan


def _format(source: FilesSource) -> str | None:
    described = source.describe()["format"]
    return None if described is None else str(described)


def _digest_of(known: Known | None) -> str | None:
    return None if known is None else known.digest


def _unit(source: FilesSource, here: Here, chosen: list[_Chosen], orphans: list[Orphan], columns: list[str]) -> Unit:
    def batches() -> Iterator[pa.Table]:
        for some in _parts(chosen):
            here.bring(one for one, _, _ in some)
            yield _batch(source, [_held(source, here, *one) for one in some], columns)
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
    return Unit(str(_format(source)), digest, 0, 0, batches, is_text=True, is_recorded=False)


def _parts(chosen: list[_Chosen]) -> Iterator[list[_Chosen]]:
    """Cut the files into parts that are held in memory together."""
    part: list[_Chosen] = []
    size = 0
    for one in chosen:
        part.append(one)
        size += one[0].size_bytes
        if size >= _BATCH_BYTES or len(part) >= _BATCH_FILES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _held(source: FilesSource, here: Here, listed: Listed, name: str, row: Row) -> _Held:
    """Read one file; what cannot be read becomes a row with the reason."""
    kind = source.payload
    path = here.path(listed)
    try:
        if kind == "text":
            with opened(path) as file:
                data = file.read()
        else:
            data = path.read_bytes()
    except UnreadableUnitError as error:
        return _Held(listed.name, name, None, row, f"{kind}: {error}")
    except OSError as error:
        return _Held(listed.name, name, None, row, f"{kind}: the file cannot be opened: {error.strerror}")
    finally:
        here.forget(listed)
    if kind != "text":
        return _Held(listed.name, name, data, row, None)
    encoding = encoding_of(data, source.encoding)
    try:
        return _Held(listed.name, name, data.decode(encoding).removeprefix("\ufeff"), row, None)
    except UnicodeDecodeError as error:
        shown = data[:SHOWN_CHARACTERS].decode(encoding, errors="replace")
        reason = f"text: not valid {encoding.upper()} at byte {error.start} ({data[error.start]:#04x})"
        return _Held(listed.name, name, None, row, reason, shown)


def _batch(source: FilesSource, held: list[_Held], columns: list[str]) -> pa.Table:
    kind = pa.string() if source.payload == "text" else pa.binary()
    arrays = {
        "_source": pa.array([one.source for one in held], pa.string()),
        ROW: pa.array([0] * len(held), pa.int64()),
        FILE: pa.array([one.name for one in held], pa.string()),
        source.column: pa.array([one.content for one in held], kind),
    }
    for column in columns:
        values = [one.row.get(column) for one in held]
        arrays[column] = pa.array(values, pa.string() if not any(v is not None for v in values) else None)
    if any(one.defect for one in held):
        arrays[DEFECT] = pa.array([one.defect for one in held], pa.string())
        arrays[TEXT] = pa.array([one.text for one in held], pa.string())
    return pa.table(arrays)

"""Plans what was fetched from a server: the rows past a mark, or the whole of it where there is no watermark."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from loopwright.core.errors import SourceError
from loopwright.data.sources.plan import Known, Plan
from loopwright.data.sources.spool import Spool
from loopwright.data.sources.unit import Unit
from loopwright.data.sources.window import Mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loopwright.data.sources.reader import Reading
    from loopwright.data.sources.rows import Rows
    from loopwright.data.sources.window import Window

_BITS = 256


def mark_of(reading: Reading, part: str, where: str) -> Mark | None:
    """Return how far a part of the source was read.

    Raises:
        SourceError: If the dataset was read in another way before and has no key, so that its rows would be doubled.
    """
    refuse_other_ways(reading, part, where)
    return Mark.of(reading.marks.get(part))


def refuse_other_ways(reading: Reading, part: str, where: str) -> None:
    """Refuse to read from the start what was read by another mark or as a whole.

    Raises:
        SourceError: As above, where the dataset has no key.
    """
    others = sorted(({*reading.marks} | {one.name for one in reading.known.values() if one.rows}) - {part})
    if others and part not in reading.marks and not reading.has_key:
        raise SourceError(
            f"{where}: the dataset was filled from {others[0]} before, and has no key to tell its rows from new ones.",
            hint="Give the dataset key=, or read into a dataset of another name.",
        )


def plan_window(
    window: Window,
    batches: Iterable[Rows],
    before: Mark | None,
    reading: Reading,
    *,
    name: str,
    part: str,
    has_header: bool = True,
) -> Plan:
    """Fetch the rows of a window and plan those that were not read before.

    Args:
        window: What was read before.
        batches: All rows from the mark on.
        before: The mark.
        reading: The ingest.
        name: What rows carry as ``_source``.
        part: Under which the mark is kept.
        has_header: Whether all rows have the same columns.
    """
    first = before.rows if before else 0
    spool = Spool(reading.folder, first)
    for rows in batches:
        fresh = window.fresh(rows)
        if fresh:
            made = type(rows)(rows.names, fresh, rows.types)
            spool.add(made.to_table(keeps_empty=has_header))
    if not spool.rows:
        spool.forget()
        return Plan()
    mark = window.mark(spool.next)
    if mark is None:
        spool.forget()
        raise SourceError(f"{name}: no row has a value in the watermark '{window.column}'.", hint="Name another field.")
    return plan_spool(spool, name, {part: mark.as_json()}, has_header=has_header)


def plan_spool(spool: Spool, name: str, marks: Mapping[str, object], *, has_header: bool = True) -> Plan:
    """Plan spooled rows; the marks are put on record if judging read them to the end."""
    read: list[bool] = []

    def batches() -> Iterable[object]:
        yield from spool.tables()
        read.append(True)

    unit = Unit(name, "", spool.size_bytes, 0, batches, has_header=has_header, is_recorded=False)  # type: ignore[arg-type]
    return Plan(units=[unit], marks=lambda: dict(marks) if read else {})


def plan_whole(batches: Iterable[Rows], reading: Reading, *, name: str, has_header: bool = True) -> Plan:
    """Fetch everything, and plan it where its content, in whatever order, differs from the one on record.

    Raises:
        SourceError: If the dataset was filled past a watermark before and has no key.
    """
    known = reading.known.get(name)
    if known is None:
        refuse_other_ways(reading, name, name)
    spool, total = Spool(reading.folder), 0
    for rows in batches:
        total = _added(total, rows)
        spool.add(rows.to_table(keeps_empty=has_header))
    digest = _digest(total, spool.rows)
    was_held_back = known is not None and known.state == "refused" and known.rows > 0
    if known is not None and known.digest == digest and not (was_held_back and reading.has_key):
        spool.forget()
        return Plan()
    if known is not None and known.rows and not reading.has_key:
        spool.forget()
        reason = (
            "it changed after it was read, and the dataset has no key to tell old rows from new; "
            "give the dataset key=, or the source watermark="
        )
        record = Known(name, digest, spool.size_bytes, 0, known.rows, "refused")
        return Plan(records=[record], refused={name: reason})
    if not spool.rows:
        return Plan(records=[Known(name, digest, 0, 0, 0, "read")] if known else [])
    return Plan(units=[Unit(name, digest, spool.size_bytes, 0, spool.tables, has_header=has_header)])


def whole_has_new(batches: Iterable[Rows], known: Known | None) -> bool:
    """Tell whether the content differs from the one on record; reads all of it."""
    total = count = 0
    for rows in batches:
        total = _added(total, rows)
        count += len(rows.values)
    return count > 0 if known is None else known.digest != _digest(total, count)


def _added(total: int, rows: Rows) -> int:
    """Add the digests of rows to a sum, in which their order does not count and their number does."""
    for row in rows.values:
        total += int.from_bytes(hashlib.sha256(rows.digest(row).encode()).digest(), "big")
    return total % (1 << _BITS)


def _digest(total: int, rows: int) -> str:
    return hashlib.sha256(f"{total}:{rows}".encode()).hexdigest()

"""What an erasure is going to do, fixed on record before anything is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.core.storage.table_purge import TablePurge


@dataclass
class ErasurePlan:
    """Plain values, as the record keeps them while the erasure is under way.

    Attributes:
        rows: Rows that the newest snapshot loses, as it is read.
        stored_rows: Rows to go from all files of the dataset.
        files: Those files.
        totals: By version, how many rows the snapshot has afterwards.
        versions: The snapshots that have such rows.
        quarantined_rows: Rows to go from the quarantine as it is.
        quarantine_files: The quarantine's files with such rows.
        refs: Payloads that the rows refer to.
        shards: The shards they lie in.
        elsewhere: Whether other rooms have to erase too before the request is done.
        columns: By a name that another room gave, the columns whose values it asks for.
        found: The digests of these values in the rows to go, and of the rows' keys under ``""``.
        lines: The quarantined rows that were found as text, by ingest, source and row.
        blobs: What other rooms replaced, to be deleted.
    """

    rows: int = 0
    stored_rows: int = 0
    files: list[str] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    versions: list[int] = field(default_factory=list)
    quarantined_rows: int = 0
    quarantine_files: list[str] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)
    elsewhere: bool = False
    columns: dict[str, list[str]] = field(default_factory=dict)
    found: dict[str, list[str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)


def rows_lost(purge: TablePurge, key: Sequence[str]) -> tuple[dict[int, int], set[int]]:
    """Return, by version of the table, how many rows a reader of it loses, and the versions with any such row.

    Where the newest row of each key counts (``key``), a key is lost when no row of it is left.
    """
    by_file = purge.by_file()
    gone_by_key: dict[str, list[tuple[int, int, int]]] = {}
    for name, number, went, stays in purge.by_file_and_key(key) if key else ():
        gone_by_key.setdefault(name, []).append((number, went, stays))
    gone, left = Counter[int](), Counter[int]()
    stored = lost_keys = 0
    lost: dict[int, int] = {}
    holding: set[int] = set()
    for commit in purge.log.commits():
        changes = [(name, -1) for name in commit.removed] + [(name, 1) for name in commit.added]
        for name, sign in changes:
            stored += sign * by_file.get(name, 0)
            for number, went, stays in gone_by_key.get(name, ()):
                lost_keys -= gone[number] > 0 and not left[number]
                gone[number] += sign * went
                left[number] += sign * stays
                lost_keys += gone[number] > 0 and not left[number]
        lost[commit.version] = lost_keys if key else stored
        if stored:
            holding.add(commit.version)
    return lost, holding

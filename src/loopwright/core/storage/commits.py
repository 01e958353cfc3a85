"""What a commit of a table says about itself: when, by which transaction, with which texts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deltalake import CommitProperties, Transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTE = "loopwright"  # the key of our own part of a commit's metadata


@dataclass(frozen=True)
class TableVersion:
    """One commit of a table; ``transaction`` is the application and the number it was made under."""

    version: int
    committed_at: datetime
    operation: str
    rows_added: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    transaction: tuple[str, int] | None = None


def commit_note(
    at: datetime, *, transaction: tuple[str, int] | None = None, metadata: Mapping[str, str] | None = None
) -> CommitProperties:
    """Write the note that goes with a commit, for delta-rs."""
    return CommitProperties(
        custom_metadata=note_texts(at, transaction=transaction, metadata=metadata),
        app_transactions=[Transaction(*transaction)] if transaction else None,
    )


def note_texts(
    at: datetime, *, transaction: tuple[str, int] | None = None, metadata: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Write the note itself: what is added to the information of a commit."""
    note = {"committed_at": at.isoformat(), "transaction": transaction, "metadata": dict(metadata or {})}
    return {_NOTE: json.dumps(note)}


def read_commit(entry: Mapping[str, object]) -> TableVersion:
    """Read one entry of a table's history; a commit of another writer has no note, and its own clock."""
    text = entry.get(_NOTE)
    note = json.loads(text) if isinstance(text, str) else {}
    metrics = entry.get("operationMetrics")
    added = metrics.get("num_added_rows") if isinstance(metrics, dict) else None
    if "committed_at" in note:
        committed_at = datetime.fromisoformat(note["committed_at"])
    else:
        committed_at = datetime.fromtimestamp(int(str(entry.get("timestamp", 0))) / 1000, tz=UTC)
    transaction = note.get("transaction")
    return TableVersion(
        version=int(str(entry["version"])),
        committed_at=committed_at,
        operation=str(entry.get("operation", "")),
        rows_added=int(added or 0),
        metadata=note.get("metadata", {}),
        transaction=(str(transaction[0]), int(transaction[1])) if transaction else None,
    )

"""The record of an erasure: what was asked, by whom, why, and what went. Never the key itself.

Keys are on record as salted SHA-256 digests, which is what the rows are found by: the values as given are held in
memory only, and an erasure that died is completed from the record, on any machine. The digest of a key that can be
guessed can be found by guessing; it says who was erased to nobody who does not hold the key already.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from loopwright.core.storage.duck import quote_text
from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.core.storage.facts import Facts

Status = Literal["asked", "planned", "erased", "done"]

erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("key_column", sa.String(200), nullable=False),
    sa.Column("salt", sa.String(64), nullable=False),
    sa.Column("key_digests", sa.JSON, nullable=False),
    sa.Column("forever", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("asked_by", sa.String(200), nullable=False),
    sa.Column("asked_at", UtcDateTime, nullable=False),
    sa.Column("status", sa.String(12), nullable=False),  # asked, planned, erased from the lake, done
    sa.Column("plan", sa.JSON, nullable=False),  # what is to be done; emptied when it is
    sa.Column("report", sa.JSON, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    sa.Index("ix_erasures_dataset", "dataset", "status"),
)


@dataclass(frozen=True)
class Remainder:
    """Something made from erased rows that the erasure does not touch, and how to close it."""

    kind: str
    name: str
    close: str


@dataclass(frozen=True)
class ErasureReport:
    """What an erasure took away.

    Attributes:
        rows: Rows of the newest snapshot, as it is read.
        stored_rows: Rows in all files, those of older snapshots, superseded ones and copies by compactions included.
        files: Parquet files that were written again without them.
        snapshots: Snapshots that had such a row.
        quarantined_rows: Rows that the contract had kept out.
        payloads: Images, audio and texts that nothing else refers to.
        examples: Rows of training sets' files.
        online: Entities of the online store.
        predictions: Rows of the prediction log.
        outcomes: Rows of outcomes, and of labels that were sent for those predictions.
        remains: What was made from the rows and is still there.
    """

    rows: int = 0
    stored_rows: int = 0
    files: int = 0
    snapshots: int = 0
    quarantined_rows: int = 0
    payloads: int = 0
    examples: int = 0
    online: int = 0
    predictions: int = 0
    outcomes: int = 0
    remains: tuple[Remainder, ...] = ()


@dataclass(frozen=True)
class Erasure:
    """One request, with what became of it."""

    id: str
    dataset: str
    key_column: str
    keys: int
    forever: bool
    reason: str
    asked_by: str
    asked_at: datetime
    status: Status
    finished_at: datetime | None
    report: ErasureReport = field(default_factory=ErasureReport)


def key_digest(salt: str, value: str) -> str:
    """Return the digest under which a key is on record; DuckDB computes the same in :func:`digest_sql`."""
    return hashlib.sha256((salt + value).encode()).hexdigest()


def digest_sql(salt: str, expression: str) -> str:
    """Write the DuckDB expression of :func:`key_digest` for a text expression."""
    return f"sha256('{salt}' || {expression})"


def raw_forms(column: str, kind: str | None, raw: str = "raw") -> list[str]:
    """Write what the key of a quarantined row may stand for, in DuckDB SQL over ``raw``, a JSON object.

    Cells are kept as they came. So they are taken as text, as the value that they would have been (``007`` is 7), and
    as the text that a reference stands for.
    """
    path = quote_text('$."' + column.replace('"', '\\"') + '"')
    cell = f"trim(json_extract_string({raw}, {path}))"
    return [cell, f"'sha256:' || sha256({cell})", *([f"TRY_CAST({cell} AS {kind})::VARCHAR"] if kind else [])]


def erasures_on_record(facts: Facts, dataset: str | None = None) -> list[Erasure]:
    """Return the requests, the newest first."""
    query = sa.select(erasures).order_by(erasures.c.asked_at.desc(), erasures.c.id.desc())
    if dataset is not None:
        query = query.where(erasures.c.dataset == dataset)
    with facts.read() as connection:
        return [read_erasure(row) for row in connection.execute(query)]


def read_erasure(row: sa.Row[Any]) -> Erasure:
    """Read one row of the table."""
    report = dict(row.report or {})
    remains = tuple(Remainder(**one) for one in report.pop("remains", []))
    return Erasure(
        id=row.id,
        dataset=row.dataset,
        key_column=row.key_column,
        keys=len(row.key_digests),
        forever=bool(row.forever),
        reason=row.reason,
        asked_by=row.asked_by,
        asked_at=row.asked_at,
        status=row.status,
        finished_at=row.finished_at,
        report=ErasureReport(**report, remains=remains),
    )

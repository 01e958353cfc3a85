"""Holds: what must not be removed, by whom and why, until when; a garbage collection and an erasure respect them.

A hold names a thing as the lineage does: ``dataset:orders`` (all its snapshots, and its quarantine),
``snapshot:orders@3``, ``training_set:…``, ``model:eta/3``, or ``model:eta``, all its versions. It keeps what it names
and all that this was made from. It ends at its date, or when somebody releases it; both stay on record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.errors import DeclarationError, RefusedError, UnknownNameError
from loopwright.core.ref import Ref
from loopwright.core.storage.facts import Facts, UtcDateTime, metadata

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.core.clock import Clock
    from loopwright.core.lineage import Lineage

HELD_KINDS = ("dataset", "snapshot", "training_set", "model")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

holds = sa.Table(
    "holds",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("subject", sa.String(300), primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("held_by", sa.String(200), nullable=False),
    sa.Column("held_at", UtcDateTime, nullable=False),
    sa.Column("until", UtcDateTime),  # null: until it is released
    sa.Column("released_at", UtcDateTime),
    sa.Column("released_by", sa.String(200)),
)


@dataclass(frozen=True)
class Hold:
    """One thing that is kept, whatever its age."""

    name: str
    subject: Ref
    reason: str
    held_by: str
    held_at: datetime
    until: datetime | None
    released_at: datetime | None
    released_by: str | None

    def is_open(self, now: datetime) -> bool:
        """Say whether it counts at a moment."""
        return self.released_at is None and (self.until is None or now < self.until)


class Holds:
    """Places, releases and lists holds."""

    def __init__(self, facts: Facts, clock: Clock) -> None:
        self._facts = facts
        self._clock = clock

    def place(self, name: str, subject: Ref, *, reason: str, by: str, until: datetime | None = None) -> Hold:
        """Keep a thing. One name may hold several things; placing a hold that is open again changes its reason and end.

        Raises:
            DeclarationError: If name, reason or person is missing, the kind of thing cannot be held, or the end has
                passed.
        """
        at = self._clock.now()
        if not _NAME.fullmatch(name):
            raise DeclarationError(
                f"{name[:80]!r} is no name for a hold.", hint="Use letters, digits, '_', '-' and '.', at most 63."
            )
        if not by.strip() or not reason.strip():
            raise DeclarationError(f"The hold {name!r} needs a person and a reason: both are kept on record.")
        if subject.kind not in HELD_KINDS:
            raise DeclarationError(
                f"A hold cannot name '{subject}'.", hint=f"Hold one of: {', '.join(f'{k}:…' for k in HELD_KINDS)}."
            )
        if until is not None and until <= at:
            raise DeclarationError(f"The hold {name!r} would end at {until:%Y-%m-%d %H:%M}, which has passed.")
        made = Hold(name, subject, reason, by, at, until, None, None)
        row: dict[str, object] = {
            "name": name,
            "subject": str(subject),
            "reason": reason,
            "held_by": by,
            "held_at": at,
            "until": until,
            "released_at": None,
            "released_by": None,
        }
        with self._facts.write() as connection:
            self._facts.upsert(connection, holds, row)
        return made

    def release(self, name: str, *, by: str, subject: Ref | None = None) -> int:
        """End a hold, of one thing or of all that it names; return how many things it held.

        Raises:
            UnknownNameError: If no open hold has this name.
        """
        at = self._clock.now()
        where = [holds.c.name == name, holds.c.released_at.is_(None)]
        if subject is not None:
            where.append(holds.c.subject == str(subject))
        with self._facts.write() as connection:
            change = holds.update().where(*where).values(released_at=at, released_by=by)
            released = connection.execute(change).rowcount
            if not released:
                known = connection.execute(
                    sa.select(holds.c.name).where(holds.c.released_at.is_(None)).distinct().order_by(holds.c.name)
                ).scalars()
                raise UnknownNameError("open hold", name, list(known))
        return released

    def all(self) -> list[Hold]:
        """Return every hold on record, the newest first."""
        query = sa.select(holds).order_by(holds.c.held_at.desc(), holds.c.name, holds.c.subject)
        with self._facts.read() as connection:
            return [
                Hold(
                    row.name,
                    Ref.parse(row.subject),
                    row.reason,
                    row.held_by,
                    row.held_at,
                    row.until,
                    row.released_at,
                    row.released_by,
                )
                for row in connection.execute(query)
            ]

    def open(self) -> list[Hold]:
        """Return the holds that count now."""
        now = self._clock.now()
        return [one for one in self.all() if one.is_open(now)]

    def on_dataset(self, dataset: str) -> list[Hold]:
        """Return the open holds on a dataset or one of its snapshots."""
        return [
            one
            for one in self.open()
            if one.subject == Ref("dataset", dataset)
            or (one.subject.kind == "snapshot" and one.subject.id.rpartition("@")[0] == dataset)
        ]


def holds_against_erasing(lineage: Lineage, found: Holds, dataset: str) -> list[Hold]:
    """Return the open holds on a dataset, its snapshots, or something that was made from one."""
    made = [one for one in found.open() if one.subject.kind in {"training_set", "model"}]
    return found.on_dataset(dataset) + [one for one in made if _is_made_from(lineage, one.subject, dataset)]


def _is_made_from(lineage: Lineage, subject: Ref, dataset: str) -> bool:
    parts = lineage.targets_below(subject) if subject.kind == "model" and "/" not in subject.id else [subject]
    sources = (edge.source for part in parts for edge in lineage.ancestors(part))
    return any(one.kind == "snapshot" and one.id.rpartition("@")[0] == dataset for one in sources)


def refused_by(found: list[Hold], doing: str) -> RefusedError:
    """Say who forbids what, and how to lift it."""
    first = found[0]
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    until = "" if first.until is None else f" until {first.until:%Y-%m-%d}"
    return RefusedError(
        f"{doing} is refused: the hold '{first.name}' of {first.held_by} on {first.subject}{until} ({first.reason})"
        f"{others}.",
        hint=f"Release it first: loopwright data hold --release {first.name}",
    )

"""Tags: names of snapshots that people give, each move on record.

A tag keeps its snapshot readable: no garbage collection takes the files of a tagged snapshot. A movable tag points
elsewhere after the next ``set``; one that was made ``immutable`` never moves and is never removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.core.errors import AliasConflictError, DeclarationError, RefusedError, UnknownNameError
from loopwright.core.storage.facts import Facts, UtcDateTime, metadata
from loopwright.data.versions.reference import LATEST, TAG_NAME

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.core.clock import Clock

dataset_tags = sa.Table(
    "dataset_tags",
    metadata,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("tag", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("immutable", sa.Boolean, nullable=False),
    sa.Column("moves", sa.Integer, nullable=False),  # the number of its last move
    sa.Column("moved_at", UtcDateTime, nullable=False),
    sa.Column("moved_by", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

dataset_tag_moves = sa.Table(
    "dataset_tag_moves",
    metadata,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("tag", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("version_before", sa.Integer),  # null: it did not exist
    sa.Column("version_after", sa.Integer),  # null: it was removed
    sa.Column("moved_at", UtcDateTime, nullable=False),
    sa.Column("moved_by", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)


@dataclass(frozen=True)
class Tag:
    """A name of one snapshot."""

    dataset: str
    name: str
    version: int
    immutable: bool
    moved_at: datetime
    moved_by: str
    reason: str


@dataclass(frozen=True)
class TagMove:
    """One line of a tag's history; None before it existed, and where it was removed."""

    dataset: str
    tag: str
    number: int
    version_before: int | None
    version_after: int | None
    moved_at: datetime
    moved_by: str
    reason: str


class Tags:
    """Sets, removes and lists tags. Of several who move one tag at once each move is on record, one after the other."""

    def __init__(self, facts: Facts, clock: Clock) -> None:
        self._facts = facts
        self._clock = clock

    def set(
        self,
        dataset: str,
        tag: str,
        version: int,
        *,
        by: str,
        reason: str = "",
        immutable: bool = False,
        expected: int | None = None,
    ) -> Tag:
        """Let a tag name a version; the caller has made sure that the version exists.

        Args:
            dataset: The dataset.
            tag: Letters, digits, ``_``, ``-``, ``.``, a letter first; not ``latest``.
            version: What it shall name.
            by: Who sets it.
            reason: Why.
            immutable: Never let it move or be removed.
            expected: Where the caller believes it is; elsewhere is refused. Not checked by default.

        Raises:
            DeclarationError: If the name cannot be one, or nobody is named.
            RefusedError: If the tag is immutable and names another version.
            AliasConflictError: If it is not where the caller expected it.
        """
        if not TAG_NAME.fullmatch(tag) or tag == LATEST:
            raise DeclarationError(
                f"{tag[:80]!r} is no name for a tag.",
                hint=f"Use letters, digits, '_', '-' and '.', a letter first, at most 63; '{LATEST}' is taken.",
            )
        if not by.strip():
            raise DeclarationError(f"Setting the tag {tag!r} needs a name: it is kept on record.")
        at = self._clock.now()
        with self._facts.write() as connection:
            old = _find(connection, dataset, tag)
            _expect(dataset, tag, old, expected)
            if old is not None and old.immutable and old.version != version:
                raise _fixed(old)
            if old is not None and old.version == version and old.immutable >= immutable:
                return old
            made = Tag(dataset, tag, version, immutable or (old is not None and old.immutable), at, by, reason)
            self._moved(connection, made, before=None if old is None else old.version)
        return made

    def remove(self, dataset: str, tag: str, *, by: str, reason: str = "") -> None:
        """Forget a tag; its moves stay on record.

        Raises:
            UnknownNameError: If there is no such tag.
            RefusedError: If it is immutable.
        """
        at = self._clock.now()
        with self._facts.write() as connection:
            old = _find(connection, dataset, tag)
            if old is None:
                raise UnknownNameError("tag", f"{dataset}@{tag}", _names(connection, dataset))
            if old.immutable:
                raise _fixed(old)
            _record(connection, Tag(dataset, tag, old.version, False, at, by, reason), old.version, None)  # noqa: FBT003
            connection.execute(dataset_tags.delete().where(_is(dataset_tags, dataset, tag)))

    def find(self, dataset: str, tag: str) -> Tag:
        """Return a tag.

        Raises:
            UnknownNameError: If there is no such tag.
        """
        with self._facts.read() as connection:
            found = _find(connection, dataset, tag)
            if found is None:
                raise UnknownNameError("tag", f"{dataset}@{tag}", _names(connection, dataset))
        return found

    def all(self, dataset: str | None = None) -> list[Tag]:
        """Return the tags of a dataset, or of all, by name."""
        query = sa.select(dataset_tags).order_by(dataset_tags.c.dataset, dataset_tags.c.tag)
        if dataset is not None:
            query = query.where(dataset_tags.c.dataset == dataset)
        with self._facts.read() as connection:
            return [_tag(row) for row in connection.execute(query)]

    def moves(self, dataset: str, tag: str) -> list[TagMove]:
        """Return what was done to a tag, the newest first; also of one that was removed."""
        moves = dataset_tag_moves
        query = sa.select(moves).where(_is(moves, dataset, tag)).order_by(moves.c.number.desc())
        with self._facts.read() as connection:
            return [TagMove(*row) for row in connection.execute(query)]

    def _moved(self, connection: sa.Connection, made: Tag, *, before: int | None) -> None:
        number = _record(connection, made, before, made.version)
        row: dict[str, object] = {
            "dataset": made.dataset,
            "tag": made.name,
            "version": made.version,
            "immutable": made.immutable,
            "moves": number,
            "moved_at": made.moved_at,
            "moved_by": made.moved_by,
            "reason": made.reason,
        }
        self._facts.upsert(connection, dataset_tags, row)


def _record(connection: sa.Connection, made: Tag, before: int | None, after: int | None) -> int:
    moves = dataset_tag_moves
    last = connection.execute(
        sa.select(sa.func.max(moves.c.number)).where(_is(moves, made.dataset, made.name))
    ).scalar()
    number = 1 + (last or 0)
    connection.execute(
        moves.insert().values(
            dataset=made.dataset,
            tag=made.name,
            number=number,
            version_before=before,
            version_after=after,
            moved_at=made.moved_at,
            moved_by=made.moved_by,
            reason=made.reason,
        )
    )
    return number


def _is(table: sa.Table, dataset: str, tag: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.dataset == dataset, table.c.tag == tag)


def _find(connection: sa.Connection, dataset: str, tag: str) -> Tag | None:
    row = connection.execute(sa.select(dataset_tags).where(_is(dataset_tags, dataset, tag))).first()
    return None if row is None else _tag(row)


def _tag(row: sa.Row[Any]) -> Tag:
    return Tag(row.dataset, row.tag, row.version, bool(row.immutable), row.moved_at, row.moved_by, row.reason)


def _names(connection: sa.Connection, dataset: str) -> list[str]:
    query = sa.select(dataset_tags.c.tag).where(dataset_tags.c.dataset == dataset).order_by(dataset_tags.c.tag)
    return [f"{dataset}@{name}" for name in connection.execute(query).scalars()]


def _expect(dataset: str, tag: str, old: Tag | None, expected: int | None) -> None:
    if expected is None or (old is not None and old.version == expected):
        return
    where = "does not exist" if old is None else f"names version {old.version}"
    raise AliasConflictError(
        f"The tag {dataset}@{tag} {where}, and version {expected} was expected.",
        hint="Look at it again: somebody else moved it.",
    )


def _fixed(tag: Tag) -> RefusedError:
    return RefusedError(
        f"The tag {tag.dataset}@{tag.name} is immutable and names version {tag.version} since {tag.moved_at:%Y-%m-%d}.",
        hint="Use a new tag.",
    )

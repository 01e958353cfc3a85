"""Lineage: which thing was made from which, walked both ways.

A thing is named by a ``Ref`` (its kind and id). An edge says that ``target`` was made from ``source``. Edges are only
ever added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.ref import Ref
from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopwright.core.clock import Clock
    from loopwright.core.storage.facts import Facts

lineage_edges = sa.Table(
    "lineage_edges",
    metadata,
    sa.Column("source", sa.String(300), primary_key=True),
    sa.Column("target", sa.String(300), primary_key=True),
    sa.Column("relation", sa.String(60), primary_key=True),
    sa.Column("linked_at", UtcDateTime, nullable=False),
    sa.Index("ix_lineage_edges_target", "target"),
)


@dataclass(frozen=True)
class Edge:
    """``target`` was made from ``source``; ``depth`` is the number of edges from where the walk began."""

    source: Ref
    target: Ref
    relation: str
    depth: int


class Lineage:
    """The graph of what was made from what.

    Linking the same edge twice adds nothing. A walk visits each edge once, nearest first, and ends on cycles.
    """

    def __init__(self, facts: Facts, clock: Clock) -> None:
        self._facts = facts
        self._clock = clock

    def link(self, source: Ref, target: Ref, relation: str, *, connection: sa.Connection | None = None) -> None:
        """Record that ``target`` was made from ``source``; inside ``connection``'s transaction where one is given."""
        self.link_many([(source, target, relation)], connection=connection)

    def link_many(self, edges: Iterable[tuple[Ref, Ref, str]], *, connection: sa.Connection | None = None) -> None:
        """Record several edges in one transaction."""
        now = self._clock.now()
        rows = [
            {"source": str(a), "target": str(b), "relation": relation, "linked_at": now} for a, b, relation in edges
        ]
        if not rows:
            return
        if connection is None:
            with self._facts.write() as own:
                self._facts.insert_missing(own, lineage_edges, rows)
        else:
            self._facts.insert_missing(connection, lineage_edges, rows)

    def ancestors(self, ref: Ref, *, depth: int = 50) -> list[Edge]:
        """Return the edges that lead to ``ref``: what it was made from, and what that was made from."""
        return self._walk(ref, lineage_edges.c.target, lineage_edges.c.source, depth)

    def descendants(self, ref: Ref, *, depth: int = 50) -> list[Edge]:
        """Return the edges that start at ``ref``: what was made from it, and from that."""
        return self._walk(ref, lineage_edges.c.source, lineage_edges.c.target, depth)

    def targets_below(self, ref: Ref) -> list[Ref]:
        """Return what was made whose name begins with a name and a slash: the versions ``model:eta/1`` of a model."""
        target = lineage_edges.c.target
        query = sa.select(target).where(target.startswith(f"{ref}/", autoescape=True)).distinct().order_by(target)
        with self._facts.read() as connection:
            return [Ref.parse(name) for name in connection.execute(query).scalars()]

    def _walk(self, ref: Ref, near: sa.Column[str], far: sa.Column[str], limit: int) -> list[Edge]:
        found: list[Edge] = []
        seen = {str(ref)}
        frontier = [str(ref)]
        with self._facts.read() as connection:
            for level in range(1, limit + 1):
                rows = connection.execute(
                    sa.select(lineage_edges)
                    .where(near.in_(frontier))
                    .order_by(lineage_edges.c.source, lineage_edges.c.target)
                ).all()
                found += [Edge(Ref.parse(row.source), Ref.parse(row.target), row.relation, level) for row in rows]
                frontier = [name for name in dict.fromkeys(getattr(row, far.name) for row in rows) if name not in seen]
                seen.update(frontier)
                if not frontier:
                    break
        return found

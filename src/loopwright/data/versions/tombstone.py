"""Tombstones: what a garbage collection took, for as long as it can be brought back.

A collection moves files into ``trash/<collection>/`` under their old path, in the store and on this machine, and lists
each here **before** it moves: a killed collection leaves files in one of the two places, and both are known. Restoring
moves them back byte for byte; emptying, which only a later collection does, deletes them.
"""

from __future__ import annotations

import sqlalchemy as sa

from loopwright.core.storage.facts import UtcDateTime, metadata

collections = sa.Table(
    "collections",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("collected_at", UtcDateTime, nullable=False),
    sa.Column("restore_until", UtcDateTime, nullable=False),
    sa.Column("status", sa.String(12), nullable=False),  # kept, restored, emptied
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("ended_at", UtcDateTime),
)

tombstones = sa.Table(
    "tombstones",
    metadata,
    sa.Column("collection_id", sa.String(36), primary_key=True),
    sa.Column("place", sa.String(12), primary_key=True),  # store, local, facts
    sa.Column("path", sa.String(700), primary_key=True),
    sa.Column("kind", sa.String(60), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("content", sa.JSON),  # a row of the facts, with its table
)

"""The facts of the room: what was declared, what was read, and which ingest made which version."""

from __future__ import annotations

import sqlalchemy as sa

from loopwright.core.storage.facts import UtcDateTime, metadata

datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("declaration", sa.JSON, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

ingests = sa.Table(
    "ingests",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("status", sa.String(12), nullable=False),  # pending, done, abandoned
    sa.Column("staged", sa.Text, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("version", sa.Integer),  # of the table, once there are rows
    sa.Column("total_rows", sa.BigInteger, nullable=False),  # readable rows after this ingest
    sa.Column("has_superseded", sa.Boolean, nullable=False),  # some key is stored more than once
    sa.Column("schema_digest", sa.String(64), nullable=False),
    sa.Column("contract_digest", sa.String(64), nullable=False),
    sa.Column("rows_accepted", sa.BigInteger, nullable=False),
    sa.Column("rows_quarantined", sa.BigInteger, nullable=False),
    sa.Column("report", sa.JSON, nullable=False),
    sa.UniqueConstraint("dataset", "number", name="uq_ingests_dataset"),
)

source_units = sa.Table(
    "source_units",
    metadata,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("modified_ns", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),  # read, same, waiting, refused
    sa.Column("ingest_id", sa.String(36), nullable=False),
    sa.Index("ix_source_units_digest", "dataset", "digest"),
)

source_marks = sa.Table(
    "source_marks",
    metadata,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("part", sa.String(200), primary_key=True),  # of the source: a partition, a shard, a query
    sa.Column("position", sa.JSON, nullable=False),  # up to which it was read
    sa.Column("ingest_id", sa.String(36), nullable=False),
)

"""The tables of ``data``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "datasets",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("declaration", sa.JSON, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "ingests",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("staged", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("version", sa.Integer),
        sa.Column("total_rows", sa.BigInteger, nullable=False),
        sa.Column("has_superseded", sa.Boolean, nullable=False),
        sa.Column("schema_digest", sa.String(64), nullable=False),
        sa.Column("contract_digest", sa.String(64), nullable=False),
        sa.Column("rows_accepted", sa.BigInteger, nullable=False),
        sa.Column("rows_quarantined", sa.BigInteger, nullable=False),
        sa.Column("report", sa.JSON, nullable=False),
        sa.UniqueConstraint("dataset", "number", name="uq_ingests_dataset"),
    )
    op.create_table(
        "source_units",
        sa.Column("dataset", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("modified_ns", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("ingest_id", sa.String(36), nullable=False),
    )
    op.create_index("ix_source_units_digest", "source_units", ["dataset", "digest"])

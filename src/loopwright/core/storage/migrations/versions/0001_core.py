"""The tables of ``core``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "lineage_edges",
        sa.Column("source", sa.String(300), primary_key=True),
        sa.Column("target", sa.String(300), primary_key=True),
        sa.Column("relation", sa.String(60), primary_key=True),
        sa.Column("linked_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_lineage_edges_target", "lineage_edges", ["target"])

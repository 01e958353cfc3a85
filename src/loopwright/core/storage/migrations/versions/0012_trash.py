"""What a garbage collection put into the trash, and from where."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "collections",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("collected_at", sa.BigInteger, nullable=False),
        sa.Column("restore_until", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
    )
    op.create_table(
        "tombstones",
        sa.Column("collection_id", sa.String(36), primary_key=True),
        sa.Column("place", sa.String(12), primary_key=True),
        sa.Column("path", sa.String(700), primary_key=True),
        sa.Column("kind", sa.String(60), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("content", sa.JSON),
    )

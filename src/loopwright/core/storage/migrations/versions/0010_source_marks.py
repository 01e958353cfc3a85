"""How far each part of a source was read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "source_marks",
        sa.Column("dataset", sa.String(64), primary_key=True),
        sa.Column("part", sa.String(200), primary_key=True),
        sa.Column("position", sa.JSON, nullable=False),
        sa.Column("ingest_id", sa.String(36), nullable=False),
    )

"""The tables of ``registry``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "model_versions",
        sa.Column("model", sa.String(120), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("archived_at", sa.BigInteger),
        sa.Column("record", sa.JSON, nullable=False),
        sa.UniqueConstraint("model", "run_id", name="uq_model_versions_model_run_id"),
    )
    op.create_table(
        "trusted_digests",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("trusted_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "aliases",
        sa.Column("model", sa.String(120), primary_key=True),
        sa.Column("alias", sa.String(60), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("move", sa.Integer, nullable=False),
        sa.Column("moved_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "alias_moves",
        sa.Column("model", sa.String(120), primary_key=True),
        sa.Column("alias", sa.String(60), primary_key=True),
        sa.Column("move", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("from_version", sa.Integer),
        sa.Column("to_version", sa.Integer),
        sa.Column("moved_at", sa.BigInteger, nullable=False),
        sa.Column("moved_by", sa.String(200), nullable=False),
        sa.Column("verdict_id", sa.String(64)),
        sa.Column("override_reason", sa.String(1000)),
        sa.Column("rollback", sa.Boolean, nullable=False),
    )

"""The tables of ``evaluation``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "holdout_reads",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("holdout", sa.String(64), nullable=False),
        sa.Column("metric", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(300), nullable=False),
        sa.Column("reader", sa.String(200), nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("informative", sa.Boolean, nullable=False),
        sa.Column("released", sa.Float, nullable=True),
        sa.Column("ladder_loss", sa.Float, nullable=True),
        sa.Column("ladder_losses", sa.String(64), nullable=True),
        sa.UniqueConstraint("holdout", "metric", "subject", name="uq_holdout_reads_holdout"),
    )
    op.create_table(
        "evaluations",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("question", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(300), nullable=False),
        sa.Column("holdout", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.UniqueConstraint("question", name="uq_evaluations_question"),
    )
    op.create_index("ix_evaluations_subject", "evaluations", ["subject"])
    op.create_table(
        "verdicts",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("question", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(300), nullable=False),
        sa.Column("champion", sa.String(300), nullable=True),
        sa.Column("holdout", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(24), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.UniqueConstraint("question", name="uq_verdicts_question"),
    )
    op.create_index("ix_verdicts_subject", "verdicts", ["subject"])

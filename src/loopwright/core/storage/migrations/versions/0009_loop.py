"""The tables of ``loop``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "turns",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("loop", sa.String(120), nullable=False),
        sa.Column("models", sa.JSON, nullable=False),
        sa.Column("cause", sa.JSON, nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("outcome", sa.JSON, nullable=False),
    )
    op.create_index("ix_turns_loop_started_at", "turns", ["loop", "started_at"])
    op.create_table(
        "turn_steps",
        sa.Column("turn_id", sa.String(36), sa.ForeignKey("turns.id"), primary_key=True),
        sa.Column("name", sa.String(160), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("key", sa.String(64)),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("output", sa.JSON, nullable=False),
        sa.Column("error", sa.Text),
    )
    op.create_index("ix_turn_steps_name_key", "turn_steps", ["name", "key"])
    op.create_table(
        "decisions",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("loop", sa.String(120), nullable=False),
        sa.Column("model", sa.String(120), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("trigger", sa.String(60), nullable=False),
        sa.Column("signals", sa.JSON, nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("decided_at", sa.BigInteger, nullable=False),
        sa.Column("answered_by", sa.String(120)),
        sa.Column("answered_at", sa.BigInteger),
        sa.Column("turn_id", sa.String(36)),
    )
    op.create_index("ix_decisions_model_decided_at", "decisions", ["model", "decided_at"])
    op.create_table(
        "quiet_marks",
        sa.Column("loop_file", sa.String(500), primary_key=True),
        sa.Column("mark", sa.JSON, nullable=False),
        sa.Column("noted_at", sa.BigInteger, nullable=False),
    )

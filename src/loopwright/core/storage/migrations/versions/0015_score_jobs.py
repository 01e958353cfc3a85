"""Score jobs and their parts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "score_jobs",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("open_request", sa.String(64), nullable=True),
        sa.Column("content", sa.String(64), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("layout", sa.JSON, nullable=True),
        sa.Column("snapshots", sa.JSON, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger, nullable=True),
        sa.Column("result", sa.JSON, nullable=False),
        sa.UniqueConstraint("open_request", name="uq_score_jobs_open_request"),
    )
    op.create_index("ix_score_jobs_model", "score_jobs", ["model", "at"])
    op.create_index("ix_score_jobs_request", "score_jobs", ["request_digest"])
    op.create_table(
        "score_parts",
        sa.Column("job_id", sa.String(36), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("part", sa.JSON, nullable=False),
        sa.Column("scored", sa.BigInteger, nullable=True),
        sa.Column("rejected", sa.BigInteger, nullable=True),
    )

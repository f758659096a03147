"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _common() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("workspace", sa.String, nullable=False, index=True),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    ]


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "cases",
        *_common(),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("question", sa.String, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "case_entries",
        *_common(),
        sa.Column("case_id", sa.String, sa.ForeignKey("cases.id"), nullable=False, index=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("digests", sa.JSON, nullable=False),
    )
    op.create_table(
        "shares",
        *_common(),
        sa.Column("case_id", sa.String, nullable=True, index=True),
        sa.Column("token_sha256", sa.String, nullable=False, unique=True),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("html", sa.Text, nullable=False),
        sa.Column("mac", sa.String, nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False),
        sa.Column("revoked_at", sa.DateTime, nullable=True),
        sa.Column("opened", sa.Integer, nullable=False),
    )
    op.create_table(
        "admissions",
        *_common(),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("record", sa.JSON, nullable=False),
        sa.Column("mac", sa.String, nullable=False),
    )
    op.create_table(
        "audit",
        *_common(),
        sa.Column("act", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for name in ("audit", "admissions", "shares", "case_entries", "cases"):
        op.drop_table(name)

"""What stands around a diagnosis: incidents, marks, forecasts, deliveries, hotfixes, watches."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAMES = ("incidents", "marks", "forecasts", "deliveries", "hotfixes", "watches")


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("workspace", sa.String, nullable=False, index=True),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("key", sa.String, nullable=False, index=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
    ]


def upgrade() -> None:
    """Make the tables."""
    for name in NAMES:
        op.create_table(name, *_columns(), sa.UniqueConstraint("workspace", "key", name=f"one_{name}_a_key"))


def downgrade() -> None:
    """Drop them."""
    for name in reversed(NAMES):
        op.drop_table(name)

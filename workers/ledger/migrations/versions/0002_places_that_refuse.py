"""Where a route's files land may be full, or read-only: since when, and why."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("routes", sa.Column("refused_at", sa.Double()))
    op.add_column("routes", sa.Column("refused_reason", sa.Text()))

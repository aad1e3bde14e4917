"""How many lines a server last had room for, and until when that is believed; when a login worked last."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("endpoints", sa.Column("room", sa.Integer()))
    op.add_column("endpoints", sa.Column("room_until", sa.Double()))
    op.add_column("endpoints", sa.Column("left_at", sa.Double()))
    op.add_column("endpoints", sa.Column("proven_at", sa.Double()))

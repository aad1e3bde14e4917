"""What a folder in which nothing is new looks like, where a route's files land, and the indexes for both."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("routes", sa.Column("target", sa.Text()))
    op.add_column("routes", sa.Column("mark", sa.String(length=64)))
    op.add_column("routes", sa.Column("mark_at", sa.Double()))
    op.add_column("routes", sa.Column("mark_version", sa.BigInteger()))
    op.create_index(
        "ix_versions_listed",
        "versions",
        ["route"],
        sqlite_where=sa.text("latest AND listed"),
        postgresql_where=sa.text("latest AND listed"),
    )
    op.create_index(
        "ix_versions_vanished",
        "versions",
        ["route", "vanished_at"],
        sqlite_where=sa.text("state = 'VANISHED'"),
        postgresql_where=sa.text("state = 'VANISHED'"),
    )

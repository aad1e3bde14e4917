"""The first shape: owners, routes, paths and their versions, endpoints, permits, outbox.

A migration says what it makes in its own words, and never imports tables.py, which goes on changing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "endpoints",
        sa.Column("endpoint", sa.String(length=255), nullable=False),
        sa.Column("features", sa.Text()),
        sa.Column("features_at", sa.Double()),
        sa.Column("certificate_not_after", sa.Double()),
        sa.Column("consecutive_failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text()),
        sa.Column("last_error_at", sa.Double()),
        sa.Column("breaker_until", sa.Double()),
        sa.Column("closed_at", sa.Double()),
        sa.Column("closed_reason", sa.Text()),
        sa.Column("closed_digest", sa.String(length=64)),
        sa.Column("proven_digest", sa.String(length=64)),
        sa.Column("trying_owner", sa.String(length=36)),
        sa.Column("trying_until", sa.Double()),
        sa.Column("paused_at", sa.Double()),
        sa.PrimaryKeyConstraint("endpoint"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("route", sa.String(length=255), nullable=False),
        sa.Column("task", sa.String(length=255), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("sent_at", sa.Double()),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_outbox_unsent",
        "outbox",
        ["next_at"],
        sqlite_where=sa.text("sent_at IS NULL"),
        postgresql_where=sa.text("sent_at IS NULL"),
    )
    op.create_table(
        "owners",
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("lock_file", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner"),
    )
    op.create_table(
        "paths",
        sa.Column("path_id", Id, autoincrement=True, nullable=False),
        sa.Column("route", sa.String(length=255), nullable=False),
        sa.Column("remote", sa.LargeBinary(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=36)),
        sa.Column("lease_until", sa.Double()),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("temp_fence", sa.BigInteger()),
        sa.Column("claimed_version", sa.BigInteger()),
        sa.PrimaryKeyConstraint("path_id"),
        sa.UniqueConstraint("route", "remote", "target", name="uq_paths_route_remote_target"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_paths_temps",
        "paths",
        ["route"],
        sqlite_where=sa.text("temp_fence IS NOT NULL"),
        postgresql_where=sa.text("temp_fence IS NOT NULL"),
    )
    op.create_index(
        "ix_paths_claimed",
        "paths",
        ["owner", "lease_until"],
        sqlite_where=sa.text("owner IS NOT NULL"),
        postgresql_where=sa.text("owner IS NOT NULL"),
    )
    op.create_table(
        "counters",
        sa.Column("metric", sa.String(length=100), nullable=False),
        sa.Column("labels", sa.String(length=400), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("metric", "labels"),
    )
    op.create_table(
        "permits",
        sa.Column("permit_id", Id, autoincrement=True, nullable=False),
        sa.Column("endpoint", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.Double()),
        sa.Column("built_at", sa.Double()),
        sa.Column("used_at", sa.Double()),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("waiting_since", sa.Double()),
        sa.Column("tls", sa.String(length=32)),
        sa.Column("reconnects", sa.Text()),
        sa.Column("last_error", sa.Text()),
        sa.PrimaryKeyConstraint("permit_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_permits_endpoint", "permits", ["endpoint", "owner"], unique=True)
    op.create_table(
        "routes",
        sa.Column("route", sa.String(length=255), nullable=False),
        sa.Column("paused_at", sa.Double()),
        sa.Column("pause_reason", sa.Text()),
        sa.Column("generation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("poll_owner", sa.String(length=36)),
        sa.Column("poll_until", sa.Double()),
        sa.Column("look_at", sa.Double()),
        sa.Column("listed_at", sa.Double()),
        sa.Column("complete_at", sa.Double()),
        sa.Column("first_complete_at", sa.Double()),
        sa.Column("listed_count", sa.BigInteger()),
        sa.Column("last_error", sa.Text()),
        sa.Column("last_error_at", sa.Double()),
        sa.PrimaryKeyConstraint("route"),
    )
    op.create_table(
        "versions",
        sa.Column("version_id", Id, autoincrement=True, nullable=False),
        sa.Column("path_id", Id, nullable=False),
        sa.Column("route", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("latest", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("size", sa.BigInteger()),
        sa.Column("modified", sa.Double()),
        sa.Column("precision_s", sa.Double(), nullable=False),
        sa.Column("unique_fact", sa.LargeBinary()),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("listed", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("first_seen_at", sa.Double(), nullable=False),
        sa.Column("last_seen_at", sa.Double(), nullable=False),
        sa.Column("settled_since", sa.Double(), nullable=False),
        sa.Column("looks", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("ready_at", sa.Double()),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("alone", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("last_error", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("intent_fence", sa.BigInteger()),
        sa.Column("intent_temp", sa.Text()),
        sa.Column("intent_final", sa.Text()),
        sa.Column("intent_size", sa.BigInteger()),
        sa.Column("intent_sha256", sa.String(length=64)),
        sa.Column("intent_at", sa.Double()),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("sha256", sa.String(length=64)),
        sa.Column("local", sa.Text()),
        sa.Column("published_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("vanished_at", sa.Double()),
        sa.Column("source_modified", sa.Double()),
        sa.Column("source_precision_s", sa.Double()),
        sa.Column("after_step", sa.Text()),
        sa.Column("after_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("after_next_at", sa.Double()),
        sa.Column("after_error", sa.Text()),
        sa.ForeignKeyConstraint(
            ["path_id"],
            ["paths.path_id"],
        ),
        sa.PrimaryKeyConstraint("version_id"),
        sa.UniqueConstraint("path_id", "number", name="uq_versions_path_number"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_versions_claim", "versions", ["route", "state", "next_attempt_at", "version_id"])
    op.create_index(
        "ix_versions_publishing",
        "versions",
        ["path_id"],
        sqlite_where=sa.text("state = 'PUBLISHING'"),
        postgresql_where=sa.text("state = 'PUBLISHING'"),
    )
    op.create_index(
        "ix_versions_published",
        "versions",
        ["route", "published_at"],
        sqlite_where=sa.text("published_at IS NOT NULL"),
        postgresql_where=sa.text("published_at IS NOT NULL"),
    )
    op.create_index(
        "ix_versions_past",
        "versions",
        ["last_seen_at"],
        sqlite_where=sa.text("NOT (latest AND listed)"),
        postgresql_where=sa.text("NOT (latest AND listed)"),
    )
    op.create_index(
        "ix_versions_after",
        "versions",
        ["route", "after_next_at"],
        sqlite_where=sa.text("after_next_at IS NOT NULL"),
        postgresql_where=sa.text("after_next_at IS NOT NULL"),
    )
    op.create_index("ix_versions_route", "versions", ["route", "version_id"])

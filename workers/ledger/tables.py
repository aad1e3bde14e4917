"""The ledger's tables, for SQLite and PostgreSQL alike.

Times are epoch seconds UTC by the ledger's clock. Names that came from a server are bytes: no collation, no
encoding, no normalisation can make two of them one. `migrations/` makes these tables, and their `indexes`; a
test holds the two together.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

metadata = MetaData()

# SQLite gives out ids only for a column declared INTEGER. Ids are never used twice (AUTOINCREMENT): temp
# names are made of them, and the follow-on task's receiver tells versions apart by them.
Id = BigInteger().with_variant(Integer(), "sqlite")
Words = Text


meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""`ledger_id`, `created_at`, `salt` (of the credentials' digests)."""

owners = Table(
    "owners",
    metadata,
    Column("owner", String(36), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("lock_file", Words, nullable=False),
    Column("started_at", Double, nullable=False),
)

routes = Table(
    "routes",
    metadata,
    Column("route", String(255), primary_key=True),
    Column("paused_at", Double),
    Column("pause_reason", Words),
    Column("generation", BigInteger, nullable=False, server_default=text("0")),
    Column("poll_owner", String(36)),
    Column("poll_until", Double),
    # When the look that was asked for last, beside the schedule's own, is due.
    Column("look_at", Double),
    Column("listed_at", Double),
    Column("complete_at", Double),
    Column("first_complete_at", Double),
    Column("listed_count", BigInteger),
    Column("last_error", Words),
    Column("last_error_at", Double),
    # While the place where the files land takes none: since when, and why.
    Column("refused_at", Double),
    Column("refused_reason", Words),
    # Where its files land, as the last poll had it.
    Column("target", Words),
    # What the last complete listing with nothing new in it was (marks.py); when; the newest version then.
    Column("mark", String(64)),
    Column("mark_at", Double),
    Column("mark_version", BigInteger),
)

paths = Table(
    "paths",
    metadata,
    Column("path_id", Id, primary_key=True, autoincrement=True),
    Column("route", String(255), nullable=False),
    Column("remote", LargeBinary, nullable=False),
    Column("target", Words, nullable=False),
    Column("owner", String(36)),
    Column("lease_until", Double),
    Column("fence", BigInteger, nullable=False, server_default=text("0")),
    # The lowest fence that may have left a temp; NULL: none has.
    Column("temp_fence", BigInteger),
    Column("claimed_version", BigInteger),
    UniqueConstraint("route", "remote", "target", name="uq_paths_route_remote_target"),
    sqlite_autoincrement=True,
)

versions = Table(
    "versions",
    metadata,
    Column("version_id", Id, primary_key=True, autoincrement=True),
    Column("path_id", Id, ForeignKey("paths.path_id"), nullable=False),
    Column("route", String(255), nullable=False),
    Column("number", Integer, nullable=False),
    # Whether this is the path's newest version; the older ones are history.
    Column("latest", Boolean, nullable=False, server_default=true()),
    Column("size", BigInteger),
    Column("modified", Double),
    Column("precision_s", Double, nullable=False),
    Column("unique_fact", LargeBinary),
    Column("state", String(16), nullable=False),
    Column("listed", Boolean, nullable=False, server_default=true()),
    Column("first_seen_at", Double, nullable=False),
    Column("last_seen_at", Double, nullable=False),
    Column("settled_since", Double, nullable=False),
    Column("looks", Integer, nullable=False, server_default=text("1")),
    Column("ready_at", Double),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # The claim order: when it became ready, later when a failure spaces it, 0 when it goes before all others.
    Column("next_attempt_at", Double, nullable=False, server_default=text("0")),
    Column("alone", Boolean, nullable=False, server_default=false()),
    Column("last_error", Words),
    Column("reason", Words),
    Column("intent_fence", BigInteger),
    Column("intent_temp", Words),
    Column("intent_final", Words),
    Column("intent_size", BigInteger),
    Column("intent_sha256", String(64)),
    Column("intent_at", Double),
    Column("bytes", BigInteger),
    Column("sha256", String(64)),
    Column("local", Words),
    Column("published_at", Double),
    Column("finished_at", Double),
    Column("vanished_at", Double),
    # LIST tells minutes, or days, and listings are compared with that. MDTM has told seconds at the fetch: by
    # them the source is known again.
    Column("source_modified", Double),
    Column("source_precision_s", Double),
    # What became of the source, once that is decided.
    Column("after_step", Words),
    Column("after_attempts", Integer, nullable=False, server_default=text("0")),
    # When something is to be done at the source; NULL: nothing is, or nothing any more.
    Column("after_next_at", Double),
    Column("after_error", Words),
    UniqueConstraint("path_id", "number", name="uq_versions_path_number"),
    sqlite_autoincrement=True,
)

# Conditions of partial indexes (indexes.py) as statements have to write them out: SQLite uses such an index
# only where it sees its condition in the text.
LISTED_NOW = "versions.latest AND versions.listed"
NOT_LISTED_NOW = "NOT (versions.latest AND versions.listed)"

endpoints = Table(
    "endpoints",
    metadata,
    Column("endpoint", String(255), primary_key=True),
    Column("features", Text),
    Column("features_at", Double),
    Column("certificate_not_after", Double),
    Column("consecutive_failures", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Words),
    Column("last_error_at", Double),
    Column("breaker_until", Double),
    Column("closed_at", Double),
    Column("closed_reason", Words),
    Column("closed_digest", String(64)),
    # Credentials that worked, and when. But for a moment after it, they are tried by one process at a time.
    Column("proven_digest", String(64)),
    Column("proven_at", Double),
    Column("trying_owner", String(36)),
    Column("trying_until", Double),
    Column("paused_at", Double),
    # So many lines the server had room for when it refused one more; believed for a while.
    Column("room", Integer),
    Column("room_until", Double),
    # When a line was closed last; its server may count it for a moment more.
    Column("left_at", Double),
)

counters = Table(
    "counters",
    metadata,
    Column("metric", String(100), primary_key=True),
    # JSON, [["route", "statements"], …], in the metric's own order.
    Column("labels", String(400), primary_key=True),
    Column("value", Double, nullable=False),
)

permits = Table(
    "permits",
    metadata,
    Column("permit_id", Id, primary_key=True, autoincrement=True),
    Column("endpoint", String(255), nullable=False),
    Column("owner", String(36), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("taken_at", Double),
    Column("built_at", Double),
    Column("used_at", Double),
    Column("lease_until", Double, nullable=False),
    # Whoever waits for a permit has a row as well, and nothing else.
    Column("waiting_since", Double),
    Column("tls", String(32)),
    Column("reconnects", Text),
    Column("last_error", Words),
    sqlite_autoincrement=True,
)
"""A row for every line held in the fleet, and for everybody who waits for one."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("version_id", BigInteger, nullable=False),
    Column("route", String(255), nullable=False),
    Column("task", String(255), nullable=False),
    Column("queue", String(255), nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("sent_at", Double),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_at", Double, nullable=False),
    sqlite_autoincrement=True,
)
"""Follow-on tasks, written together with the PUBLISHED they announce, sent afterwards."""

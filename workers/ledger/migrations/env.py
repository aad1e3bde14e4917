"""Alembic's entry: it runs inside the transaction that `workers.ledger.migrate` has begun."""

from alembic import context

from workers.ledger.indexes import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite's DDL is transactional once the driver no longer commits behind our back (engine.py).
    transactional_ddl=True,
)
context.run_migrations()

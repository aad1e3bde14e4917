"""A billing program with a Celery app of its own: Towline brings its files, and calls `billing.ingest`.

Nothing of Towline is imported: the two meet at the broker, by the names of tasks and queues.

    celery -A billing worker -Q billing
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from celery import Celery

app = Celery("billing", broker=os.environ["BILLING_BROKER"], backend=os.environ["BILLING_RESULTS"])
app.conf.update(
    task_default_queue="billing",
    # JSON is all that Towline sends; a pickled message would let whoever reaches the broker run code here.
    accept_content=["json"],
    # A worker that dies is sent the task again: harmless, since a version is booked once.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
)

_TABLE = """
CREATE TABLE IF NOT EXISTS statements (
    version INTEGER PRIMARY KEY, path TEXT NOT NULL, sha256 TEXT NOT NULL, lines INTEGER NOT NULL
)
"""


@app.task(name="billing.ingest")
def ingest(
    *, route: str, path: str, version: int, local: str, bytes: int, sha256: str, published_at: str, **_: Any
) -> str:
    """Book one file. Called at least once for each; the second call for a version finds it booked.

    Arguments of later Towlines are let in, and not looked at.
    """
    content = Path(local).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        # A newer version has taken its place since; that one is announced as well.
        return f"{path}: version {version} is gone"
    with closing(book()) as booked, booked:
        row = (version, path, sha256, content.count(b"\n"))
        # Booking and remembering are one transaction: this is what makes a second call harmless.
        new = booked.execute("INSERT OR IGNORE INTO statements VALUES (?, ?, ?, ?)", row).rowcount
    return f"{path}: {'booked' if new else 'was booked before'} ({route}, {bytes} bytes, {published_at})"


def book() -> sqlite3.Connection:
    """The billing program's own database."""
    connection = sqlite3.connect(os.environ["BILLING_BOOK"])
    connection.execute(_TABLE)
    return connection

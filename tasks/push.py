"""towline.push: send one batch of a push route's files, and give them their names at the partner."""

from __future__ import annotations

from typing import Any

from celery import Task

from tasks.batches import batch
from workers.app import app


@app.task(name="towline.push", bind=True)
def push(self: Task, route: str, paths: list[str] | None = None) -> dict[str, Any]:
    """Send a batch, or just `paths`. Returns counts and files, or fails, as `batches.batch` says."""
    return batch("push", self.request, route, paths)

"""towline.fetch: bring one batch of a pull route's files in and publish them."""

from __future__ import annotations

from typing import Any

from celery import Task

from tasks.batches import batch
from workers.app import app


@app.task(name="towline.fetch", bind=True)
def fetch(self: Task, route: str, paths: list[str] | None = None) -> dict[str, Any]:
    """Fetch a batch, or just `paths`. Returns counts and files, or fails, as `batches.batch` says."""
    return batch("pull", self.request, route, paths)

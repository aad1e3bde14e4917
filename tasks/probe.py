"""towline.probe: what `towline check` finds about an endpoint."""

from __future__ import annotations

from typing import Any

from workers import findings
from workers.app import app
from workers.process import here


@app.task(
    name="towline.probe",
    soft_time_limit=app.towline.poll_soft_limit,
    time_limit=app.towline.poll_hard_limit,
)
def probe(endpoint: str) -> dict[str, Any]:
    """Look at an endpoint for real. Returns what `towline check --json` prints for it."""
    return findings.endpoint(here(app.towline), endpoint).to_json()

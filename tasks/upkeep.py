"""towline.upkeep: ends leases of the dead, removes what nobody holds, announces, forgets."""

from __future__ import annotations

from typing import Any

from tasks.announcing import announce
from tasks.hints import hint
from workers import rounds
from workers.app import app
from workers.process import here


@app.task(
    name="towline.upkeep",
    soft_time_limit=app.towline.poll_soft_limit,
    time_limit=app.towline.poll_hard_limit,
)
def upkeep() -> dict[str, Any]:
    """Once a minute, and whenever a worker starts. Returns counts (contract §4)."""
    process = here(app.towline)
    kept = rounds.upkeep(process)
    for name in kept.routes_freed:
        if name in process.settings.routes:
            hint(process, process.settings.route(name))
    return {
        "leases_ended": kept.leases_ended,
        "temps_removed": kept.temps_removed,
        "announced": announce(app, process),
        "pruned": kept.pruned,
    }

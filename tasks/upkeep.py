"""towline.upkeep: ends leases of the dead, removes what nobody holds, announces, forgets."""

from __future__ import annotations

import logging
from typing import Any

from redis import RedisError

from tasks.announcing import announce
from tasks.hints import hint, once
from workers import pairing, rounds
from workers import upkeep as upkeeping
from workers.app import app
from workers.process import Process, here

log = logging.getLogger("towline.upkeep")


@app.task(
    name="towline.upkeep",
    soft_time_limit=app.towline.poll_soft_limit,
    time_limit=app.towline.poll_hard_limit,
)
def upkeep() -> dict[str, Any]:
    """Once a minute, and whenever a worker starts. Returns counts (contract §4)."""
    process = here(app.towline)
    _compare_ledgers(process)
    kept = upkeeping.upkeep(process)
    for name in kept.routes_freed:
        if name in process.settings.routes:
            hint(process, process.settings.route(name))
    for route in process.settings.routes.values():
        # What lies at a partner can only be removed over a line.
        if rounds.litter(process, route):
            once(route)
    return {
        "leases_ended": kept.leases_ended,
        "temps_removed": kept.temps_removed,
        "announced": announce(app, process),
        "pruned": kept.pruned,
    }


def _compare_ledgers(process: Process) -> None:
    """A broker that was emptied gets our ledger's id again; raises LedgerRefused where it has another's."""
    place = pairing.place(process.settings, app.conf.broker_url)
    if place is None:
        return
    try:
        pairing.pair(place, pairing.Mark.of(process.ledger, process.settings))
    except RedisError as away:
        log.warning("not compared with the broker's ledger: %s", away, extra={"action": "ledger.unseen"})

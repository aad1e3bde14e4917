"""towline.poll: list a route's folder and write down what is new."""

from __future__ import annotations

from typing import Any

from tasks.hints import hint, look_again, when_free
from workers import rounds
from workers.app import app
from workers.process import here
from workers.session import Tally


@app.task(
    name="towline.poll",
    soft_time_limit=app.towline.poll_soft_limit,
    time_limit=app.towline.poll_hard_limit,
)
def poll(route: str) -> dict[str, Any]:
    """Poll one route; counts of what it found. Fails with UnknownName, ListingFailed, ReconnectFailed, …"""
    process, tally = here(app.towline), Tally()
    the_route = process.settings.route(route)
    # First for what the ledger already holds: a poll that fails must not keep ready files waiting.
    hinted = hint(process, the_route)
    found = rounds.poll(process, the_route, tally)
    if isinstance(found, rounds.Skipped):
        if found.why == "busy":
            when_free(process, the_route)
        return {"route": route, "skipped": found.why}
    if found.next_look_in is not None and process.ledger.routes.ask_look(route, found.next_look_in):
        look_again(the_route, found.next_look_in, expires=process.settings.poll_hard_limit)
    hinted += hint(process, the_route, already=hinted)
    return {
        "route": route,
        "listed": found.listed,
        "complete": found.complete,
        "reason": found.reason,
        "ready": found.ready,
        "waiting": found.waiting,
        "hinted": hinted,
        "reconnects": tally.reconnects,
        "seconds": tally.elapsed_s,
    }

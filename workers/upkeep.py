"""What has to be done now and then, whatever the routes are up to: end, sweep, forget. No Celery."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from workers import errors
from workers.ledger import Ledger, State
from workers.process import Process
from workers.rounds import attempts
from workers.settings import Route
from workers.stores.naming import absolute
from workers.stores.store import Store

log = logging.getLogger("towline.upkeep")


@dataclass(frozen=True, slots=True)
class Kept:
    """What an upkeep did: leases ended (and on which routes), temps and uploads removed, rows forgotten."""

    leases_ended: int
    routes_freed: tuple[str, ...]
    temps_removed: int
    pruned: int


def upkeep(process: Process) -> Kept:
    """End the leases of the dead, remove what nobody will go on with, forget what is long finished."""
    ledger, routes = process.ledger, process.settings.routes
    ended = ledger.claims.end_leases(attempts(process))
    removed = 0
    for route in routes.values():
        if route.direction == "pull":
            try:
                removed += sweep(route, process.store(route), ledger)
            except errors.StoreRefused as refusal:
                # One route's place; leases, follow-on tasks and the other routes are not to wait for it.
                log.warning("%s: not swept: %s", route.name, refusal, extra={"action": "upkeep.left"})
    ledger.permits.sweep()
    pruned = ledger.forget(process.settings.history)
    return Kept(sum(ended.values()), tuple(ended), removed, pruned)


def sweep(route: Route, store: Store, ledger: Ledger) -> int:
    """Remove what dead workers have left where a pull route's files land. Raises StoreRefused."""

    def is_ours(final: bytes) -> bool:
        """A file of this route that nobody has in hand, and that nobody was about to publish."""
        known = ledger.history.explain(route.name, absolute(route.remote, final))
        under_way = any(version.state == State.PUBLISHING for version in known.versions)
        return bool(known.versions) and known.holder is None and not under_way

    return store.sweep(ledger.claims.temps(route.name, route.target), ours=is_ours)

"""Room for what is to be fetched: looked at before it is claimed, so that a full disk costs nobody a line.

What lies in a temp already needs no room a second time: else a large file that stopped a full disk in its
last block would wait until there is room for all of it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from workers.ledger.values import temp_name
from workers.stores.naming import NameRefused, below

if TYPE_CHECKING:
    from workers.ledger import Ledger, Ready
    from workers.settings import Route
    from workers.stores.store import Store


def for_next(route: Route, ledger: Ledger, store: Store) -> int:
    """Bytes there is room for, enough for the file that comes next. Raises StoreRefused where it isn't.

    One file decides: a claim takes those that fit behind it, and smaller ones don't overtake it for ever.
    """
    first = ledger.polls.first_ready(route.name, route.target)
    return store.room_for(0 if first is None else _needed(route, ledger, store, [first]))


def for_these(route: Route, ledger: Ledger, store: Store, version_ids: list[int]) -> None:
    """Room for all of these versions. Raises StoreRefused where it isn't there."""
    store.room_for(_needed(route, ledger, store, ledger.polls.ready(version_ids)))


def _needed(route: Route, ledger: Ledger, store: Store, files: Iterable[Ready]) -> int:
    needed = 0
    for file in files:
        try:
            relative = below(route.remote, file.path)
        except NameRefused:
            continue  # it will be refused, and needs nothing
        fences = range(file.temp_fence, file.fence + 1) if file.temp_fence is not None else ()
        temps = [temp_name(ledger.id, file.path_id, file.version_id, fence) for fence in fences]
        # A file of no bytes, or of an unknown number, takes an inode at least.
        needed += max(1, (file.size or 0) - store.held(relative, temps))
    return needed

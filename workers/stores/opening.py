"""Which kind of place a route's files land in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workers.stores.local import LocalFolder

if TYPE_CHECKING:
    from workers.settings import Route
    from workers.stores.store import Store


def open_store(route: Route) -> Store:
    """The folder or the object store of a pull route. Raises StoreRefused."""
    if isinstance(route.local, Path):
        return LocalFolder.of(route)
    # Here and not above: obstore is an extra, and who writes to folders needs none of it.
    from workers.stores.objects import ObjectFolder

    return ObjectFolder.of(route)

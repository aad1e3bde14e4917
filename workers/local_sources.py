"""What becomes of a pushed file's source once the partner has it, or its attempts are used up.

What `sources` is for files on a server. The step is recorded in the ledger and repeated after any crash;
before each try the file is looked at, and only what still is the version that was sent goes.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from workers.crashpoints import crashpoint
from workers.errors import StoreRefused
from workers.ledger.values import Source, same_version
from workers.names import printable
from workers.stores.naming import NameRefused, below

if TYPE_CHECKING:
    from workers.ledger import Ledger
    from workers.settings import Route
    from workers.stopping import StopFlag
    from workers.stores.source import SourceFolder

log = logging.getLogger("towline.sources")

GROUP_FILES = 256
"""Recorded in one transaction."""


def clear(route: Route, folder: SourceFolder, ledger: Ledger, *, stop: StopFlag, hold_s: float) -> None:
    """Do what is due at the sources of a push route; what the folder refuses is recorded and tried later.

    hold_s: for how long a group of them is ours.
    """
    while not stop.begun and (taken := ledger.sources.take(route.name, files=GROUP_FILES, hold_s=hold_s)):
        became: dict[Source, str] = {}
        refused: dict[Source, str] = {}
        for source in taken:
            try:
                became[source] = _cleared(route, folder, source)
            except (NameRefused, StoreRefused, OSError) as failure:
                refused[source] = str(failure)
                log.warning(
                    "%s: source stays: %s",
                    printable(source.path),
                    failure,
                    extra={"action": "source.refused"},
                )
        ledger.sources.done(became)
        ledger.sources.failed(refused)
        crashpoint("source-recorded")


def _cleared(route: Route, folder: SourceFolder, source: Source) -> str:
    """Do what is due at one source; returns what to record. Raises NameRefused, StoreRefused."""
    action = route.after_failure if source.given_up else route.after
    if not source.latest:
        return "replaced"
    if action == "keep":
        return "kept"
    relative = below(route.source, source.path)
    now = folder.look(relative)
    crashpoint("source-asked")
    if now is None:
        return "gone"
    if not same_version(
        source.size, source.modified, source.precision_s, now.size, now.modified, now.precision_s
    ):
        return "replaced"
    if action == "delete":
        folder.remove(relative)
        became = "deleted"
    else:
        became = f"moved:{printable(folder.move(relative, Path(action.removeprefix('move:'))))}"
    crashpoint("source-removed")
    return became

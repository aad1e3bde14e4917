"""Listings whose times have moved by hours though no file has: another zone, summer's end, another format.

LIST tells times of a zone that it does not name. When the server's zone changes, or what `timezone` says of
it, every file of the folder has another time by the same whole hours, and would be fetched again. It may as
well be true: an hourly export of files of one size looks the same. So MDTM decides, which is in UTC (RFC 3659
§2.3): where it still tells the time that was known before, it was the listing that moved. Without it, or
where it agrees with the listing, files are fetched once too often rather than once too seldom.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from workers.detect import DELIVERED, Rules
from workers.ftps.errors import Refused
from workers.ftps.inquiry import Stat
from workers.ftps.listing import Entry
from workers.ledger.values import Known, same_version

log = logging.getLogger("towline.shifting")

Ask = Callable[[Sequence[bytes]], Sequence[Stat | None]]
"""SIZE and MDTM of some paths."""

ZONES_APART_S = 900.0
"""Zones differ by whole quarters of an hour."""

ASKED = 8
"""So many files speak for all that have moved by the same time; each of them has to."""


def believed(
    entries: Iterable[Entry], known: Mapping[bytes, Known], rules: Rules, ask: Ask
) -> Mapping[bytes, Known]:
    """What is known, with the times of this listing for files of which it only tells the old ones anew."""
    moved = _moved_alike(entries, known, rules)
    sample = [before for before, _ in moved[:ASKED]]
    if not sample:
        return known
    try:
        stats = ask([before.path for before in sample])
    except Refused:
        return known
    if not all(_unmoved(before, stat) for before, stat in zip(sample, stats, strict=True)):
        return known
    told = {
        before.path: replace(before, modified=entry.modified, precision_s=entry.precision_s)
        for before, entry in moved
    }
    log.info("times of %d files are told otherwise", len(told), extra={"action": "listing.shifted"})
    return {**known, **told}


def _moved_alike(
    entries: Iterable[Entry], known: Mapping[bytes, Known], rules: Rules
) -> list[tuple[Known, Entry]]:
    """Delivered files that differ in nothing but their time, by as much as most of them do."""
    alike: defaultdict[int, list[tuple[Known, Entry]]] = defaultdict(list)
    for entry in entries:
        before = known.get(rules.path(entry.name)) if entry.kind == "file" else None
        if before is None or not before.listed or before.state not in DELIVERED:
            continue
        if entry.modified is None or before.modified is None or entry.size != before.size:
            continue
        apart = entry.modified - before.modified
        zones = round(apart / ZONES_APART_S)
        coarser = max(entry.precision_s, before.precision_s)
        if abs(apart) >= coarser and abs(apart - zones * ZONES_APART_S) < coarser:
            alike[zones].append((before, entry))
    return max(alike.values(), key=len, default=[])


def _unmoved(before: Known, stat: Stat | None) -> bool:
    """Whether the server tells the time that was known before; what it was at the fetch is most exact."""
    if stat is None or stat.modified is None:
        return False
    modified, precision_s = before.modified, before.precision_s
    if before.source_modified is not None:
        modified, precision_s = before.source_modified, before.source_precision_s or 1.0
    return same_version(stat.size, stat.modified, stat.precision_s, before.size, modified, precision_s)

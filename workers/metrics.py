"""What is counted for Prometheus: the counters' names, and what each round of a route adds to them.

They are kept in the ledger (`ledger.counters`), and told by `exposition`: who counts need not import that.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from workers.ledger.counters import Key as Key

if TYPE_CHECKING:
    from workers.batch import Outcome
    from workers.session import Session

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "towline_files_total": ("Files by what became of them.", ("route", "outcome")),
    "towline_bytes_total": ("Bytes of published files.", ("route", "direction")),
    "towline_reconnects_total": ("Lines rebuilt.", ("endpoint", "reason")),
    "towline_connect_failures_total": ("Connects that failed.", ("endpoint", "kind")),
    "towline_tls_data_sessions_total": ("Data channels by TLS resumption.", ("endpoint", "resumed")),
}
HISTOGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "towline_transfer_seconds": ("Seconds from a file's beginning to its outcome.", ("route", "outcome")),
    "towline_listing_seconds": ("Seconds of a poll's listing.", ("route",)),
}
BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0, math.inf)  # seconds


def of_listing(route: str, seconds: float) -> Counter[Key]:
    """What one poll adds."""
    return _observed("towline_listing_seconds", (("route", route),), seconds)


def of_batch(route: str, outcome: Outcome, *, direction: str = "in") -> Counter[Key]:
    """What one batch adds. direction: of the bytes, "in" or "out"."""
    added: Counter[Key] = Counter()
    for what in ("published", "already", "vanished", "changed", "kept", "failed"):
        added["towline_files_total", (("route", route), ("outcome", what))] += getattr(outcome, what)
    added["towline_bytes_total", (("route", route), ("direction", direction))] += outcome.bytes
    for what, seconds in outcome.took:
        added += _observed("towline_transfer_seconds", (("route", route), ("outcome", what)), seconds)
    return added


def of_line(session: Session) -> Counter[Key]:
    """What this session's line has been through since this was asked last."""
    name, since = session.endpoint.name, session.take_counters()
    added: Counter[Key] = Counter()
    for reason, count in since.builds.items():
        if reason != "first_use":
            added["towline_reconnects_total", (("endpoint", name), ("reason", reason.value))] += count
    for kind, count in since.failures.items():
        added["towline_connect_failures_total", (("endpoint", name), ("kind", kind))] += count
    for resumed, count in since.data_sessions.items():
        added["towline_tls_data_sessions_total", (("endpoint", name), ("resumed", resumed))] += count
    return added


def _observed(metric: str, labels: tuple[tuple[str, str], ...], seconds: float) -> Counter[Key]:
    bucket = BUCKETS[bisect_left(BUCKETS, seconds)]
    return Counter({(metric, (*labels, ("le", str(bucket)))): 1, (f"{metric}_sum", labels): seconds})

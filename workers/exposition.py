"""What Prometheus is told: counters that tasks add to the ledger, and gauges that the ledger knows anyway.

Everything is in the ledger, so it is the fleet's, survives every process, and needs no port of its own:
Flower's `/metrics` shows it beside Celery's own figures (`register`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client.core import REGISTRY, CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from workers.metrics import BUCKETS, COUNTERS, HISTOGRAMS, Key
from workers.process import Process, here

if TYPE_CHECKING:
    from workers.settings import Settings


def register(settings: Settings, registry: CollectorRegistry = REGISTRY) -> None:
    """Let a Prometheus registry, by default the one that Flower shows, tell ours as well."""
    registry.register(_Fleet(settings))


class _Fleet(Collector):
    """Asks the ledger anew at each scrape."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self) -> Iterable[Metric]:
        # Nothing: the registry would collect to find names out, and registering must not open the ledger.
        return []

    def collect(self) -> Iterator[Metric]:
        process = here(self._settings)
        values = process.ledger.counters.all()
        yield from _counters(values)
        yield from _histograms(values)
        yield from _gauges(process)


def _counters(values: Mapping[Key, float]) -> Iterator[Metric]:
    for name, (told, labels) in COUNTERS.items():
        family = CounterMetricFamily(name, told, labels=labels)
        for (metric, pairs), value in values.items():
            if metric == name:
                family.add_metric([dict(pairs)[label] for label in labels], value)
        yield family


def _histograms(values: Mapping[Key, float]) -> Iterator[Metric]:
    for name, (told, labels) in HISTOGRAMS.items():
        family = HistogramMetricFamily(name, told, labels=labels)
        seen = {pairs[: len(labels)]: 0.0 for (metric, pairs) in values if metric == name}
        for pairs in seen:
            below = 0.0
            buckets: list[tuple[str, float]] = []
            for bound in BUCKETS:
                below += values.get((name, (*pairs, ("le", str(bound)))), 0.0)
                buckets.append(("+Inf" if bound == math.inf else str(bound), below))
            total = values.get((f"{name}_sum", pairs), 0.0)
            family.add_metric([value for _, value in pairs], buckets, total)
        yield family


def _gauges(process: Process) -> Iterator[Metric]:
    oldest = GaugeMetricFamily(
        "towline_oldest_waiting_seconds", "Age of the oldest file not yet published.", labels=["route"]
    )
    listed = GaugeMetricFamily(
        "towline_last_complete_listing_timestamp_seconds",
        "When a listing was last complete.",
        labels=["route"],
    )
    quiet = GaugeMetricFamily("towline_quiet_seconds", "Since a file was last published.", labels=["route"])
    expected = GaugeMetricFamily(
        "towline_expect_seconds", "How long a route may be quiet (`expect`).", labels=["route"]
    )
    files = GaugeMetricFamily("towline_files", "Versions in the ledger by state.", labels=["route", "state"])
    for route, gauged in process.ledger.history.gauges(process.settings.routes).items():
        oldest.add_metric([route], gauged.oldest_waiting_s)
        quiet.add_metric([route], gauged.quiet_s)
        allowed = process.settings.routes[route].expect
        if allowed is not None:
            expected.add_metric([route], allowed)
        if gauged.complete_at is not None:
            listed.add_metric([route], gauged.complete_at)
        for state, count in gauged.files.items():
            files.add_metric([route, state], count)
    ends = GaugeMetricFamily(
        "towline_certificate_expiry_timestamp_seconds",
        "When the server's certificate ends.",
        labels=["endpoint"],
    )
    for name in process.settings.endpoints:
        until = process.ledger.endpoints.get(name).certificate_not_after
        if until is not None:
            ends.add_metric([name], until)
    lines = GaugeMetricFamily("towline_sessions", "Lines held now.", labels=["endpoint"])
    held = Counter(line.endpoint for line in process.ledger.permits.lines())
    for name in process.settings.endpoints:
        lines.add_metric([name], held[name])
    yield from (oldest, listed, quiet, expected, files, ends, lines)

"""What Prometheus is told, by the names the contract gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from workers import exposition, metrics
from workers.batch import Outcome
from workers.ledger import Appeared, Ledger
from workers.process import here
from workers.settings import Settings

NAMES = {
    "towline_files_total",
    "towline_bytes_total",
    "towline_transfer_seconds",
    "towline_reconnects_total",
    "towline_connect_failures_total",
    "towline_tls_data_sessions_total",
    "towline_listing_seconds",
    "towline_oldest_waiting_seconds",
    "towline_last_complete_listing_timestamp_seconds",
    "towline_files",
    "towline_sessions",
    "towline_certificate_expiry_timestamp_seconds",
}


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    (tmp_path / "in").mkdir()
    settings = Settings.model_validate(
        {
            "path": tmp_path / "towline.toml",
            "state_dir": tmp_path / "state",
            "endpoints": {"bank": {"name": "bank", "host": "h", "user": "u", "password": "p"}},
            "routes": {
                "statements": {
                    "name": "statements",
                    "endpoint": "bank",
                    "remote": b"/out",
                    "local": tmp_path / "in",
                    "every": 60.0,
                }
            },
        }
    )
    yield settings
    here(settings).close()


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    return here(settings).ledger


def told(settings: Settings) -> str:
    """What a scrape shows."""
    registry = CollectorRegistry()
    exposition.register(settings, registry)
    return generate_latest(registry).decode()


def test_every_metric_of_the_contract_has_its_name(settings: Settings) -> None:
    """Also before anything has happened: an alert on a metric that isn't there never fires."""
    shown = told(settings)
    assert {match[1] for match in re.finditer(r"^# TYPE (\w+) ", shown, re.MULTILINE)} >= NAMES


def test_a_batch_is_told_by_outcome(settings: Settings, ledger: Ledger) -> None:
    """Counts, bytes and seconds; two batches add up."""
    outcome = Outcome(published=2, bytes=300, failed=1, took=[("published", 0.02), ("published", 3.0)])
    ledger.counters.add(metrics.of_batch("statements", outcome))
    ledger.counters.add(metrics.of_batch("statements", outcome))
    shown = told(settings)
    assert 'towline_files_total{outcome="published",route="statements"} 4.0' in shown
    assert 'towline_files_total{outcome="failed",route="statements"} 2.0' in shown
    assert 'towline_bytes_total{direction="in",route="statements"} 600.0' in shown
    assert 'towline_transfer_seconds_bucket{le="0.05",outcome="published",route="statements"} 2.0' in shown
    assert 'towline_transfer_seconds_bucket{le="+Inf",outcome="published",route="statements"} 4.0' in shown
    assert 'towline_transfer_seconds_count{outcome="published",route="statements"} 4.0' in shown
    assert 'towline_transfer_seconds_sum{outcome="published",route="statements"} 6.04' in shown


def test_what_the_ledger_knows_is_told_as_it_is_now(settings: Settings, ledger: Ledger) -> None:
    """Files by state, the oldest that waits, the last complete listing."""
    poll = ledger.polls.begin("statements", str(settings.route("statements").local), until_s=60)
    assert poll is not None
    found = [Appeared(b"/out/a", 1, 1.0, 1.0, None), Appeared(b"/out/b", 1, 1.0, 1.0, None, ready=True)]
    ledger.polls.apply(poll, found, complete=True, reason=None, listed=2)
    shown = told(settings)
    assert 'towline_files{route="statements",state="WAITING"} 1.0' in shown
    assert 'towline_files{route="statements",state="READY"} 1.0' in shown
    oldest = re.search(r'towline_oldest_waiting_seconds\{route="statements"\} (\S+)', shown)
    assert oldest is not None
    assert 0 < float(oldest[1]) < 60
    assert re.search(
        r'towline_last_complete_listing_timestamp_seconds\{route="statements"\} 1\.\d+e\+09', shown
    )


def test_counters_outlive_the_process_that_counted(
    settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    """A restarted worker must not look like a counter that fell."""
    ledger.counters.add(metrics.of_listing("statements", 0.2))
    with closing(Ledger.open(settings.ledger, state_dir=tmp_path / "state")) as other:
        other.counters.add(metrics.of_listing("statements", 0.2))
    assert 'towline_listing_seconds_count{route="statements"} 2.0' in told(settings)

"""`expect`: a route from which nothing has come for too long says so, to people and to monitoring."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest

from workers import exposition
from workers.cli import main
from workers.ledger import Appeared, Ledger
from workers.ledger.values import Intent, Published
from workers.process import here
from workers.settings import load

CONFIG = """
[towline]
state_dir = "state"
[endpoints.bank]
host = "h"
user = "u"
password = { env = "NOT_SET" }
[routes.statements]
endpoint = "bank"
remote = "/out"
local = "in"
expect = "1h"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "towline.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def ledger(config: Path) -> Iterator[Ledger]:
    settings = load(config)
    with_clock = Ledger.open(settings.ledger, state_dir=settings.state_dir)
    yield with_clock
    with_clock.close()


def publish_one(ledger: Ledger, config: Path) -> None:
    """One file, all the way."""
    target = load(config).routes["statements"].target
    poll = ledger.polls.begin("statements", target, until_s=60)
    assert poll is not None
    appeared = Appeared(b"/out/a", 1, 1.0, 1.0, None, ready=True)
    ledger.polls.apply(poll, [appeared], complete=True, reason=None, listed=1)
    [claim] = ledger.claims.claim("statements", target, files=1, bytes=1, lease_s=60)
    intent = Intent(claim.path_id, claim.version_id, claim.fence, ".towline-x", f"{target}/a", 1, "0" * 64)
    ledger.publishing.intend([intent])
    ledger.publishing.published([Published(intent, 1, "0" * 64, intent.final, finished=True)])


def age(ledger: Ledger, seconds: float) -> None:
    """Two hours ago is two hours of waiting, for a test."""
    with ledger._database.write() as connection:
        connection.exec_driver_sql(f"UPDATE versions SET published_at = published_at - {seconds}")
        connection.exec_driver_sql(f"UPDATE routes SET first_complete_at = first_complete_at - {seconds}")


def routes(config: Path) -> tuple[str, bool]:
    """What `towline routes` prints, and what its JSON says of the one route."""
    said = CliRunner().invoke(main, ["routes", "--config", str(config)]).output
    document = CliRunner().invoke(main, ["routes", "--json", "--config", str(config)]).output
    [route] = json.loads(document)["routes"]
    return said, route["overdue"]


def scraped(config: Path) -> dict[str, float]:
    """The two figures of an alert."""
    settings = load(config)
    registry = CollectorRegistry()
    exposition.register(settings, registry)
    try:
        lines = generate_latest(registry).decode().splitlines()
    finally:
        here(settings).close()
    return {
        name: float(line.rpartition(" ")[2])
        for line in lines
        for name in ("towline_quiet_seconds", "towline_expect_seconds")
        if line.startswith(f'{name}{{route="statements"}}')
    }


def test_a_route_says_when_it_has_been_quiet_for_too_long(ledger: Ledger, config: Path) -> None:
    """Not before, and not any more once a file has come."""
    publish_one(ledger, config)
    said, overdue = routes(config)
    assert ("no file has been published" in said, overdue) == (False, False)
    age(ledger, 7200)
    said, overdue = routes(config)
    assert 'no file has been published for 2h; expect = "1h"' in said
    assert overdue
    told = scraped(config)
    assert told["towline_expect_seconds"] == 3600
    assert 7200 <= told["towline_quiet_seconds"] < 7300


def test_a_route_that_never_brought_a_file_is_overdue_too(ledger: Ledger, config: Path) -> None:
    """Its time begins with its first complete listing."""
    poll = ledger.polls.begin("statements", load(config).routes["statements"].target, until_s=60)
    assert poll is not None
    ledger.polls.apply(poll, [], complete=True, reason=None, listed=0)
    assert not routes(config)[1]
    age(ledger, 3700)
    assert routes(config)[1]

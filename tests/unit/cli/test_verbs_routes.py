"""When a route is due next, and the table of all of them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from tests.unit.ledger.scene import Clock
from workers.cli import main
from workers.cli.output import iso, time_in_table
from workers.cli.routes import next_due, next_tick
from workers.ledger import Appeared, Ledger, RouteState
from workers.settings import Route, load
from workers.settings.cron import cron

BERLIN, UTC = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")


def at(text: str, zone: ZoneInfo = UTC) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("schedule", "now", "tick"),
    [
        ("*/10 * * * *", "2026-04-22T17:04:30", "2026-04-22T17:10:00"),
        ("*/10 * * * *", "2026-04-22T17:10:00", "2026-04-22T17:20:00"),
        ("30 6 * * mon-fri", "2026-04-24T07:00:00", "2026-04-27T06:30:00"),  # Friday → Monday
        ("0 0 1 1 *", "2026-12-31T23:59:00", "2027-01-01T00:00:00"),
        ("0 12 29 2 *", "2026-03-01T00:00:00", "2028-02-29T12:00:00"),
        ("0 12 29 2 sun", "2026-03-01T00:00:00", "2032-02-29T12:00:00"),
    ],
)
def test_next_tick_is_the_first_minute_in_which_all_fields_match(schedule: str, now: str, tick: str) -> None:
    """All five fields at once, strictly after now, over month ends and leap years."""
    assert next_tick(cron(schedule), at(now)) == at(tick)


def test_ticks_follow_the_clock_of_their_zone() -> None:
    """Six in the morning is another moment in summer than in winter."""
    daily = cron("0 6 * * *")
    winter = next_tick(daily, at("2026-01-10T00:00:00", BERLIN)).astimezone(UTC)
    summer = next_tick(daily, at("2026-07-10T00:00:00", BERLIN)).astimezone(UTC)
    assert (winter.hour, summer.hour) == (5, 4)


def a_route(**keys: object) -> Route:
    return Route.model_validate(
        {"name": "r", "endpoint": "bank", "remote": b"/out", "local": Path("/data"), **keys}
    )


def test_an_interval_counts_from_the_last_listing() -> None:
    """A route listed a minute ago with every = 10m is due in nine."""
    assert next_due(a_route(every=600.0), RouteState("r", listed_at=1000.0), 1060.0, UTC) == 1600.0


def test_a_route_that_was_never_listed_is_due_now() -> None:
    """So is one whose tick has passed."""
    assert next_due(a_route(every=600.0), RouteState("r"), 5000.0, UTC) == 5000.0
    assert next_due(a_route(every=600.0), RouteState("r", listed_at=1000.0), 5000.0, UTC) == 5000.0


def test_a_paused_route_is_not_due() -> None:
    """Whatever its schedule says."""
    assert next_due(a_route(cron="* * * * *"), RouteState("r", paused_at=1.0), 5000.0, UTC) is None


def test_the_table_tells_of_the_last_complete_listing_and_of_the_oldest_file(tmp_path: Path) -> None:
    """A listing that broke off is no complete one, however new; the file seen first waits longest."""
    config = tmp_path / "towline.toml"
    config.write_text(
        '[towline]\nstate_dir = "state"\n'
        '[endpoints.bank]\nhost = "h"\nuser = "u"\npassword = { env = "NOT_SET" }\n'
        '[routes.statements]\nendpoint = "bank"\nremote = "/out"\nlocal = "in"\n'
    )
    settings = load(config)
    first = Clock().now
    clock = Clock()
    ledger = Ledger.open(settings.ledger, state_dir=settings.state_dir, clock=clock)
    for name, complete, reason in ((b"a", True, None), (b"b", True, None), (b"c", False, "it broke off")):
        poll = ledger.polls.begin("statements", settings.routes["statements"].target, until_s=60)
        assert poll is not None
        appeared = Appeared(b"/out/" + name, 1, 1.0, 1.0, None)
        ledger.polls.apply(poll, [appeared], complete=complete, reason=reason, listed=1)
        clock.pass_(3600)
    ledger.close()
    document = CliRunner().invoke(main, ["routes", "--json", "--config", str(config)]).output
    [route] = json.loads(document)["routes"]
    assert route["last_complete_listing"] == iso(first + 3600)
    assert (route["listed_at"], route["last_error"]) == (iso(first + 7200), "it broke off")
    assert (route["oldest_waiting_since"], route["waiting"]) == (iso(first), 3)
    head, row, *_ = CliRunner().invoke(main, ["routes", "--config", str(config)]).output.splitlines()
    assert head.split()[:5] == ["route", "listed", "next", "waiting", "oldest"]
    listed, oldest = time_in_table(first + 3600), time_in_table(first)
    assert row.startswith(f"statements  {listed}")
    assert oldest in row[len(f"statements  {listed}") :]

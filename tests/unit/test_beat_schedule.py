"""What beat is told to send, and when."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab

from beat_schedule import entries
from workers.settings import Settings, load

Entries = dict[str, dict[str, Any]]


def _settings(tmp_path: Path, towline: str = "", **routes: str) -> Settings:
    text = f'[towline]\n{towline}\n[endpoints.bank]\nhost = "h"\nuser = "u"\npassword = {{ env = "P" }}\n'
    for name, lines in routes.items():
        text += f'[routes.{name}]\nendpoint = "bank"\nremote = "/{name}"\nlocal = "{name}"\n{lines}\n'
    (tmp_path / "towline.toml").write_text(text)
    return load(tmp_path / "towline.toml", {})


def test_each_route_is_polled_and_upkeep_runs_every_minute(tmp_path: Path) -> None:
    """One entry a route, by its name, and upkeep; all of them on the short queue."""
    made = entries(_settings(tmp_path, fast='every = "30s"', slow=""))
    assert set(made) == {"poll-fast", "poll-slow", "upkeep"}
    assert made["poll-fast"] == {
        "task": "towline.poll",
        "schedule": 30.0,
        "kwargs": {"route": "fast"},
        "options": {"queue": "towline.polls", "expires": 30.0, "ignore_result": True},
    }
    assert made["poll-slow"]["schedule"] == 600.0
    assert made["upkeep"]["task"] == "towline.upkeep"
    assert made["upkeep"]["schedule"] == 60.0
    assert "kwargs" not in made["upkeep"]


def test_without_routes_there_is_still_upkeep(tmp_path: Path) -> None:
    """Leases end and the outbox is sent, whatever is configured."""
    assert set(entries(_settings(tmp_path))) == {"upkeep"}


@pytest.mark.parametrize(
    ("when", "interval_s"),
    [
        ('every = "250ms"', 0.25),
        ('every = "1h"', 3600),
        ('cron = "*/10 6-20 * * mon-fri"', 600),
        ('cron = "0,7 * * * *"', 420),
        ('cron = "30 3 * * sun"', 86_400),
    ],
)
def test_a_message_expires_before_the_next_is_due(tmp_path: Path, when: str, interval_s: float) -> None:
    """A worker that was away finds one poll a route waiting, not a queue of them."""
    options = entries(_settings(tmp_path, r=when))["poll-r"]["options"]
    assert 0 < options["expires"] <= interval_s


def test_cron_fields_are_in_the_order_of_cron(tmp_path: Path) -> None:
    """Celery's crontab takes the day of the week third; cron writes it last."""
    made = entries(_settings(tmp_path, r='cron = "5 6 7 8 sun-mon"'))["poll-r"]["schedule"]
    assert made == crontab(minute=5, hour=6, day_of_month=7, month_of_year=8, day_of_week="0-1")


def test_no_secret_and_nothing_but_names_is_in_an_entry(tmp_path: Path) -> None:
    """Flower and the broker show them to everyone; JSON carries them."""
    for entry in entries(_settings(tmp_path, r="")).values():
        json.dumps(entry)
        assert set(entry.get("kwargs", {})) <= {"route"}


def test_beat_keeps_a_cron_in_its_state_file(tmp_path: Path) -> None:
    """beat pickles its schedule."""
    schedule = entries(_settings(tmp_path, r='cron = "0 3 * * *"'))["poll-r"]["schedule"]
    assert pickle.loads(pickle.dumps(schedule)) == schedule


def test_a_cron_ticks_by_the_clock_of_its_time_zone(tmp_path: Path) -> None:
    """03:00 in Berlin, winter and summer, in an app that is told settings.timezone."""
    settings = _settings(tmp_path, 'timezone = "Europe/Berlin"', r='cron = "0 3 * * *"')
    app = Celery(set_as_current=False)
    app.conf.update(enable_utc=True, timezone=settings.timezone)
    for utc in (datetime(2026, 1, 10, 1, 30, tzinfo=UTC), datetime(2026, 7, 10, 0, 30, tzinfo=UTC)):
        # app.now() with a clock that stands still; beat's own last_run_at comes from it as well.
        now = utc.astimezone(app.timezone)
        schedule = entries(settings)["poll-r"]["schedule"]
        schedule.nowfun = lambda now=now: now
        entry = ScheduleEntry(name="poll-r", schedule=schedule, app=app, last_run_at=now)
        assert entry.is_due() == (False, 30 * 60)

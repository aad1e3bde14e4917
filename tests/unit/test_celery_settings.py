"""What Celery is told, and why: each line is a fault that was met, or a promise that hangs on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CONFIGURATION = """
[towline]
broker = "redis://127.0.0.1:1/0"
results = "redis://127.0.0.1:2/1"
visibility_timeout = "2h"
poll_soft_limit = "4m"
poll_hard_limit = "5m"
timezone = "Europe/Rome"
state_dir = "{state_dir}"
"""

# The app builds itself when it is imported, and belongs to one configuration: so in a process of its own.
DUMP = """
import json
from workers.app import app
app.loader.import_default_modules()
limits = {name: [task.soft_time_limit, task.time_limit] for name, task in app.tasks.items()}
json.dump({name: app.conf[name] for name in NAMES} | {"limits": limits}, __import__("sys").stdout)
"""

PROMISED: dict[str, tuple[str, Any]] = {
    "a pickled message would run its sender's code": ("accept_content", ["json"]),
    "arguments are JSON": ("task_serializer", "json"),
    "results are JSON": ("result_serializer", "json"),
    "a killed worker's message comes back": ("task_acks_late", True),
    "… at once, when it was a child": ("task_reject_on_worker_lost", True),
    "a poll never waits behind a prefetched transfer": ("worker_prefetch_multiplier", 1),
    "schedules do not jump in summer": ("enable_utc", True),
    "Flower sees what has begun": ("task_track_started", True),
    "Flower sees what was asked": ("result_extended", True),
    "Flower hears of tasks": ("worker_send_task_events", True),
    "… and of those that nobody took": ("task_send_sent_event", True),
    "an ignored failure is still told": ("task_store_errors_even_if_ignored", True),
    "bytes flow on while the broker is away": ("worker_cancel_long_running_tasks_on_connection_loss", False),
    "a finished task is not lost with the backend": ("result_backend_always_retry", True),
    "the broker is waited for without end": ("broker_connection_max_retries", None),
    "results go after a day": ("result_expires", 86_400),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Celery's settings for one configuration."""
    folder = tmp_path_factory.mktemp("celery")
    config = folder / "towline.toml"
    config.write_text(CONFIGURATION.format(state_dir=folder / "state"))
    names = [name for name, _ in PROMISED.values()]
    names += [
        "broker_transport_options",
        "result_backend_transport_options",
        "visibility_timeout",
        "task_routes",
        "broker_url",
        "result_backend",
        "timezone",
        "beat_schedule_filename",
    ]
    done = subprocess.run(
        [sys.executable, "-c", f"NAMES = {names!r}\n{DUMP}"],
        env={"TOWLINE_CONFIG": str(config), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("why", PROMISED)
def test_celery_is_told_what_we_rely_on(told: dict[str, Any], why: str) -> None:
    """Each setting with its reason."""
    name, value = PROMISED[why]
    assert told[name] == value


def test_the_visibility_timeout_is_the_same_wherever_celery_looks(told: dict[str, Any]) -> None:
    """The smallest of the three would win, and a long transfer be sent to somebody else."""
    places = (told["broker_transport_options"], told["result_backend_transport_options"], told)
    assert [place["visibility_timeout"] for place in places] == [7200, 7200, 7200]


def test_what_is_configured_reaches_celery(told: dict[str, Any]) -> None:
    """Keys of [towline] that are nothing but settings of Celery's: each where it belongs."""
    assert told["broker_url"] == "redis://127.0.0.1:1/0"
    assert told["result_backend"] == "redis://127.0.0.1:2/1"
    assert told["timezone"] == "Europe/Rome"
    assert told["beat_schedule_filename"].endswith("/state/beat-schedule")


def test_short_tasks_have_the_limits_of_a_poll_and_transfers_none(told: dict[str, Any]) -> None:
    """A transfer's limit is progress, and not a time."""
    limits = {name: limit for name, limit in told["limits"].items() if name.startswith("towline.")}
    assert limits == {
        "towline.poll": [240, 300],
        "towline.probe": [240, 300],
        "towline.upkeep": [240, 300],
        "towline.fetch": [None, None],
        "towline.push": [None, None],
    }


def test_a_half_open_line_to_the_broker_is_noticed(told: dict[str, Any]) -> None:
    """Time-outs, keep-alive, and no limit on reconnecting to the result backend."""
    broker = told["broker_transport_options"]
    assert broker["socket_timeout"] == 10
    assert broker["socket_keepalive"] is True
    assert told["result_backend_transport_options"]["retry_policy"]["max_retries"] is None


def test_each_task_has_its_queue(told: dict[str, Any]) -> None:
    """Transfers are long, everything else is short."""
    routes = told["task_routes"]
    assert routes["towline.fetch"] == routes["towline.push"] == {"queue": "towline.transfers"}
    assert routes["towline.*"] == {"queue": "towline.polls"}

"""Routes → Celery beat's entries; pure.

Beat is the clock and nothing more: what it sends is a hint to look, and a hint that nobody took before the
next one is due is worthless. So each message expires by then, and a worker that was away for a night
finds one poll a route waiting, not a queue of them.
"""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab

from workers.settings import Route, Settings
from workers.settings.cron import cron

POLLS = "towline.polls"
UPKEEP_EVERY_S = 60.0


def entries(settings: Settings) -> dict[str, dict[str, Any]]:
    """What `app.conf.beat_schedule` is set to: a poll a route, and upkeep.

    Cron fields are read by the clock of `app.conf.timezone`, which has to be `settings.timezone`: a crontab
    of Celery's has no zone of its own.
    """
    polls = {f"poll-{route.name}": _poll(route) for route in settings.routes.values()}
    upkeep = {
        "task": "towline.upkeep",
        "schedule": UPKEEP_EVERY_S,
        "options": _options(UPKEEP_EVERY_S),
    }
    return {**polls, "upkeep": upkeep}


def _poll(route: Route) -> dict[str, Any]:
    if route.cron is not None:
        minute, hour, day, month, weekday = route.cron.split()
        schedule: crontab | float = crontab(minute, hour, weekday, day, month)
        # Celery reads options once, so that the shortest gap has to do for every tick.
        expires = cron(route.cron).shortest_gap()
    else:
        assert route.every is not None, "a route has either every or cron"
        schedule = expires = route.every
    return {
        "task": "towline.poll",
        "schedule": schedule,
        "kwargs": {"route": route.name},
        "options": _options(expires),
    }


def _options(expires_s: float) -> dict[str, Any]:
    # Nobody reads what beat's own tasks return, and every tick of every route would leave a result for a
    # day. Errors are stored all the same (task_store_errors_even_if_ignored).
    return {"queue": POLLS, "expires": expires_s, "ignore_result": True}

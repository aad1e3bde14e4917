"""The Celery app; fails loudly when the configuration is wrong.

`celery -A workers.app worker|beat|flower|inspect` finds it here.
"""

from __future__ import annotations

import sys

from celery import Celery

import beat_schedule
from workers import broker, lifecycle, settings
from workers.celery_options import options
from workers.errors import TowlineError
from workers.private import make_state_dir
from workers.settings.unbuilt import check_built


def build(config: settings.Settings) -> Celery:
    """The app for one configuration. Raises BrokerNotRunning where no broker is configured and none runs."""
    settings.check_time_budget(config)
    check_built(config)
    # Beat keeps its state file there, and may be the first of all to start on this machine.
    make_state_dir(config.state_dir)
    app = Celery(
        "towline",
        include=["tasks.poll", "tasks.fetch", "tasks.push", "tasks.probe", "tasks.upkeep"],
        set_as_current=True,
    )
    app.Task.Request = "workers.acknowledging:Delivery"  # by name: only a worker needs it
    app.conf.update(options(config, broker.find(config)), beat_schedule=beat_schedule.entries(config))
    app.towline = config
    lifecycle.connect(app, config)
    return app


try:
    app = build(settings.load())
except TowlineError as wrong:
    # `celery -A` would wrap a traceback of its own loading around the one line that helps.
    print(f"towline: {wrong}", file=sys.stderr)
    raise SystemExit(2) from wrong

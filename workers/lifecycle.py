"""The few Celery signals we use, each with the reason why it is one.

Nothing connects to an endpoint here, and nothing important happens at exit: a slow start of a child
makes an endless kill loop, and a killed child runs no handler.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from celery import Celery, signals

from workers import metrics
from workers.crashpoints import crashpoint
from workers.process import here
from workers.settings import Settings
from workers.stopping import STOP

log = logging.getLogger("towline.lifecycle")

# Each session belongs to one process and one thread; gevent, eventlet and threads would share it.
POOLS = frozenset({"celery.concurrency.prefork", "celery.concurrency.solo"})


def connect(app: Celery, config: Settings) -> None:
    """Connect the signals for this app. The handlers live as long as the app."""

    def refuse_other_pools(sender: Any, **_: Any) -> None:
        if sender.pool_cls.__module__ not in POOLS:
            pool = sender.pool_cls.__module__.rpartition(".")[2]
            print(
                f"towline: celery worker --pool: {pool} is not supported; use prefork or solo",
                file=sys.stderr,
            )
            # Celery logs the exceptions of a handler and goes on; this one it lets through.
            raise SystemExit(2)

    def begin_to_stop(**_: Any) -> None:
        # Fires in the parent only; its children read the flag from shared memory.
        STOP.begin(config.stop_grace)

    def settle_what_the_dead_left(**_: Any) -> None:
        # A worker that was killed leaves claims behind; on its own host they are free at once, so its
        # successor need not wait for the next minute.
        app.send_task("towline.upkeep", ignore_result=True, expires=60)

    def poll_at_once(**_: Any) -> None:
        # Beat waits a whole interval before an entry's first run.
        for route in config.routes.values():
            app.send_task("towline.poll", kwargs={"route": route.name}, ignore_result=True, expires=60)

    def hang_up(**_: Any) -> None:
        here(config).close()  # polite, and nothing depends on it

    def begin(**_: Any) -> None:
        crashpoint("task-begun")

    def end(**_: Any) -> None:
        crashpoint("task-ended")

    metrics.register(config)  # Flower's /metrics shows what is registered in its process

    for signal, handler in (
        (signals.worker_init, refuse_other_pools),
        (signals.worker_shutting_down, begin_to_stop),
        (signals.worker_ready, settle_what_the_dead_left),
        (signals.beat_init, poll_at_once),
        (signals.worker_process_shutdown, hang_up),
        (signals.task_prerun, begin),
        (signals.task_postrun, end),
    ):
        signal.connect(handler, weak=False)

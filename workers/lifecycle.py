"""The few Celery signals we use, each with the reason why it is one.

Nothing connects to an endpoint here, and nothing important happens at exit: a slow start of a child
makes an endless kill loop, and a killed child runs no handler.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, NoReturn

from celery import Celery, signals
from redis import RedisError

from workers import exposition, pairing
from workers.crashpoints import crashpoint
from workers.errors import LedgerRefused, LedgerUnavailable, TowlineError
from workers.ledger import Ledger
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

    ledgers = _Ledgers(config, app.conf.broker_url)
    exposition.register(config)  # Flower's /metrics shows what is registered in its process

    for signal, handler in (
        (signals.worker_init, refuse_other_pools),
        (signals.worker_init, ledgers.open_and_compare),
        (signals.worker_ready, ledgers.compare),
        (signals.beat_init, ledgers.compare_if_there),
        (signals.worker_shutting_down, begin_to_stop),
        (signals.worker_ready, settle_what_the_dead_left),
        (signals.beat_init, poll_at_once),
        (signals.worker_process_shutdown, hang_up),
        (signals.task_prerun, begin),
        (signals.task_postrun, end),
    ):
        signal.connect(handler, weak=False)


class _Ledgers:
    """Our ledger, held against that of the broker's fleet; ends this process where they are two."""

    def __init__(self, config: Settings, broker_url: str) -> None:
        self._config = config
        self._place = pairing.place(config, broker_url)
        self._ours: pairing.Mark | None = None

    def open_and_compare(self, **_: Any) -> None:
        """In a worker before it forks: a ledger that can't be used is told once, and not by every task."""
        try:
            self._open()
        except LedgerUnavailable as away:
            _end(away)
        self.compare()

    def compare_if_there(self, **_: Any) -> None:
        """In beat, which needs no ledger to tick: one that is away is its workers' affair."""
        try:
            self._open()
        except LedgerUnavailable as away:
            log.warning("the ledger was not looked at: %s", away, extra={"action": "ledger.unseen"})
        self.compare()

    def compare(self, **_: Any) -> None:
        """Again where a worker has reached its broker, which may have been away when it started."""
        if self._ours is None or self._place is None:
            return
        try:
            pairing.pair(self._place, self._ours)
        except LedgerRefused as another:
            _end(another)
        except RedisError as away:
            log.warning("not compared with the broker's ledger: %s", away, extra={"action": "ledger.unseen"})

    def _open(self) -> None:
        """Open the ledger, migrate it if that is due, and close it again: a fork inherits nothing of it."""
        try:
            ledger = Ledger.open(self._config.ledger, state_dir=self._config.state_dir)
        except LedgerRefused as wrong:
            _end(wrong)
        self._ours = pairing.Mark.of(ledger, self._config)
        ledger.close()


def _end(wrong: TowlineError) -> NoReturn:
    """Celery logs the exceptions of a handler and goes on; this one it lets through."""
    print(f"towline: {wrong}", file=sys.stderr)
    raise SystemExit(2) from wrong

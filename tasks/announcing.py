"""Send the follow-on tasks of published files: from the outbox to the broker, at least once each.

A fetch sends its own as it ends; upkeep sends what is left: after a crash, or once the broker is back.
"""

from __future__ import annotations

import logging

from celery import Celery
from kombu.exceptions import OperationalError

from workers.crashpoints import crashpoint
from workers.ledger import Announcement
from workers.process import Process

log = logging.getLogger("towline.outbox")

AT_ONCE = 100  # a transaction before and one after so many messages


def announce(app: Celery, process: Process, route: str | None = None) -> int:
    """Send what is due, of one route or of all; returns how many messages the broker has accepted.

    A broker that is away fails nothing: what is not sent is due again at the next upkeep.
    """
    total, hold_s = 0, process.settings.lease
    while taken := process.ledger.outbox.take(route=route, limit=AT_ONCE, hold_s=hold_s):
        crashpoint("announcing")
        sent = _send(app, taken)
        crashpoint("announced")
        total += len(sent)
        if sent:
            process.ledger.outbox.sent(sent)
        crashpoint("announcement-recorded")
        if len(sent) < len(taken):
            process.ledger.outbox.put_back([one.id for one in taken])
            break
    return total


def _send(app: Celery, taken: list[Announcement]) -> list[int]:
    sent: list[int] = []
    for one in taken:
        try:
            message = app.send_task(one.task, kwargs=one.arguments, queue=one.queue)
        except OperationalError as away:
            log.warning(
                "%d follow-on tasks are not sent yet: %s",
                len(taken) - len(sent),
                away,
                extra={"action": "announce.later"},
            )
            break
        # Nobody waits for it here, and at the end of the interpreter its __del__ would try to unsubscribe.
        message.backend = None
        sent.append(one.id)
    return sent

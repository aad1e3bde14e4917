"""A message that could not be acknowledged: where kombu would go on, the line is given up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery
from kombu.message import Message

from workers.acknowledging import Delivery


class SilentChannel:
    """What a message came by, on a line that nobody answers on any more."""

    no_ack_consumers = None

    def basic_ack(self, *_: Any, **__: Any) -> None:
        raise redis.TimeoutError("Timeout reading from socket")

    basic_reject = basic_ack


def nothing() -> None:
    """A task."""


def delivery() -> Delivery:
    """A message as Celery's worker wraps it."""
    app = Celery("nobody", set_as_current=False)
    task = app.task(nothing, name="nothing", lazy=False)
    message = Message(  # type: ignore[no-untyped-call]
        channel=SilentChannel(),
        delivery_tag="1",
        body=b"[[], {}, {}]",
        content_type="application/json",
        content_encoding="utf-8",
        headers={"id": "1", "task": "nothing"},
    )
    return Delivery(
        message,
        app=app,
        task=task,
        eventer=SimpleNamespace(enabled=False),
        on_ack=message.ack_log_error,
        on_reject=message.reject_log_error,
        connection_errors=(redis.TimeoutError,),
    )


def test_what_cannot_be_acknowledged_is_heard_of() -> None:
    """Celery's consumer makes a new line for it; logged and forgotten, it would count as in work for ever."""
    with pytest.raises(redis.TimeoutError):
        delivery().acknowledge()
    with pytest.raises(redis.TimeoutError):
        delivery().reject()

"""A pickled message runs code where it is read: whoever reaches the broker must not get that far."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.servers.valkey import Valkey
from tests.system.stack import Stack
from tests.waiting import wait_until

WITHIN = 60.0  # seconds, on a busy machine
PICKLE = "application/x-python-serialize"


class Touch:
    """Pickled, it makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickled_message_is_refused_and_the_worker_lives_on(
    valkey: Valkey, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """It is never unpickled and comes back to nobody; the same worker answers the next poll message."""
    bank = {"host": "127.0.0.1", "port": free_port(), "user": "acme", "password": {"env": "STACK_PASSWORD"}}
    made, proof = tmp_path / "made-by-the-message", tmp_path / "made-by-the-test"
    pickle.loads(pickle.dumps(Touch(proof)))
    assert proof.exists(), "the message would do no harm if it were read"
    with Stack(
        tmp_path,
        valkey.url(),
        endpoints={"bank": bank},
        routes={"in": {"endpoint": "bank", "remote": "/"}},
    ) as stack:
        stack.start("polls")
        worker = stack.services["polls"].process
        with stack.app.connection() as connection:
            connection.Producer().publish(
                [[], {"route": Touch(made)}, {}],
                exchange="",
                routing_key="towline.polls",
                serializer="pickle",
                headers={"task": "towline.poll", "id": str(uuid4()), "lang": "py"},
            )
        wait_until(lambda: PICKLE in stack.said(), WITHIN, what="the worker has refused the message")

        poll = stack.send("poll", "polls", route="in")
        wait_until(poll.ready, WITHIN, what="the poll is answered")
        assert type(poll.result).__name__ == "ReconnectFailed"  # the poll itself ran: nobody listens there
        assert worker.poll() is None
        assert not made.exists()
        stack.wait_until_idle()  # neither message is held

"""Which ledger a broker's fleet works with, kept where all of the fleet can see it.

A worker with another ledger than the others' knows nothing of what they have fetched, and would fetch all of
it once more, without a word. So the ledger's id stands in the broker; where that is no Redis, in the result
store; where neither is, nobody can look. Whoever comes first writes it, every worker and beat compares it
as it starts, and upkeep once a minute, which also puts it back into a broker that was emptied.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Self

from redis import Redis

from workers.errors import LedgerRefused
from workers.ledger import Ledger
from workers.ledger.engine import shown
from workers.settings import Settings

KEY = "towline:ledger"
WITHIN_S = 5.0
"""For each answer of the broker; a start must not hang on one that is half-open."""


REMEDY = (
    "give all processes the same [towline] ledger, or, where the whole fleet is to move to this one, stop it "
    "and say `towline adopt`"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A ledger as the broker knows it: its id, its URL without passwords, and the host that wrote this."""

    id: str
    ledger: str
    host: str

    @classmethod
    def of(cls, ledger: Ledger, settings: Settings) -> Self:
        """This host's mark of an open ledger."""
        return cls(ledger.id, shown(settings.ledger), socket.gethostname())

    def __str__(self) -> str:
        return f"{self.id} ({self.ledger} on {self.host})"


def place(settings: Settings, broker_url: str) -> str | None:
    """The URL of the Redis in which the mark stands; None where broker and result store are none."""
    for url in (broker_url, settings.results or ""):
        if url.startswith(("redis://", "rediss://")):
            return url
    return None


def read(url: str) -> Mark | None:
    """The mark in the Redis at `url`; None where it has none. Raises redis.RedisError."""
    with _client(url) as client:
        return _read(client)


def pair(url: str, ours: Mark) -> None:
    """Leave our mark in the Redis at `url`, or make sure that the one there is of the same ledger.

    Raises LedgerRefused: it is of another one; redis.RedisError: it could not be looked at.
    """
    with _client(url) as client:
        theirs = _read(client)
        if theirs is None and not client.set(KEY, json.dumps(asdict(ours)), nx=True):
            theirs = _read(client)  # somebody was faster
    if theirs is not None and theirs.id != ours.id:
        raise another(ours, theirs)


def another(ours: Mark, theirs: Mark) -> LedgerRefused:
    """What a process fails with that has another ledger than its fleet."""
    return LedgerRefused(str(ours), f"the broker's fleet works with another one, {theirs}; {REMEDY}")


def adopt(url: str, ours: Mark) -> Mark | None:
    """Make ours the broker's ledger, whatever it was; returns the mark before. Raises redis.RedisError."""
    with _client(url) as client:
        before = _read(client)
        client.set(KEY, json.dumps(asdict(ours)))
    return before


def _read(client: Redis) -> Mark | None:
    found = client.get(KEY)
    return None if found is None else Mark(**json.loads(str(found)))


@contextmanager
def _client(url: str) -> Iterator[Redis]:
    client = Redis.from_url(
        url, socket_timeout=WITHIN_S, socket_connect_timeout=WITHIN_S, decode_responses=True
    )
    with client:
        yield client

"""Where the time of a small file goes: a real fetch in this process, with a clock around each of its steps.

A step's time is its own, without the steps inside it; what no clock stands around is "the rest", our own
Python in between. The clocks cost about a microsecond each.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench.items import BEST, KIB, Scale
from tests.bench.scene import make_files
from tests.bench.work import Work, same
from tests.servers.certificates import Certificates
from tests.servers.fetching import Fetching
from tests.servers.kinds import KINDS
from workers.ftps import data as channel
from workers.ftps.connection import Connection
from workers.ftps.control import Control
from workers.ftps.stream import Stream
from workers.ledger.claims import Claims
from workers.ledger.publishing import Publishing
from workers.stores.local import LocalFolder
from workers.stores.temp import Temp

ROUNDS = 4  # of which the fastest counts: what else the machine does only adds
REST = "the rest: Python in between"

STEPS: tuple[tuple[str, Any, str], ...] = (
    ("EPSV and its reply", channel, "ask_for_port"),
    ("TCP connect", Stream, "dial"),
    ("replies: 150, 226", Control, "reply"),
    # Made ready, done piece by piece, and waited for; the 150 comes meanwhile.
    ("TLS handshake, resumed", Stream, "wrapped"),
    ("TLS handshake, resumed", Stream, "shake_hands"),
    ("TLS handshake, resumed", Stream, "wait"),
    ("reading the data", Stream, "read_into"),
    ("ending the data's TLS", Stream, "say_end"),
    ("SIZE and MDTM again", Connection, "stat"),
    ("temp file: open", LocalFolder, "open_temp"),
    ("temp file: write, SHA-256", Temp, "write"),
    ("temp file: fsync", LocalFolder, "sync"),
    ("temp file: rename", LocalFolder, "publish"),
    ("temp file: fsync of the folder", LocalFolder, "sync_folders"),
    ("ledger: claimed", Claims, "claim"),
    ("ledger: the file is begun", Claims, "begin"),
    ("ledger: intent", Publishing, "intend"),
    ("ledger: published", Publishing, "published"),
)


class Clocks:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def around(self, label: str, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step`, timed."""

        @functools.wraps(step)
        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            self._inner.append(0.0)
            try:
                return step(*arguments, **named)
            finally:
                took = time.perf_counter() - began
                # A reply that is waited for inside EPSV is EPSV's, and so on: the outermost step counts.
                inner = self._inner.pop()
                self._inner[-1] += took
                self.seconds[label] += took - inner

        return timed

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """All steps are timed for as long as the block lasts."""
        with contextlib.ExitStack() as undone:
            for label, owner, name in STEPS:
                was = vars(owner)[name]
                if isinstance(was, classmethod):
                    setattr(owner, name, classmethod(self.around(label, was.__func__)))
                else:
                    setattr(owner, name, self.around(label, was))
                undone.callback(setattr, owner, name, was)
            yield


def small_file(folder: Path, certificates: Certificates, scale: Scale) -> dict[str, dict[str, float]]:
    """Seconds a file by step, for each server: {"vsftpd, TLS 1.3": {"TCP connect": 0.0001, …}}."""
    found: dict[str, dict[str, float]] = {}
    work = Work("phases", "small files", "down", same(min(scale.small, 512), 10 * KIB))
    for name, tls in BEST:
        kind, place = KINDS[name], folder / name
        with kind(place / "server", certificates, tls_version=tls) as server:
            make_files(work, server.root / "out")
            count = len(work.sizes)
            rounds = [
                _fetched(Fetching(server, place / str(n), remote=b"/out"), count) for n in range(ROUNDS)
            ]
        found[f"{name}, TLS {tls}"] = min(rounds, key=lambda steps: sum(steps.values()))
    return found


def _fetched(fetching: Fetching, count: int) -> dict[str, float]:
    """Seconds a file by step, of one fetch of so many files."""
    clocks, published = Clocks(), 0
    with contextlib.closing(fetching):
        fetching.poll()
        began = time.perf_counter()
        # A round holds its line from claim to claim; else each file would ask whether somebody waits for it.
        with clocks.running(), fetching.session.reserved():
            while claims := fetching.claim():
                published += fetching.fetch(claims).published
        took = time.perf_counter() - began
    assert published == count
    steps = {label: clocks.seconds[label] / published for label, _, _ in STEPS}
    return steps | {REST: took / published - sum(steps.values())}

"""Rebuilds a session's line again and again, and says what the process holds after 100 times and at the end.

`python -m tests.faults.rebuilding_process PORT CA explicit|implicit REBUILDS` prints one object of JSON.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from tests.faults.scripted import ScriptedServer
from workers.ftps.connection import Connection
from workers.ledger import Ledger
from workers.session import Session, Tally
from workers.settings import Endpoint

WARM_UP = 100
"""Rebuilds, until caches and heaps have found their size."""


def main() -> None:
    port, ca_file, tls, rebuilds = sys.argv[1:5]
    facts: dict[str, Any] = {
        "name": "bank",
        "host": "localhost",
        "port": int(port),
        "user": ScriptedServer.user,
        "password": ScriptedServer.password,
        "tls": tls,
        "ca_file": ca_file,
        "probe_after": 0.0,
        "probe_timeout": 60.0,
        "reconnect": {"attempts": 4, "within": 60.0, "first_wait": 0.001, "max_wait": 0.01},
    }
    # In memory where there is such a place: what is looked at here is no disk.
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None) as folder:
        state = Path(folder)
        with (
            closing(Ledger.open(f"sqlite:///{state}/ledger.sqlite3", state_dir=state)) as ledger,
            closing(Session(Endpoint.model_validate(facts), ledger)) as session,
        ):
            tally = Tally()
            for number in range(int(rebuilds) + 1):
                assert session.run(names, name="list", tally=tally) == {b"a.bin"}
                if number == WARM_UP:
                    early = held()
            late = held()
            builds = {reason.value: count for reason, count in session.counters.builds.items()}
    print(json.dumps({"early": early, "late": late, "builds": builds}))


def names(line: Connection) -> set[bytes]:
    with line.listing(b"/") as listing:
        return {entry.name for entry in listing}


def held() -> dict[str, int]:
    """Descriptors, threads, and resident memory in bytes."""
    gc.collect()
    process = psutil.Process()
    return {
        "descriptors": process.num_fds(),
        "threads": threading.active_count(),
        "rss": process.memory_info().rss,
    }


if __name__ == "__main__":
    main()

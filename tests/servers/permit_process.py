"""A process of the fleet that lists again and again: `python -m tests.servers.permit_process CONFIG SECONDS`.

Says "ready" once it has imported all; begins when it is sent a line. At the end it prints, as JSON, how many
tasks it did, how many ended as busy, and how many lost their line between their two listings.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from pathlib import Path

from workers import settings
from workers.errors import EndpointBusy
from workers.process import Process
from workers.session import Tally


def main() -> None:
    with closing(Process(settings.load(Path(sys.argv[1])))) as process:
        session, tally = process.session("bank"), Tally()
        done = busy = lost = 0
        print("ready", flush=True)
        sys.stdin.readline()
        until = time.monotonic() + float(sys.argv[2])
        while time.monotonic() < until:
            try:
                with session.reserved():
                    builds = session.counters.builds.total()
                    for _ in range(2):
                        session.run(_list, name="list", tally=tally)
                    lost += session.counters.builds.total() > builds + 1
            except EndpointBusy:
                busy += 1
            else:
                done += 1
        print(json.dumps([done, busy, lost]), flush=True)


def _list(line: object) -> None:
    with line.listing(b"/out") as listing:  # type: ignore[attr-defined]
        list(listing)


if __name__ == "__main__":
    main()

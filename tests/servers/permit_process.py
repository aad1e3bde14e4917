"""A process of the fleet that lists again and again: `python -m tests.servers.permit_process CONFIG OPTIONS`.

Says "ready" once it has imported all; begins when it is sent a line, and ends with another one or the end of
its input. Meanwhile it says, a word a task, how each went: "done", "lost" where it lost its line between its
two listings, or how it failed (WORDS). OPTIONS, as JSON: host (its name, where it shall be another), tick_s
(seconds between two tasks), patience_s and kept_s (of workers.permit).
"""

from __future__ import annotations

import json
import sys
import threading
from contextlib import closing
from pathlib import Path

from workers import permit, settings
from workers.errors import EndpointBusy, EndpointClosed, LoginRefused, ReconnectFailed
from workers.ftps.connection import Connection
from workers.ledger import owners
from workers.process import Process
from workers.session import Tally

WORDS = {EndpointBusy: "busy", EndpointClosed: "closed", LoginRefused: "closed", ReconnectFailed: "down"}


def main() -> None:
    options = {"host": None, "tick_s": 0.0, "patience_s": 5.0, "kept_s": 5.0} | json.loads(sys.argv[2])
    if options["host"] is not None:
        owners.this_host = lambda: f"{options['host']}/of-a-test"
    permit.PATIENCE_S, permit.KEPT_S = options["patience_s"], options["kept_s"]
    with closing(Process(settings.load(Path(sys.argv[1])))) as process:
        session, tally = process.session("bank"), Tally()
        print("ready", flush=True)
        sys.stdin.readline()
        over = threading.Event()
        threading.Thread(target=_until_told, args=(over,), daemon=True).start()
        while not over.is_set():
            word = "done"
            try:
                with session.reserved():
                    builds = session.counters.builds.total()
                    for _ in range(2):
                        session.run(_list, name="list", tally=tally)
                    if session.counters.builds.total() > builds + 1:
                        word = "lost"
            except (EndpointBusy, EndpointClosed, LoginRefused, ReconnectFailed) as failure:
                word = WORDS[type(failure)]
            print(word, flush=True)
            over.wait(options["tick_s"])


def _until_told(over: threading.Event) -> None:
    sys.stdin.readline()
    over.set()


def _list(line: Connection) -> None:
    with line.listing(b"/out") as listing:
        list(listing)


if __name__ == "__main__":
    main()

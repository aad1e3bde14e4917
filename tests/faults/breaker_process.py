"""A fetch or a poll in a process of its own.

`python -m tests.faults.breaker_process FOLDER PORT CA fetch|poll` says how its task failed, as JSON: the
arguments of ReconnectFailed; null where it has not.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.faults.scripted import ScriptedServer
from workers import errors
from workers.ftps.connection import Connection
from workers.ledger import Ledger
from workers.session import Session, Tally
from workers.settings import Endpoint

ATTEMPTS = 3


def main() -> None:
    folder, port, ca_file, task = sys.argv[1:5]
    facts: dict[str, Any] = {
        "name": "bank",
        "host": "localhost",
        "port": int(port),
        "user": ScriptedServer.user,
        "password": ScriptedServer.password,
        "ca_file": ca_file,
        # The breaker stays open for `within`.
        "reconnect": {"attempts": ATTEMPTS, "within": 600.0, "first_wait": 0.001, "max_wait": 0.01},
    }
    ledger = Ledger.open(f"sqlite:///{folder}/ledger.sqlite3", state_dir=Path(folder))
    with closing(ledger), closing(Session(Endpoint.model_validate(facts), ledger)) as session:
        try:
            session.run(Connection.noop, name="noop", tally=Tally(heeds_breaker=task == "fetch"))
        except errors.ReconnectFailed as failure:
            print(json.dumps(failure.args))
        else:
            print(json.dumps(None))


if __name__ == "__main__":
    main()

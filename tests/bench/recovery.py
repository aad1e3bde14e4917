"""The server hangs up on an idle line: how long until the next listing begins, beside a cold start."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from tests.bench.items import BEST, Scale
from tests.bench.scene import make_files
from tests.bench.work import Work, same
from tests.servers.certificates import Certificates
from tests.servers.fetching import Fetching
from tests.servers.kinds import KINDS
from workers.ftps.connection import Connection
from workers.session import Session, Tally
from workers.settings import Reconnect

TURNS = 15


def recovery(folder: Path, certificates: Certificates, scale: Scale) -> dict[str, dict[str, list[float]]]:
    """Seconds of each turn, by server: {"vsftpd": {"cold": […], "after a hang-up": […]}}."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, tls in BEST:
        kind, place = KINDS[name], folder / name
        with kind(place / "server", certificates, tls_version=tls) as server:
            make_files(Work("few", "", "list", same(3, 10)), server.root / "out")
            fetching = Fetching(server, place)
            # The default budget, with its waits.
            idle_at_once = {"reconnect": Reconnect(), "probe_after": 0.0}
            endpoint = fetching.endpoint.model_copy(update=idle_at_once)
            cold: list[float] = []
            again: list[float] = []
            with contextlib.closing(fetching):
                for _ in range(3 if scale.name == "quick" else TURNS):
                    with contextlib.closing(Session(endpoint, fetching.ledger)) as session:
                        cold.append(first_entry_s(session))
                        server.kill_lines()
                        again.append(first_entry_s(session))
        found[f"{name}, TLS {tls}"] = {"cold": cold, "after a hang-up": again}
    return found


def first_entry_s(session: Session) -> float:
    """Seconds from the wish to the first entry of a listing."""

    def first(line: Connection) -> float:
        with line.listing(b"/out") as listing:
            next(iter(listing))
            came = time.perf_counter()
            for _ in listing:
                pass
        return came

    began = time.perf_counter()
    return session.run(first, name="first entry", tally=Tally()) - began

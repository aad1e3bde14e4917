"""A whole fleet for the soak: three workers, beat, broker, a ledger in PostgreSQL, three real servers behind
proxies, and a route of each kind on each of them, with its writer and its watcher. All its routes pull, or
all push."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal, Self

from tests.faults.proxy import CuttingProxy
from tests.servers.postgres import Postgres
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, endpoint
from tests.witness import books
from tests.witness.verdict import Row, Verdict, verdict
from tests.witness.watcher import Folders, Watcher
from tests.witness.writer import Journal, Writer
from workers.ledger import Ledger

SERVERS = ("vsftpd", "proftpd", "pure-ftpd")
WORKERS = ("transfers-1", "transfers-2", "transfers-3")
LEASE_S = 2.0
AFTER = {"keep": "keep", "delete": "delete", "move": "move:{}/archive"}

# Nothing here is worth waiting half a minute for: a line that fell into a black hole is one of many faults.
PATIENCE = {
    "connect_timeout": "5s",
    "reply_timeout": "5s",
    "idle_timeout": "5s",
    "probe_timeout": "2s",
    "max_sessions": 3,
    "reconnect": {"attempts": 5, "within": "20s", "first_wait": "100ms", "max_wait": "1s"},
}


class Fleet:
    """Runs from `with` on. Whoever strikes it repairs it; `supervise` starts again what has ended."""

    def __init__(
        self,
        folder: Path,
        servers: dict[str, FtpServer],
        valkey: Valkey,
        postgres: Postgres,
        *,
        direction: Literal["pull", "push"] = "pull",
    ) -> None:
        self.direction = direction
        self.servers = servers
        self.valkey = valkey
        self.postgres = postgres
        self.journal = Journal()
        self.proxies = {name: CuttingProxy.before(server) for name, server in servers.items()}
        self.writers: dict[str, Writer] = {}
        self.frozen: set[str] = set()
        routes = {f"{server}-{kind}": (server, after) for server in servers for kind, after in AFTER.items()}
        self.folders = {name: self._folders(folder, name, server) for name, (server, _) in routes.items()}
        self.stack = Stack(
            folder / "stack",
            valkey.url(),
            endpoints={
                name: endpoint(server, host=self.proxies[name].address, **PATIENCE)
                for name, server in servers.items()
            },
            routes={
                name: self._ends(name, after)
                | {
                    "endpoint": server,
                    "every": "4s",
                    "settle": "1s",
                    "max_attempts": 1000,
                }
                for name, (server, after) in routes.items()
            },
            towline={"lease": f"{LEASE_S:g}s", "stop_grace": "5s"},
            ledger=postgres.url(),
            polls=2,
        )
        for worker in WORKERS:
            work = ["-Q", "towline.transfers", "-c", "1"]
            self.stack.commands[worker] = ["worker", "-n", f"{worker}@%h", *work]
        for name, one in self.folders.items():
            one.source.parent.mkdir()
            self.writers[name] = Writer(name, one.source, self.journal)
        self.watcher = Watcher(folder / "desk", *self.folders.values())
        self._running = ExitStack()

    def _folders(self, folder: Path, name: str, server: str) -> Folders:
        """Where a route's files come from and go to; what the server's account may write is made here."""
        there = self.servers[server].root / name
        if self.direction == "pull":
            return Folders(name, there / "out", folder / f"in-{name}", there / "archive")
        there.mkdir()
        there.chmod(0o777)
        return Folders(name, folder / name / "out", there, folder / name / "archive")

    def _ends(self, name: str, after: str) -> dict[str, Any]:
        """The keys of a route that say where its files are."""
        if self.direction == "pull":
            remote, local, above = f"/{name}/out", str(self.folders[name].target), f"/{name}"
        else:
            remote, local = f"/{name}", str(self.folders[name].source)
            above = str(self.folders[name].source.parent)
        return {
            "direction": self.direction,
            "remote": remote,
            "local": local,
            "after": after.format(above),
        }

    @property
    def services(self) -> tuple[str, ...]:
        """What has to run."""
        return ("polls", "beat", *WORKERS)

    def supervise(self) -> None:
        """Start again what is not running, as a supervisor does."""
        for name in self.services:
            service = self.stack.services.get(name)
            if service is None or service.process.poll() is not None:
                self.frozen.discard(name)
                self.stack.launch(name)

    def signal(self, name: str, what: signal.Signals) -> None:
        """To a service and its pool together."""
        os.killpg(self.stack.services[name].process.pid, what)

    def holders(self) -> set[int]:
        """The processes that have files claimed now."""
        return books.holders(self.postgres.url())

    def ledger(self) -> closing[Ledger]:
        """The ledger, opened once more."""
        return closing(Ledger.open(self.postgres.url(), state_dir=self.stack.state_dir))

    def left(self) -> list[str]:
        """What is still to be done: versions that are not over, files not published, sources not cleared."""
        found: list[str] = []
        with self.ledger() as ledger:
            for name, writer in self.writers.items():
                found += [f"{name}: {line}" for line in books.unfinished(ledger, name)]
                landed = {
                    os.fsdecode(row.path.rpartition(b"/")[2])
                    for row in ledger.history.rows(name, limit=1_000_000)
                    if row.latest and row.sha256
                }
                if self.direction == "push":  # upkeep's, within a round or two
                    found += [f"{name}: {temp}" for temp in books.temps(self.folders[name].target)]
                cleared = not name.endswith("keep")
                found += [f"{name}: {file}" for file in writer.names() if cleared or file not in landed]
        return found

    def retry(self) -> int:
        """Ask again for what a failure has put off for minutes or hours; how many files that were."""
        asked = 0
        with self.ledger() as ledger:
            for name in self.writers:
                for row in ledger.history.rows(name, limit=1_000_000):
                    put_off = row.latest and (row.last_error or row.after_error)
                    if put_off and row.state in ("READY", "QUARANTINED", "PUBLISHED"):
                        asked += ledger.claims.retry(name, row.path)
        return asked

    def verdict(self) -> Verdict:
        """The seven sets, over all routes. Everything has to be at rest."""
        rows: list[Row] = []
        temps: list[str] = []
        with self.ledger() as ledger:
            for name in self.writers:
                rows += books.published(ledger, name)
                target = self.folders[name].target
                if self.direction == "pull":
                    temps += books.orphans(ledger, name, target)
                else:
                    temps += books.temps(target)
        found = verdict(self.journal, self.watcher, rows, temps)
        if not found.clean:
            self._keep_ledger()
        return found

    def __enter__(self) -> Self:
        for proxy in self.proxies.values():
            self._running.enter_context(proxy)
        self._running.enter_context(self.watcher)
        self._running.enter_context(self.stack)
        self.supervise()
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is not None:
            self._keep_ledger()
        for name in self.frozen & self.stack.services.keys():
            self.signal(name, signal.SIGCONT)
        self._running.close()

    def _keep_ledger(self) -> None:
        """For whoever looks for the cause: PostgreSQL's own folder goes with the test."""
        self.postgres.stop()  # a fault may have left it either way
        self.postgres.start()
        books.keep(self.postgres.url(), self.stack.folder)

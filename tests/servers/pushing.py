"""Looking and pushing without Celery, for tests of uploads: the real session, ledger and folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.scripted import ScriptedServer
from tests.servers.fetching import QUICK
from tests.servers.server import FtpServer
from workers import local_sources
from workers.batch import Outcome, Work
from workers.detect import Rules, decide
from workers.ledger import Ledger
from workers.ledger.values import Claim
from workers.names import printable
from workers.sending import push_batch
from workers.session import Session, Tally
from workers.settings import Endpoint, Route
from workers.stopping import StopFlag
from workers.stores.source import SourceFolder

LONG_AGO = 1_600_000_000


class Pushing:
    """One process's view of one push route. `folder` holds its ledger and `out/`, the files to send."""

    def __init__(
        self,
        server: FtpServer | ScriptedServer,
        folder: Path,
        *,
        host: str | None = None,
        resume_uploads: bool = False,
        **keys: Any,
    ) -> None:
        """host: where a proxy stands before the server. keys: of the route; `settle` is 0 unless given."""
        self.source = folder / "out"
        self.source.mkdir(parents=True, exist_ok=True)
        if isinstance(server, FtpServer):
            self.landed = server.root / "in"
            self.landed.mkdir(exist_ok=True)
            self.landed.chmod(0o777)
        endpoint = Endpoint(
            name="bank",
            host=host or server.host,
            port=server.port,
            user=server.user,
            password=server.password,  # type: ignore[arg-type]
            tls=server.tls,
            ca_file=server.ca_file,
            reconnect=QUICK,
            resume_uploads=resume_uploads,
        )
        told: dict[str, Any] = {"remote": b"/in", "local": self.source, "settle": 0.0} | keys
        self.route = Route(name="orders", endpoint="bank", direction="push", **told)
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.sqlite3", state_dir=folder)
        self.session = Session(endpoint, self.ledger)
        self.folder = SourceFolder(self.source, route="orders")
        self.tally = Tally()
        self.stop = StopFlag()

    def put(self, name: str | bytes, content: bytes, modified: float = LONG_AGO) -> Path:
        """A file to be sent, whole at once."""
        path = Path(os.fsdecode(os.fsencode(self.source) + b"/" + os.fsencode(name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.source.parent / "fresh"
        fresh.write_bytes(content)
        os.utime(fresh, (modified, modified))
        fresh.replace(path)
        return path

    def folder_path(self, name: bytes) -> bytes:
        """The path by which the ledger knows a file."""
        return os.fsencode(self.source) + b"/" + name

    def ready(self, **content: bytes) -> None:
        """Put files by these names, and have them looked at: they are to be sent now."""
        for name, body in content.items():
            self.put(name, body)
        assert self.poll() == len(content)

    def poll(self) -> int:
        """List the folder, decide, write down; how many files are ready now."""
        poll = self.ledger.polls.begin(self.route.name, self.route.target, until_s=60)
        assert poll is not None
        rules = Rules.of(self.route)
        entries, _ = self.folder.entries(depth=rules.depth, enters=rules.enters)
        known = self.ledger.polls.known(self.route.name, self.route.target)
        decision = decide(entries, known, rules, poll.began_at, complete=True)
        self.ledger.polls.apply(poll, decision.changes, complete=True, reason=None, listed=len(entries))
        return self.ledger.polls.counts(self.route.name).ready

    def claim(self) -> list[Claim]:
        """All that is due, claimed."""
        return self.ledger.claims.claim(
            self.route.name, self.route.target, files=256, bytes=1 << 40, lease_s=60
        )

    def push(
        self, claims: list[Claim] | None = None, holds: Callable[[int], bool] = lambda _: True
    ) -> Outcome:
        """Send these claims, or all that is due."""
        outcome = Outcome()
        work = Work(self.route, self.session, self.ledger, self.tally, self.stop, holds)
        push_batch(work, self.folder, self.claim() if claims is None else claims, outcome)
        return outcome

    def clear(self) -> None:
        """Do what is due at the sources."""
        local_sources.clear(self.route, self.folder, self.ledger, stop=self.stop, hold_s=60)

    def states(self) -> dict[str, str]:
        """The state of each file's versions by name, oldest first: {"a": "SUPERSEDED FINISHED"}."""
        rows = self.ledger.history.rows(route=self.route.name, limit=1000)
        found: dict[str, str] = {}
        for row in sorted(rows, key=lambda row: row.version_id):
            shown = printable(row.path.rpartition(b"/")[2])
            found[shown] = f"{found.get(shown, '')} {row.state}".strip()
        return found

    def files(self) -> dict[str, bytes]:
        """What lies in the partner's folder, temps included."""
        return {
            str(one.relative_to(self.landed)): one.read_bytes()
            for one in self.landed.rglob("*")
            if one.is_file()
        }

    def close(self) -> None:
        """Give everything up, as an orderly exit does."""
        self.session.close()
        self.ledger.close()

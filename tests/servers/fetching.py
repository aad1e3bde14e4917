"""Polling and fetching without Celery, for tests of transfers: the real session, ledger and store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.servers.server import FtpServer
from workers import sources
from workers.batch import Outcome, Work
from workers.detect import Rules, decide
from workers.ledger import Ledger
from workers.ledger.values import Claim
from workers.looking import look
from workers.names import printable
from workers.session import Session, Tally
from workers.settings import Endpoint, Reconnect, Route
from workers.stopping import StopFlag
from workers.stores.opening import open_store
from workers.transfer import fetch_batch

QUICK = Reconnect(attempts=3, within=60.0, first_wait=0.01, max_wait=0.02)


class Fetching:
    """One process's view of one route: it polls, claims and fetches. `folder` holds its ledger and `in/`."""

    def __init__(
        self,
        server: FtpServer,
        folder: Path,
        *,
        host: str | None = None,
        clock: Callable[[], float] | None = None,
        **keys: Any,
    ) -> None:
        """host: where a proxy stands before the server. clock: instead of the ledger's own.

        keys: of the route; `settle` is 0 unless given.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.endpoint = Endpoint(
            name="bank",
            host=host or server.host,
            port=server.port,
            user=server.user,
            password=server.password,  # type: ignore[arg-type]
            tls=server.tls,
            ca_file=server.ca_file,
            reconnect=QUICK,
        )
        self.folder = folder
        self.landed = folder / "in"
        told: dict[str, Any] = {"remote": b"/", "local": self.landed, "settle": 0.0} | keys
        self.route = Route(name="statements", endpoint="bank", **told)
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.sqlite3", state_dir=folder, clock=clock)
        self.session = Session(self.endpoint, self.ledger)
        self.store = open_store(self.route)
        self.tally = Tally()
        self.stop = StopFlag()

    def poll(self) -> int:
        """List, decide, write down; how many files are ready now."""
        target = str(self.route.local)
        poll = self.ledger.polls.begin(self.route.name, target, until_s=60)
        assert poll is not None
        rules = Rules.of(self.route)
        listed = look(
            self.session, self.route.remote, tally=self.tally, depth=rules.depth, enters=rules.enters
        )
        known = self.ledger.polls.known(self.route.name, target)
        first = self.ledger.routes.get(self.route.name).first_complete_at is None
        decision = decide(listed.entries, known, rules, poll.began_at, complete=listed.complete, first=first)
        self.ledger.polls.apply(
            poll,
            decision.changes,
            complete=listed.complete,
            reason=listed.reason,
            listed=len(listed.entries),
        )
        return self.ledger.polls.counts(self.route.name).ready

    def claim(self) -> list[Claim]:
        """All that is due, claimed."""
        return self.ledger.claims.claim(
            self.route.name, str(self.route.local), files=256, bytes=1 << 40, lease_s=60
        )

    def fetch(
        self, claims: list[Claim] | None = None, holds: Callable[[int], bool] = lambda _: True
    ) -> Outcome:
        """Fetch these claims, or all that is due."""
        outcome = Outcome()
        work = Work(self.route, self.session, self.ledger, self.tally, self.stop, holds)
        fetch_batch(work, self.store, self.claim() if claims is None else claims, outcome)
        return outcome

    def clear(self, hold_s: float = 60) -> None:
        """Do what is due at the sources."""
        sources.clear(self.route, self.session, self.ledger, tally=self.tally, stop=self.stop, hold_s=hold_s)

    def became(self) -> dict[str, str | None]:
        """What the ledger says of the sources, by path; of the newest version."""
        rows = self.ledger.history.rows(route=self.route.name, limit=1000)
        return {printable(row.path): row.after_step for row in rows if row.latest}

    def states(self) -> dict[str, str]:
        """The state of each path's versions, oldest first: {"/a": "SUPERSEDED FINISHED"}."""
        rows = self.ledger.history.rows(route=self.route.name, limit=1000)
        found: dict[str, str] = {}
        for row in sorted(rows, key=lambda row: row.version_id):
            shown = printable(row.path) if isinstance(row.path, bytes) else row.path
            found[shown] = f"{found.get(shown, '')} {row.state}".strip()
        return found

    def files(self) -> dict[str, bytes]:
        """What lies in the target folder, temps included."""
        if not self.landed.exists():
            return {}
        return {one.name: one.read_bytes() for one in self.landed.rglob("*") if one.is_file()}

    def close(self) -> None:
        """Give everything up, as an orderly exit does."""
        self.session.close()
        self.ledger.close()

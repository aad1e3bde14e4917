"""What one process holds: the ledger, a session per endpoint, the janitor.

Everything is made at first use and never before a fork. A process that finds itself forked starts
with nothing: the parent's lines, threads and database engines are not its own.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from workers.janitor import Janitor
from workers.ledger import Ledger
from workers.session import Session
from workers.settings import Route, Settings
from workers.settings.unbuilt import check_built
from workers.stores.opening import open_store
from workers.stores.source import SourceFolder
from workers.stores.store import Store


class Process:
    """The holder of all that has to be closed. One a process; `here` finds it.

    Raises ConfigurationError where the settings ask for what this version cannot do.
    """

    def __init__(self, settings: Settings) -> None:
        check_built(settings)
        self.settings = settings
        self._sessions: dict[str, Session] = {}
        self._stores: dict[str, Store] = {}
        self._ledger: Ledger | None = None
        self._janitor: Janitor | None = None
        self._guard = threading.RLock()

    @property
    def ledger(self) -> Ledger:
        """The ledger, opened (and migrated, if it is due) at first use."""
        with self._guard:
            if self._ledger is None:
                self._ledger = Ledger.open(self.settings.ledger, state_dir=self.settings.state_dir)
            return self._ledger

    @property
    def janitor(self) -> Janitor:
        """The thread that renews what this process holds."""
        with self._guard:
            if self._janitor is None:
                self._janitor = Janitor(self.ledger, self.settings.lease, self.sessions)
            return self._janitor

    def sessions(self) -> list[Session]:
        """All sessions made so far."""
        with self._guard:
            return list(self._sessions.values())

    def session(self, endpoint: str) -> Session:
        """The session for an endpoint; its line is built at the first operation. Raises UnknownName."""
        with self._guard:
            if endpoint not in self._sessions:
                self._sessions[endpoint] = Session(
                    self.settings.endpoint(endpoint),
                    self.ledger,
                    lease_s=self.settings.lease,
                    holding=self.janitor.wake,
                )
            return self._sessions[endpoint]

    def store(self, route: Route) -> Store:
        """Where a pull route's files land; the same one each time. Raises StoreRefused."""
        with self._guard:
            if route.name not in self._stores:
                self._stores[route.name] = open_store(route)
            return self._stores[route.name]

    def source(self, route: Route) -> SourceFolder:
        """Where a push route's files come from."""
        assert isinstance(route.local, Path), "the settings see to it"
        return SourceFolder(route.local, route=route.name)

    def close(self) -> None:
        """Close the lines, the janitor and the ledger; the opposite order of making."""
        with self._guard:
            janitor, sessions, ledger = self._janitor, self._sessions, self._ledger
            self._sessions, self._janitor, self._ledger = {}, None, None
        # Without the guard: the janitor may be about to ask for the sessions.
        if janitor is not None:
            janitor.close()
        for session in sessions.values():
            session.close()
        if ledger is not None:
            ledger.close()


_here: tuple[int, Process] | None = None


def here(settings: Settings) -> Process:
    """This process's holder. After a fork it is a new one, and the parent's is left alone."""
    global _here
    if _here is None or _here[0] != os.getpid() or _here[1].settings is not settings:
        _here = (os.getpid(), Process(settings))
    return _here[1]

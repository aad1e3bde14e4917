"""What tests of faults share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.nursery import Nursery
from tests.faults.scripted import ScriptedServer
from tests.faults.sessions import Make
from tests.servers.certificates import Certificates
from tests.servers.pushing import Pushing
from workers import batch
from workers.ledger import Ledger
from workers.session import Session
from workers.settings import Endpoint


@pytest.fixture(autouse=True)
def _groups_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many files are a group is not the machine's matter: none ends because its files took a while."""
    monkeypatch.setattr(batch, "GROUP_SECONDS", math.inf)


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Forks workers that may be killed."""
    with Nursery(tmp_path_factory.mktemp("nursery")) as one:
        yield one


@pytest.fixture
def scripted(certificates: Certificates) -> Iterator[ScriptedServer]:
    """A server without files, of which each reply can be told."""
    with ScriptedServer(certificates) as server:
        yield server


@pytest.fixture
def pushing(scripted: ScriptedServer, tmp_path: Path) -> Iterator[Callable[..., Pushing]]:
    """pushing(…) → a Pushing to the scripted server; all those of one test share a ledger and a folder."""
    with ExitStack() as opened:

        def open_one(**keys: Any) -> Pushing:
            one = Pushing(scripted, tmp_path / "towline", **keys)
            opened.callback(one.close)
            return one

        yield open_one


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3", state_dir=tmp_path)) as ledger:
        yield ledger


@pytest.fixture
def server(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates, files={b"/a.bin": b"a" * 200_000}) as server:
        yield server


@pytest.fixture
def session(server: ScriptedServer, ledger: Ledger) -> Iterator[Make]:
    """Makes sessions for the server; the waits between attempts are of a few milliseconds."""
    made: list[Session] = []

    def make(ledger: Ledger = ledger, **changes: Any) -> Session:
        facts: dict[str, Any] = {
            "name": "bank",
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "password": server.password,
            "ca_file": server.ca_file,
            "reconnect": {"attempts": 4, "within": 60.0, "first_wait": 0.001, "max_wait": 0.01},
        }
        made.append(Session(Endpoint.model_validate(facts | changes), ledger))
        return made[-1]

    yield make
    for one in made:
        one.close()

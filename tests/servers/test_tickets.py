"""TLS sessions that end within seconds, on a server that wants each data connection to resume one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.server import FtpServer, TlsVersion
from tests.waiting import wait_until
from workers.ftps.connection import Connection
from workers.ledger import Ledger
from workers.session import Reason, Session, Tally
from workers.settings import Endpoint

StartServer = Callable[..., FtpServer]

SESSION_S = 5


@pytest.fixture
def session(start_server: StartServer, version: TlsVersion, tmp_path: Path) -> Iterator[Session]:
    server = start_server("pyftpdlib", tls_version=version, session_s=SESSION_S, demands_resumption=True)
    (server.root / "a").write_bytes(b"a")
    facts = {"name": "bank", "host": server.host, "port": server.port, "ca_file": server.ca_file}
    endpoint = Endpoint.model_validate(facts | {"user": server.user, "password": server.password})
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3", state_dir=tmp_path)
    with closing(ledger), closing(Session(endpoint, ledger)) as session:
        yield session


def names(line: Connection) -> set[bytes]:
    with line.listing(b"/") as listing:
        return {entry.name for entry in listing}


@pytest.mark.long
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_line_is_rotated_before_its_session_ends(session: Session) -> None:
    """Its life is told by the server; every data connection resumes, and none is refused."""
    tally = Tally()
    assert session.run(names, name="list", tally=tally) == {b"a"}
    ends_at = session.run(lambda line: line.session_ends_at, name="look", tally=tally)
    assert ends_at is not None
    assert ends_at - time.monotonic() <= SESSION_S * 0.9
    wait_until(lambda: time.monotonic() >= ends_at)
    assert session.run(names, name="list", tally=tally) == {b"a"}
    told = session.take_counters()
    assert told.builds == {Reason.FIRST_USE: 1, Reason.ROTATION: 1}
    assert told.data_sessions == {"true": 2}


@pytest.mark.parametrize("version", [pytest.param("1.2", marks=pytest.mark.long), "1.3"])
def test_a_session_that_ends_sooner_than_it_said_costs_a_line_and_a_replay(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knew that it ends; the server refuses the data connection; the listing comes all the same."""
    monkeypatch.setattr(Connection, "session_ends_at", None)
    tally = Tally()
    assert session.run(names, name="list", tally=tally) == {b"a"}
    session.take_counters()
    began = time.monotonic()
    wait_until(lambda: time.monotonic() >= began + SESSION_S + 2)
    began = time.monotonic()
    assert session.run(names, name="list", tally=tally) == {b"a"}
    took = time.monotonic() - began
    told = session.take_counters()
    assert list(told.builds) == [Reason.SERVER_CLOSED]
    # The new line's session has ended as well where a slow machine took longer than that for the listing.
    assert 1 <= told.builds.total() <= 1 + took // SESSION_S
    assert told.data_sessions["true"] >= 1
    assert "522" in str(session.counters.last_error)

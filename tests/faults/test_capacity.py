"""A full server is not a wrong password: the fleet keeps to the lines there are, and asks again later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults import acts
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from workers import errors, permit
from workers.ftps.connection import Connection
from workers.ledger import Ledger
from workers.session import Session, Tally
from workers.settings import Endpoint

Make = Callable[..., Session]


@pytest.fixture
def server(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates) as server:
        yield server


@pytest.fixture
def session(server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes sessions, each of an owner of its own; they wait a fifth of a second for a line."""
    monkeypatch.setattr(permit, "PATIENCE_S", 0.2)
    with ExitStack() as opened:

        def make(**changes: Any) -> Session:
            ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3", state_dir=tmp_path)
            opened.callback(ledger.close)
            facts: dict[str, Any] = {
                "name": "bank",
                "host": server.host,
                "port": server.port,
                "user": server.user,
                "password": server.password,
                "ca_file": server.ca_file,
                "reconnect": {"attempts": 3, "within": 60.0, "first_wait": 0.001, "max_wait": 0.01},
            }
            one = Session(Endpoint.model_validate(facts | changes), ledger)
            opened.callback(one.close)
            return one

        yield make


def use(session: Session) -> None:
    session.run(Connection.noop, name="noop", tally=Tally())


FULL = [
    ("CONNECT", acts.farewell("421 There are too many connections from your internet address.")),
    ("CONNECT", acts.in_turn(acts.answer("530 Sorry, too many users are connected."), acts.close)),
    (
        "PASS",
        acts.answer("530 Sorry, the maximum number of clients (1) are already connected."),
    ),
    ("USER", acts.farewell("421 2 users (the maximum) are already logged in, sorry")),
]


@pytest.mark.parametrize("most", [None, 4])
@pytest.mark.parametrize(("verb", "says"), FULL)
def test_a_full_server_is_asked_for_no_line_more(
    server: ScriptedServer, session: Make, verb: str, says: acts.Act, most: int | None
) -> None:
    """One is refused, and ends as busy like all after it, with no other connect; no account is in danger."""
    first, second, third = (session(max_sessions=most) for _ in range(3))
    with first.reserved():
        use(first)
        server.when(verb, says)
        for one in (second, third, second):
            with pytest.raises(errors.EndpointBusy) as told:
                use(one)
            assert told.value.args[:2] == ("bank", 1)
        assert server.connections == 2, "the line that is held, and the one that was refused"
        assert second.counters.failures == {"Capacity": 1}
        server.forget(verb)
    use(second)
    assert server.connections == 3


def test_after_a_while_the_next_one_asks_again(
    server: ScriptedServer, session: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be room again: the limit is what the server says, not what it once said."""
    monkeypatch.setattr(permit, "FULL_S", 0.0)
    first, second = session(), session()
    use(first)
    server.when("PASS", FULL[2][1], times=2)
    use(second)
    assert server.connections == 4, "twice refused, then let in beside the first"
    assert server.count("PASS") == 4


def test_a_server_full_of_others_lines_is_asked_by_one_process_only(
    server: ScriptedServer, session: Make
) -> None:
    """And that one says so, with its counts; a full server trips no breaker, since it is not down."""
    server.when("PASS", FULL[2][1])
    first, second = session(), session()
    with first.reserved():
        with pytest.raises(errors.ReconnectFailed) as full:
            use(first)
        endpoint, attempts, in_a_row, _, _, last = full.value.args
        assert (endpoint, attempts, in_a_row) == ("bank", 3, 3)
        assert last.startswith("Capacity: 530 Sorry, the maximum number of clients")
        with pytest.raises(errors.ReconnectFailed) as again:
            second.run(Connection.noop, name="noop", tally=Tally(heeds_breaker=True))
        assert again.value.args[1] == 3, "tried, since nobody holds the one permit that there is"

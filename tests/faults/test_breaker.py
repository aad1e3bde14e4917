"""An endpoint that is down, seen by several processes: who knocks, how often, and what each of them tells."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity.nap

from tests.faults import acts
from tests.faults.breaker_process import ATTEMPTS
from tests.faults.scripted import ScriptedServer
from tests.faults.sessions import Make, names
from tests.servers.certificates import Certificates
from tests.waiting import wait_until
from workers.errors import ReconnectFailed
from workers.ftps.connection import Connection
from workers.ledger import Ledger
from workers.session import Session, Tally
from workers.settings import Endpoint


def tasks(server: ScriptedServer, folder: Path, *kinds: str) -> list[Any]:
    """What each task told, all of them at once, each in a process of its own."""
    command = [sys.executable, "-m", "tests.faults.breaker_process"]
    facts = [str(folder), str(server.port), str(server.ca_file)]
    running = [
        subprocess.Popen([*command, *facts, kind], stdout=subprocess.PIPE, text=True) for kind in kinds
    ]
    return [json.loads(process.communicate(timeout=60)[0]) for process in running]


@pytest.mark.long
def test_what_one_process_found_spares_the_others_the_knocking(
    certificates: Certificates, tmp_path: Path
) -> None:
    """Three fetches knock not once, and tell the counts of all; polls knock, and close it for everybody."""
    with ScriptedServer(certificates, {"CONNECT": acts.close}) as server:
        [poll] = tasks(server, tmp_path, "poll")
        assert poll[1:3] == [ATTEMPTS, ATTEMPTS]
        assert server.connections == ATTEMPTS

        for endpoint, attempts, in_a_row, reconnects, _, last_error in tasks(
            server, tmp_path, *["fetch"] * 3
        ):
            assert (endpoint, attempts, in_a_row, reconnects) == ("bank", 0, ATTEMPTS, 0)
            assert last_error.startswith("ConnectFailed: ")
        assert server.connections == ATTEMPTS, "nobody knocked"

        polls = tasks(server, tmp_path, "poll", "poll")
        assert [told[1] for told in polls] == [ATTEMPTS] * 2
        assert max(told[2] for told in polls) == 3 * ATTEMPTS == server.connections, "counted by all together"
        [fetch] = tasks(server, tmp_path, "fetch")
        assert fetch[1:3] == [0, 3 * ATTEMPTS]

        server.forget("CONNECT")
        assert tasks(server, tmp_path, "poll") == [None], "the probe has built a line"
        assert tasks(server, tmp_path, "fetch", "fetch") == [None, None]


def test_waits_between_attempts_are_drawn_by_lot(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a range that doubles up to `max_wait`: two who lost their lines together don't come together."""
    waits: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=waits.append))
    with ScriptedServer(certificates, {"CONNECT": acts.close}) as server:
        budget = {"attempts": 8, "within": 60.0, "first_wait": 0.5, "max_wait": 4.0}
        facts = {"name": "bank", "host": server.host, "port": server.port, "ca_file": server.ca_file}
        facts |= {"user": server.user, "password": server.password, "reconnect": budget}
        ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3", state_dir=tmp_path)
        session = Session(Endpoint.model_validate(facts), ledger)
        for _ in range(2):
            with pytest.raises(ReconnectFailed):
                session.run(Connection.noop, name="noop", tally=Tally())
        session.close()
        ledger.close()
    one, other = waits[:7], waits[7:]
    assert len(one) == len(other) == 7
    for number, pair in enumerate(zip(one, other, strict=True)):
        assert all(0 <= wait <= min(0.5 * 2**number, 4.0) for wait in pair)
    assert one != other
    assert max(waits) > 0.5


def test_an_endpoint_known_to_be_down_fails_a_fetch_at_once_and_a_poll_is_the_probe(
    certificates: Certificates, session: Make, ledger: Ledger
) -> None:
    """Attempts 0 and the true counts, for every process; a line that is built closes the breaker."""
    with ScriptedServer(certificates) as gone:
        gone.close()
        make = partial(session, port=gone.port, ca_file=gone.ca_file)
        with pytest.raises(ReconnectFailed) as poll:
            make().run(names, name="list", tally=Tally())
        assert (poll.value.args[1], poll.value.args[2]) == (4, 4)
        with pytest.raises(ReconnectFailed) as fetch:
            make().run(names, name="list", tally=Tally(heeds_breaker=True))
        endpoint, attempts, in_a_row, reconnects, _, last_error = fetch.value.args
        assert (endpoint, attempts, in_a_row, reconnects) == ("bank", 0, 4, 0)
        assert last_error.startswith("ConnectFailed: ")
        with pytest.raises(ReconnectFailed) as again:
            make().run(names, name="list", tally=Tally())
        assert (again.value.args[1], again.value.args[2]) == (4, 8), "a poll knocks all the same"
    assert ledger.endpoints.is_tripped("bank")
    session().run(names, name="list", tally=Tally())  # the server that is up, under the same name
    assert ledger.endpoints.is_tripped("bank") is None
    assert session().run(names, name="list", tally=Tally(heeds_breaker=True)) == {b"a.bin"}


def test_the_breaker_closes_by_itself(certificates: Certificates, session: Make, ledger: Ledger) -> None:
    """After `within`, the next fetch is the probe."""
    budget = {"attempts": 2, "first_wait": 0.001, "max_wait": 0.01}
    with ScriptedServer(certificates) as gone:
        gone.close()
        short, long = (
            session(port=gone.port, reconnect=budget | {"within": within}) for within in (0.05, 60.0)
        )
        with pytest.raises(ReconnectFailed):
            short.run(names, name="list", tally=Tally())
        wait_until(lambda: ledger.endpoints.is_tripped("bank") is None)
        with pytest.raises(ReconnectFailed) as probe:
            long.run(names, name="list", tally=Tally(heeds_breaker=True))
    assert probe.value.args[1] == 2

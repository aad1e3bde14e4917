"""Every command of the dialogue under every fault, by the table: one outcome each, inside its deadline.

Each case twice, on servers of their own: on a bare connection, and through a session. A seeded sample is for
every run; all of it is long.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults import acts
from tests.faults.push import Scene
from tests.faults.scripted import ScriptedServer
from tests.faults.table import AT_COMMANDS, DOWN, ON_DATA, REPLIES, UP, Case, cases
from tests.faults.uses import BEGUN, FILE, UPLOAD, USES, Use, witness
from tests.servers.certificates import Certificates
from tests.servers.ports import PortBlock
from tests.waiting import Stalls
from workers import errors
from workers.ftps import folder
from workers.ftps.connection import Connection
from workers.ftps.errors import LoginRefused, Missing, Refused, TlsRefused, TransferBroken, Transient
from workers.ftps.peer import Peer
from workers.ftps.states import State
from workers.ledger import Ledger
from workers.session import Session, Tally
from workers.settings import Endpoint

SHORT_S = 0.4
"""Deadlines where only they end the case."""
HELD_UP = 10.0
"""So much longer they are at a second try: a machine may hold a thread up for longer than the first ones."""
LONG_S = 60.0
LIMIT_S = 30.0
"""Of an operation that fails: several short deadlines, or the two seconds that are a constant of the line."""
CODES = {fault: int(fault[:3]) for fault in (*REPLIES, *DOWN) if fault[:3].isdigit()} | {"denied": 530}
SAMPLE = 42  # each of them twice
SEED = 1

CASES = cases()
SAMPLED = set(random.Random(SEED).sample(range(len(CASES)), SAMPLE))
PARAMETERS = [
    pytest.param(case, id=case.name, marks=() if number in SAMPLED else pytest.mark.long)
    for number, case in enumerate(CASES)
]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    state = tmp_path_factory.mktemp("state")
    with closing(Ledger.open(f"sqlite:///{state}/ledger.sqlite3", state_dir=state)) as ledger:
        yield ledger


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    block = PortBlock.take()
    yield block.first, block.last
    block.close()


@pytest.fixture(autouse=True)
def _short_listings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MOST_LISTED", 1 << 20)


def serve(use: Use, certificates: Certificates) -> ScriptedServer:
    server = ScriptedServer(certificates, files={b"/a.bin": FILE, b"/up": UPLOAD[:BEGUN]})
    server.times = {b"/a.bin": "20260102030405"}
    for verb, told in use.ordinary.items():
        server.ordinary[verb] = acts.answer(told) if isinstance(told, str | bytes) else told
    return server


def is_active(case: Case, use: Use) -> bool:
    return use.active or case.mode == "active"


def with_deadlines(case: Case, tried: Callable[[float], None]) -> None:
    """Try the case with its deadlines, in seconds.

    Where they are short, and the machine was seen to stand still for a good part of them, a failure says
    nothing: the case is tried once more with longer ones. A failure on a machine that ran counts at once.
    """
    if not case.waits:
        tried(LONG_S)
        return
    with Stalls() as stalls:
        try:
            tried(SHORT_S)
        except Exception:  # whatever it was: it is raised again where the machine is not to blame
            if stalls.lost_s < SHORT_S / 4:
                raise
        else:
            return
    tried(SHORT_S * HELD_UP)


def peer_of(server: ScriptedServer, case: Case, use: Use, ports: tuple[int, int], wait: float) -> Peer:
    return server.peer(
        connect_timeout=2.5 * wait if case.waits else LONG_S,
        reply_timeout=wait,
        probe_timeout=wait,
        idle_timeout=wait,
        active_ports=ports if is_active(case, use) else None,
        noop_every=0.0 if use.asides else None,
    )


def alone(case: Case) -> str:
    """What may come of it on a bare connection, which knows no other way to the same end."""
    if case.where in ("RETR?", "STOR?") and case.outcome == "p":
        return "p~"
    return "R" if case.outcome == "s" else case.outcome


def transfers(server: ScriptedServer) -> int:
    """How often a file was asked for or sent."""
    return sum(server.count(verb) for verb in ("RETR", "STOR", "APPE"))


def outcome_of(failure: Exception) -> str:
    """The table's letter for what an operation raised."""
    if isinstance(failure, TransferBroken) and failure.all_moved:
        return "p"
    letters = {Transient: "~", Missing: "M", FileNotFoundError: "M", Refused: "R", LoginRefused: "L"}
    for kind, letter in (letters | {TlsRefused: "T", errors.LoginRefused: "L"}).items():
        if isinstance(failure, kind):
            return letter
    if isinstance(failure, errors.CertificateRefused):
        return "T"
    if isinstance(failure, errors.StoreRefused):  # a push that was told 452
        return "R"
    raise failure


@pytest.mark.parametrize("case", PARAMETERS)
def test_on_a_connection(certificates: Certificates, ports: tuple[int, int], case: Case) -> None:
    """The one outcome; then the line is READY and in step, or DEAD and silent, and a new one does it."""
    with_deadlines(case, lambda wait: _on_a_connection(certificates, ports, case, wait))


def _on_a_connection(certificates: Certificates, ports: tuple[int, int], case: Case, wait: float) -> None:
    use = USES[case.where]
    with serve(use, certificates) as server:
        peer = peer_of(server, case, use, ports, wait)
        line, failure, told = None, None, False
        if not use.opening:
            line = Connection.open(peer)
        server.when(use.verb, case.act, times=1)
        began = time.monotonic()
        try:
            line = line or Connection.open(peer)
            told = use.do(line, server)
        except Exception as error:  # noqa: BLE001 outcome_of raises again what it doesn't know
            failure = error
        elapsed = time.monotonic() - began
        seen = "." if failure is None else outcome_of(failure)
        if seen == "." and line is not None and not _is_in_step(line) and case.where != "QUIT":
            seen = "+"
        if seen == "p" and case.where in ("MLSD", "LIST"):
            seen = "~"  # all moved, and nobody can tell
        assert seen in alone(case), f"{failure!r}"
        assert elapsed < LIMIT_S
        if seen == "." and case.fault not in CODES:
            assert told
        if isinstance(failure, Refused) and seen == "R":
            assert failure.code == CODES.get(case.fault, failure.code)
        if seen in "RM":
            assert line is not None
            assert _is_in_step(line)
        if line is not None:
            line.close()
            assert line.state is State.DEAD
        if seen in "+~p":
            _is_left_in_silence(server, line, failure)
            again = Connection.open(server.peer(active_ports=peer.active_ports, noop_every=peer.noop_every))
            if seen != "+":
                use.do(again, server)
            witness(again)
            again.close()
        assert server.connections == (2 if seen in "+~p" else 1)


@pytest.mark.parametrize("case", [one for one in PARAMETERS if one.values[0].where not in ("PWD", "QUIT")])  # type: ignore[union-attr]
def test_through_a_session(
    certificates: Certificates, ports: tuple[int, int], ledger: Ledger, tmp_path: Path, case: Case
) -> None:
    """A transient fault costs one line and is otherwise not seen; what is proven whole is not moved again.

    PWD and QUIT are not here: what becomes of them shows on the line alone, no operation ends in them.
    """
    with_deadlines(case, lambda wait: _through_a_session(certificates, ports, ledger, tmp_path, case, wait))


def _through_a_session(
    certificates: Certificates,
    ports: tuple[int, int],
    ledger: Ledger,
    folder: Path,
    case: Case,
    wait: float,
) -> None:
    use = USES[case.where]
    place = folder / f"{wait:g}"
    place.mkdir()
    with (
        serve(use, certificates) as server,
        closing(_session(server, case, use, ports, ledger, wait)) as session,
    ):
        tally = Tally()
        if not use.opening:
            session.run(lambda line: line.noop(), name="noop", tally=tally)
        server.when(use.verb, case.act, times=1)
        before = transfers(server)
        seen = "."
        try:
            if use.through is not None:
                use.through(Scene(session, ledger, tally, server, place))
            else:
                session.run(lambda line: use.do(line, server), name=case.where, tally=tally)
        except Exception as error:  # noqa: BLE001 outcome_of raises again what it doesn't know
            seen = outcome_of(error)
        if seen == "." and server.connections > 1:
            seen = "p" if use.through and transfers(server) == before + 1 else "~"
        if seen == "p" and case.outcome == "+":
            seen = "+"  # what is stale behind the last reply is found by the push's own next question
        if seen == "." and case.outcome == "s" and server.count("STOR") == 1:
            seen = "s"
        lines = server.connections
        if seen not in "LT":
            session.run(witness, name="witness", tally=tally)
            if seen == "." and server.connections > lines:
                seen = "+"
        assert seen == case.outcome
        assert server.connections == (2 if seen in "+~p" else 1)
        # What was stale behind the last reply of an opening is found by the first command after it.
        opened = not use.opening or (case.where == "OPTS" and case.fault in ("old226", "old200"))
        rebuilt = seen in "+~p" and opened
        assert tally.reconnects == (1 if rebuilt else 0)


def _is_in_step(line: Connection) -> bool:
    """Whether the next replies are those to the next commands; if not, the line is DEAD."""
    if line.state is State.READY:
        try:
            witness(line)
        except Transient:
            pass
        else:
            return True
    assert line.state is State.DEAD
    return False


def _is_left_in_silence(server: ScriptedServer, line: Connection | None, failure: Exception | None) -> None:
    """Nothing more is said on a line that died, not even QUIT."""
    if line is None or (line.dead is not None and failure is not None):
        assert "QUIT" not in server.talks[0].commands


def _session(
    server: ScriptedServer, case: Case, use: Use, ports: tuple[int, int], ledger: Ledger, wait: float
) -> Session:
    facts: dict[str, Any] = {
        "name": f"{case.name.replace('?', '-of-unknown-size')}-{wait:g}",
        "host": "localhost",
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "ca_file": server.ca_file,
        "connect_timeout": 2.5 * wait if case.waits else LONG_S,
        "reply_timeout": wait,
        "idle_timeout": wait,
        **({"data_mode": "active", "active_ports": ports} if is_active(case, use) else {}),
        "resume_uploads": case.where == "APPE",
        "reconnect": {"attempts": 4, "within": 60.0, "first_wait": 0.001, "max_wait": 0.01},
    }
    return Session(Endpoint.model_validate(facts), ledger)


def test_the_table_is_whole() -> None:
    """At least 700 distinct cases; every command, every fault and every outcome is in it, and is used."""
    assert len({case.name for case in CASES}) == len(CASES) >= 700
    rows = {line.split()[0] for grid in (AT_COMMANDS, ON_DATA) for line in grid.strip().splitlines()[1:]}
    assert rows == set(USES) == {case.where for case in CASES}
    assert {case.fault for case in CASES} == {*REPLIES, *DOWN, *UP}
    assert {case.outcome for case in CASES} == set(".+~pRsMLT")
    assert len({number for number in SAMPLED if CASES[number].mode}) >= SAMPLE // 8

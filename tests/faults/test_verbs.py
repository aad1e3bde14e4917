"""Every verb of the dialogue under every fault of the control line: one outcome each, inside its deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults import acts
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from workers.ftps.connection import Connection, Peer
from workers.ftps.errors import Refused, Transient
from workers.ftps.states import State
from workers.ftps.tls import Trust

CONTENT = bytes(range(256)) * 300
REPLY_S = 0.6
LIMIT_S = 4.0  # of any case, the handshakes and two deadlines included


def listing(line: Connection) -> None:
    with line.listing(b"/") as found:
        assert {entry.name for entry in found} == {b"a.bin"}


def retrieving(line: Connection) -> None:
    got = bytearray()
    line.retrieve(b"/a.bin", got.extend, size=len(CONTENT))
    assert bytes(got) == CONTENT


# What uses each command of a line that is READY.
USES: dict[str, Callable[[Connection], object]] = {
    "NOOP": lambda line: line.noop(),
    "EPSV": retrieving,
    "MLSD": listing,
    "RETR": retrieving,
    "SIZE": lambda line: line.stat([b"/a.bin"]),
    "MDTM": lambda line: line.stat([b"/a.bin"]),
    "STOR": lambda line: line.store(b"/b.bin", [CONTENT], size=len(CONTENT)),
    "RNFR": lambda line: line.rename(b"/a.bin", b"/b.bin"),
    "RNTO": lambda line: line.rename(b"/a.bin", b"/b.bin"),
    "DELE": lambda line: line.delete(b"/a.bin"),
    "MKD": lambda line: line.mkdir(b"/folder"),
}

# Faults after which no command can trust the line: always transient, the line DEAD.
DEADLY: dict[str, acts.Act] = {
    "421 and FIN": acts.farewell("421 Too busy."),
    "FIN": acts.close,
    "RST": acts.reset_line,
    "silence": acts.silence,
    "garbage": acts.garbage,
    "clear text in TLS": acts.clear_in_tls(),
    "a line without end": acts.endless_line,
    "a reply without end": acts.endless_reply,
}


@pytest.fixture
def server(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates, files={b"/a.bin": CONTENT}) as server:
        yield server


def peer_of(server: ScriptedServer) -> Peer:
    return Peer(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        trust=Trust(ca_file=str(server.ca_file)),
        connect_timeout=1.0,
        reply_timeout=REPLY_S,
        probe_timeout=REPLY_S,
        idle_timeout=REPLY_S,
    )


@pytest.mark.parametrize("fault", DEADLY)
@pytest.mark.parametrize("verb", USES)
def test_fault_at_a_command_is_transient_and_a_new_line_works(
    server: ScriptedServer, verb: str, fault: str
) -> None:
    """The line is given up in time, and the same operation goes through on the next."""
    line = Connection.open(peer_of(server))
    server.when(verb, DEADLY[fault], times=1)
    began = time.monotonic()
    with pytest.raises(Transient):
        USES[verb](line)
    assert time.monotonic() - began < LIMIT_S
    assert line.state is State.DEAD
    line.close()
    again = Connection.open(peer_of(server))
    USES[verb](again)
    assert again.state is State.READY
    again.close()


OPENING = [
    (verb, fault)
    for verb in ("CONNECT", "AUTH", "USER", "PASS", "PBSZ", "PROT", "FEAT", "TYPE")
    for fault in DEADLY
    if (verb, fault) != ("AUTH", "clear text in TLS")  # before TLS it is an ordinary refusal, and final
]


@pytest.mark.parametrize(("verb", "fault"), OPENING)
def test_fault_while_opening_is_transient_and_the_next_one_opens(
    server: ScriptedServer, verb: str, fault: str
) -> None:
    """No line comes of it, in time; the next attempt is another."""
    server.when(verb, DEADLY[fault], times=1)
    began = time.monotonic()
    with pytest.raises(Transient):
        Connection.open(peer_of(server))
    assert time.monotonic() - began < LIMIT_S
    line = Connection.open(peer_of(server))
    line.noop()
    line.close()


@pytest.mark.parametrize("code", [450, 500, 502, 550, 552])
@pytest.mark.parametrize("verb", ["MLSD", "RETR", "STOR", "RNFR", "RNTO", "DELE", "MKD"])
def test_refusal_leaves_the_line_ready(server: ScriptedServer, verb: str, code: int) -> None:
    """A final 4xx or 5xx is about this command: it says which, and the next one works."""
    line = Connection.open(peer_of(server))
    server.when(verb, acts.answer(f"{code} Not this one."), times=1)
    if verb == "MLSD" and code in (500, 502):
        listing(line)  # an unknown MLSD is asked again as LIST
    else:
        with pytest.raises(Refused) as refused:
            USES[verb](line)
        assert (refused.value.verb, refused.value.code) == (verb, code)
    assert line.state is State.READY
    line.noop()
    line.close()


@pytest.mark.parametrize("extra", ["226 Of long ago.", "200 Just what a NOOP would like."])
@pytest.mark.parametrize("verb", USES)
def test_one_reply_too_many_is_never_taken_for_anothers(
    server: ScriptedServer, verb: str, extra: str
) -> None:
    """A stale reply behind the right one: the operation may go through, the line is not used again."""
    line = Connection.open(peer_of(server))
    server.when(verb, acts.stale(extra), times=1)
    try:
        USES[verb](line)
        time.sleep(0.05)  # the stale reply is on its way, and no event tells of it
        with pytest.raises(Transient):
            line.noop()
    except Transient:
        pass
    assert line.state is State.DEAD
    line.close()


@pytest.mark.parametrize("verb", USES)
def test_reply_in_pieces_is_a_reply(server: ScriptedServer, verb: str) -> None:
    """One byte a packet changes nothing."""
    line = Connection.open(peer_of(server))
    server.when(verb, acts.in_pieces)
    USES[verb](line)
    assert line.state is State.READY
    line.close()

"""The next transfer's port, asked for behind the command of this one: who bears it, and who doesn't."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.acts import Act, close, in_turn, ordinary, reset_line, silence, transfer
from tests.faults.dialogue import Talk
from tests.faults.scripted import ScriptedServer
from workers.ftps.connection import Connection
from workers.ftps.errors import Missing, TransferBroken, Transient
from workers.ftps.states import State
from workers.ftps.transfer import SMALL

Script = Callable[..., ScriptedServer]
Connect = Callable[..., Connection]

FILE = b"ten bytes!" * 3000
NAMES = (b"/a", b"/b", b"/c")


@pytest.fixture
def server(script: Script) -> ScriptedServer:
    """With three files."""
    return script(files=dict.fromkeys(NAMES, FILE))


def fetch(line: Connection, path: bytes, *, followed: bool = True, size: int | None = len(FILE)) -> bytes:
    got = bytearray()
    line.retrieve(path, got.extend, size=size, followed=followed)
    return bytes(got)


def asked(server: ScriptedServer) -> list[str]:
    """The commands of transfers, in their order."""
    return [one for one in server.commands if one.partition(" ")[0] in ("EPSV", "PASV", "RETR", "STOR")]


def reading_on(reply: str | None, *, moved: float = 1.0) -> Act:
    """RETR of a server that comes upon the EPSV while the transfer is under way, and says `reply` of it.

    moved: the share of the file that goes over before the channel is dropped. None: another port.
    """

    def retr(talk: Talk, argument: bytes) -> None:
        data = talk.secured_data()
        talk.reply("150 Here it comes.")
        port = talk.listen()
        talk.reply(reply or f"229 Entering Extended Passive Mode (|||{port}|)")
        content = talk.server.files[argument]
        data.sendall(content[: int(len(content) * moved)])
        data.unwrap()
        talk.reply("226 Done." if moved == 1 else "426 No data channel any more.")
        talk.server.when("EPSV", lambda *_: None, times=1)  # it is answered already

    return retr


def test_the_port_is_asked_for_behind_the_command(server: ScriptedServer, connect: Connect) -> None:
    """One EPSV for each transfer, all but the first a transfer ahead; none behind the last."""
    line = connect(server)
    assert line.features.ports_ahead is None
    for path in NAMES:
        assert fetch(line, path, followed=path != NAMES[-1]) == FILE
    assert asked(server) == ["EPSV", "RETR /a", "EPSV", "RETR /b", "EPSV", "RETR /c"]
    assert line.features.ports_ahead
    assert (line.state, line.data_resumed) == (State.READY, 3)
    assert [entry.name for entry in line.listing(b"/")] == [b"a", b"b", b"c"]


def test_uploads_ask_ahead_too(server: ScriptedServer, connect: Connect) -> None:
    """The reply that settles the file is the one before the port's."""
    line = connect(server)
    for path in (b"/x", b"/y"):
        assert line.store(path, [FILE], size=len(FILE), followed=path == b"/x") == len(FILE)
    assert asked(server) == ["EPSV", "STOR /x", "EPSV", "STOR /y"]
    assert server.files[b"/x"] == server.files[b"/y"] == FILE


def test_a_large_file_asks_for_nothing(script: Script, connect: Connect) -> None:
    """Nor one whose size is not known: its end could be the new port's doing."""
    server = script(files={b"/large": bytes(SMALL + 1), b"/a": FILE})
    line = connect(server)
    fetch(line, b"/large", size=SMALL + 1)
    fetch(line, b"/a", size=None)
    assert asked(server) == ["EPSV", "RETR /large", "EPSV", "RETR /a"]
    assert line.features.ports_ahead is None


def test_in_active_mode_there_is_nothing_to_ask(server: ScriptedServer, connect: Connect) -> None:
    """The port is ours then."""
    line = connect(server, active_ports=(20000, 30000))
    assert fetch(line, b"/a") == FILE
    assert asked(server) == ["RETR /a"]


def test_a_port_told_long_ago_is_not_gone_to(
    server: ScriptedServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two transfers a batch may be published, and servers give up what nobody comes to."""
    line = connect(server)
    fetch(line, b"/a")
    monkeypatch.setattr("workers.ftps.transfer._PORT_KEPT_S", -1.0)
    assert fetch(line, b"/b", followed=False) == FILE
    assert asked(server) == ["EPSV", "RETR /a", "EPSV", "EPSV", "RETR /b"]


@pytest.mark.parametrize("reply", ["450 Data transfer in progress.", None, "226 Done.", "229 Where?"])
def test_a_server_that_reads_on_is_not_believed(
    server: ScriptedServer, connect: Connect, reply: str | None
) -> None:
    """What comes where the file's reply is due is not the file's. It is fetched again, and never asked so."""
    server.when("RETR", reading_on(reply), times=1)
    first = connect(server)
    with pytest.raises(Transient):
        fetch(first, b"/a")
    assert first.features.ports_ahead is False
    again = Connection.open(server.peer(), known=first.features)
    server.commands.clear()
    for path in NAMES:
        assert fetch(again, path) == FILE
    again.close()
    assert asked(server) == ["EPSV", "RETR /a", "EPSV", "RETR /b", "EPSV", "RETR /c"]


def test_a_server_that_drops_the_data_is_not_asked_again(server: ScriptedServer, connect: Connect) -> None:
    """Though its replies are in order: the bytes are not all there."""
    line = connect(server)
    assert fetch(line, b"/a") == FILE
    assert line.features.ports_ahead
    server.when("RETR", transfer(share=0.5, final="426 Dropped."), times=1)
    with pytest.raises(TransferBroken, match="426"):
        fetch(line, b"/b")
    assert line.features.ports_ahead is False


def test_a_line_that_ends_at_the_question_is_a_reason_not_to_ask(
    server: ScriptedServer, connect: Connect
) -> None:
    """Until a server has shown that it bears it, each end may have been for that."""
    line = connect(server)
    server.when("RETR", in_turn(transfer(share=0.5, final=None), reset_line), times=1)
    with pytest.raises(TransferBroken):
        fetch(line, b"/a")
    assert line.features.ports_ahead is False


def test_a_line_lost_after_the_reply_takes_nothing_from_the_file(
    server: ScriptedServer, connect: Connect
) -> None:
    """226, and then the end: the file is whole, the line dead."""
    line = connect(server)
    server.when("EPSV", close, times=1, skip=1)
    assert fetch(line, b"/a") == FILE
    assert line.state is State.DEAD


def test_a_server_that_stops_answering_is_not_asked_again(server: ScriptedServer, connect: Connect) -> None:
    """The file is whole; the next line waits for no port that never comes."""
    line = connect(server, reply_timeout=3.0)
    assert fetch(line, b"/a") == FILE
    assert line.features.ports_ahead
    server.when("EPSV", silence, times=1)
    assert fetch(line, b"/b") == FILE
    assert line.state is State.DEAD
    assert line.features.ports_ahead is False


def test_a_server_that_confuses_replies_is_not_believed_at_the_end(
    server: ScriptedServer, connect: Connect
) -> None:
    """226 twice: neither says which command it answers."""
    line = connect(server)
    server.when("EPSV", lambda talk, _: talk.reply("226 Again."), times=1, skip=1)
    with pytest.raises(TransferBroken, match="226"):
        fetch(line, b"/a")
    assert line.features.ports_ahead is False
    assert line.state is State.DEAD


def test_a_port_that_is_refused_is_asked_for_again(server: ScriptedServer, connect: Connect) -> None:
    """No port was to be had just then; the file before it is whole, the one behind it comes."""
    line = connect(server)
    server.when("EPSV", lambda talk, _: talk.reply("425 None free."), times=1, skip=1)
    for path in NAMES[:2]:
        assert fetch(line, path, followed=path == b"/a") == FILE
    assert asked(server) == ["EPSV", "RETR /a", "EPSV", "EPSV", "RETR /b"]


def test_a_missing_file_keeps_the_line_and_the_port(server: ScriptedServer, connect: Connect) -> None:
    """And tells nothing of whether a transfer would have borne the question."""
    line = connect(server)
    with pytest.raises(Missing):
        fetch(line, b"/none")
    assert line.features.ports_ahead is None
    assert fetch(line, b"/a", followed=False) == FILE
    assert [one for one in asked(server) if one != "RETR /none"] == ["EPSV", "EPSV", "RETR /a"]


def test_a_refusal_that_the_line_dies_of_is_not_believed(server: ScriptedServer, connect: Connect) -> None:
    """550, and then nothing: it may have been the EPSV's. The file is asked for once more."""
    line = connect(server)
    server.when("RETR", in_turn(ordinary, reset_line), times=1)
    del server.files[b"/a"]
    with pytest.raises(TransferBroken, match="550"):
        fetch(line, b"/a")


def test_a_refused_data_channel_explains_itself(server: ScriptedServer, connect: Connect) -> None:
    """The reason comes before the port, which is taken off the line all the same."""
    line = connect(server)

    def retr(talk: Talk, _: bytes) -> None:
        talk.accept().close()
        talk.reply("522 SSL connection failed: session reuse required")

    server.when("RETR", retr, times=1)
    with pytest.raises(Exception, match="522"):
        fetch(line, b"/a")
    assert line.state is State.READY
    assert fetch(line, b"/a") == FILE

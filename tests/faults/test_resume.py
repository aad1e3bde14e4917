"""A resumed download is of the same version: size, time and unique fact asked again, 64 KiB compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults import acts
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.fetching import Fetching
from tests.servers.server import FtpServer
from workers.ftps.connection import Connection, Peer
from workers.ftps.tls import Trust
from workers.ledger import Ledger
from workers.receiving import Changed, Wanted, receive
from workers.session import Session, Tally
from workers.settings import Endpoint
from workers.stores.local import LocalFolder

StartServer = Callable[..., FtpServer]
Go = Callable[..., bytes]

SIZE, HELD = 400_000, 200_000
COMPARED = 64 * 1024
MODIFIED = 1_767_323_045.0


@pytest.fixture
def server(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates, files={b"/a.bin": os.urandom(SIZE)}) as server:
        server.times = {b"/a.bin": "20260102030405"}
        yield server


@pytest.fixture
def go_on(server: ScriptedServer, tmp_path: Path) -> Iterator[Go]:
    """go_on(held, …) → the file that comes of a temp with these bytes; …: what else is wanted."""
    facts = {"name": "bank", "host": server.host, "port": server.port, "ca_file": server.ca_file}
    endpoint = Endpoint.model_validate(facts | {"user": server.user, "password": server.password})
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3", state_dir=tmp_path)
    with closing(ledger), closing(Session(endpoint, ledger)) as session:

        def go(held: bytes, *, modified: float = MODIFIED, unique: bytes | None = None) -> bytes:
            wanted = Wanted(b"/a.bin", SIZE, modified, 1.0, unique)
            with closing(LocalFolder(tmp_path).open_temp(b"a.bin", ".towline-temp", resume=False)) as temp:
                temp.write(memoryview(held))
                receive(session, wanted, temp, tally=Tally(), go_on=lambda: None)
            return (tmp_path / ".towline-temp").read_bytes()

        yield go


def offsets(server: ScriptedServer) -> list[str]:
    return [command for command in server.commands if command.startswith(("REST", "RETR"))]


def test_the_last_64_kib_are_asked_for_again(server: ScriptedServer, go_on: Go) -> None:
    """And no more of what is there."""
    content = server.files[b"/a.bin"]
    assert go_on(content[:HELD]) == content
    assert offsets(server) == [f"REST {HELD - COMPARED}", "RETR /a.bin"]


@pytest.mark.parametrize("place", [0, COMPARED - 1])
def test_one_byte_that_differs_in_them_is_another_file(server: ScriptedServer, go_on: Go, place: int) -> None:
    """Size and time are the same: the first and the last byte of those compared both count."""
    content = server.files[b"/a.bin"]
    held = bytearray(content[:HELD])
    held[HELD - COMPARED + place] ^= 1
    assert go_on(bytes(held)) == content
    assert offsets(server)[2:] == ["RETR /a.bin"], "all of it, and on a new line"


def test_the_time_is_asked_before_a_byte_moves(server: ScriptedServer, go_on: Go) -> None:
    """Same size, other time: changed, told without a transfer whose result nobody would publish."""
    with pytest.raises(Changed):
        go_on(server.files[b"/a.bin"][:HELD], modified=MODIFIED - 60)
    assert offsets(server) == []


@pytest.mark.parametrize(
    ("told", "begins"),
    [(b"9x7", f"REST {HELD - COMPARED}"), (b"9x8", "RETR /a.bin"), (None, f"REST {HELD - COMPARED}")],
    ids=["same", "other", "untold"],
)
def test_another_unique_fact_is_not_gone_on_with(
    server: ScriptedServer, go_on: Go, told: bytes | None, begins: str
) -> None:
    """Where the server tells one (MLST); who doesn't know the command is as good as before."""
    if told is not None:
        line = b" type=file;size=%d;unique=%s; /a.bin" % (SIZE, told)
        server.when("MLST", acts.answer(b"250-Here:\r\n" + line + b"\r\n250 End"))
    content = server.files[b"/a.bin"]
    assert go_on(content[:HELD], unique=b"9x7") == content
    assert offsets(server)[0] == begins


@pytest.mark.parametrize("name", ["proftpd", "pure-ftpd", "pyftpdlib"])
def test_real_servers_tell_the_same_unique_fact_by_both_commands(
    start_server: StartServer, name: str
) -> None:
    """MLST's is MLSD's, in the reply of each; and none where there is no such file."""
    server = start_server(name)
    (server.root / "a b;c=d").write_bytes(b"1")
    peer = Peer(
        server.host, server.port, server.user, server.password, trust=Trust(ca_file=str(server.ca_file))
    )
    with closing(Connection.open(peer)) as line:
        with line.listing(b"/") as listing:
            [entry] = listing
        assert entry.unique
        assert line.unique(b"/a b;c=d") == entry.unique
        assert line.unique(b"/nothing") is None
        line.noop()


def test_a_file_put_in_its_place_with_the_same_size_time_and_end(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Only the unique fact tells: the two are alike for as far as is compared, and differ before that."""
    server = start_server("pyftpdlib")
    old, new = (os.urandom(500_000) + bytes(3_500_000) for _ in range(2))
    _put(server, old)
    with closing(Fetching(server, tmp_path / "towline")) as one:
        one.poll()

        def stop(_: int) -> bool:
            if sum(map(len, one.files().values())) > 1_000_000:
                one.stop.begin(0.0)
            return True

        one.fetch(holds=stop)
        one.stop.clear()
        [partial] = one.files().values()
        assert 1_000_000 < len(partial) < len(old)
        _put(server, new)
        assert one.fetch().published == 1
        assert one.files() == {"a": new}


def _put(server: FtpServer, content: bytes) -> None:
    fresh = server.root.parent / "fresh"
    fresh.write_bytes(content)
    os.utime(fresh, (MODIFIED, MODIFIED))
    fresh.replace(server.root / "a")

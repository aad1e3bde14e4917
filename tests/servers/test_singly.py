"""One file in the foreground, either way: gone on with where a call failed, and never two versions in one."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.acts import answer, in_turn, receive, reset_line
from tests.faults.proxy import CuttingProxy
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.fetching import Fetching
from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer
from tests.waiting import wait_until
from workers import singly
from workers.depositing import give_names
from workers.errors import ReconnectFailed
from workers.ftps.errors import Missing, Refused
from workers.receiving import Changed, Receipt
from workers.singly import Progress, download, upload
from workers.stores.local import LocalFolder
from workers.stores.source import SourceFolder
from workers.storing import SourceChanged

StartServer = Callable[..., FtpServer]
Open = Callable[..., Fetching]
SAMPLE = ["vsftpd", *(pytest.param(name, marks=pytest.mark.long) for name in NAMES if name != "vsftpd")]
LONG_AGO = 1_600_000_000


class Interrupted(BaseException):
    """As Ctrl-C is."""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """opened(server, …) → a session to it, in a Fetching."""
    with ExitStack() as stack:

        def open_one(server: Any, **keys: Any) -> Fetching:
            one = Fetching(server, tmp_path / f"towline-{len(os.listdir(tmp_path))}", **keys)  # noqa: PTH208
            stack.callback(one.close)
            return one

        yield open_one


def put(server: FtpServer, name: str, content: bytes, modified: float = LONG_AGO) -> None:
    path = server.root / name
    path.write_bytes(content)
    os.utime(path, (modified, modified))


def fetch(one: Fetching, name: bytes, folder: Path, progress: Progress) -> Receipt | None:
    return download(one.session, name, LocalFolder(folder), b"copy", tally=one.tally, progress=progress)


def send(one: Fetching, folder: Path, progress: Progress, **options: Any) -> Receipt | None:
    source = SourceFolder(folder)
    return upload(
        one.session, source, b"a", b"/", b"a", made=set(), tally=one.tally, progress=progress, **options
    )


def test_a_download_goes_on_where_it_stopped(start_server: StartServer, opened: Open, tmp_path: Path) -> None:
    """Interrupted, nothing bears the final name; the next call begins with what is held, and lands whole."""
    server = start_server("pyftpdlib")
    content = os.urandom(3_000_000)
    put(server, "a", content)
    one, target = opened(server), tmp_path / "target"
    target.mkdir()
    told: list[int] = []

    def interrupt(held: int, size: int | None) -> None:
        assert size == 3_000_000
        told.append(held)
        if held > 1_000_000:
            raise Interrupted

    with pytest.raises(Interrupted):
        fetch(one, b"/a", target, interrupt)
    assert not (target / "copy").exists()
    held = told[-1]
    told.clear()
    receipt = fetch(one, b"/a", target, lambda at, _: told.append(at))
    assert told[0] == held
    assert (target / "copy").read_bytes() == content
    assert receipt is not None
    assert receipt.sha256 == hashlib.sha256(content).hexdigest()
    assert os.listdir(target) == ["copy"]  # noqa: PTH208
    with pytest.raises(Missing):
        fetch(one, b"/nothing", target, lambda *_: None)


@pytest.mark.parametrize("cut", [False, True], ids=["to its end", "with a line lost in between"])
def test_a_download_of_a_file_that_changes_leaves_the_old_copy(
    start_server: StartServer, opened: Open, tmp_path: Path, cut: bool
) -> None:
    """Half of each version would be neither; what lay under the target's name stays, and no temp is left."""
    server = start_server("pyftpdlib")
    put(server, "a", os.urandom(4_000_000))
    target = tmp_path / "target"
    target.mkdir()
    (target / "copy").write_bytes(b"yesterday's")
    with CuttingProxy.before(server) as proxy:
        one = opened(server, host=proxy.address)
        if cut:
            proxy.data.fault_next("reset", after=1_000_000)

        def replaced(held: int, _: int | None) -> None:
            if held:
                put(server, "a", b"new" * 10, LONG_AGO + 60)

        with pytest.raises(Changed):
            fetch(one, b"/a", target, replaced)
    assert (target / "copy").read_bytes() == b"yesterday's"
    assert os.listdir(target) == ["copy"]  # noqa: PTH208


@pytest.mark.parametrize("name", SAMPLE)
def test_an_upload_goes_on_where_its_line_was_lost(
    start_server: StartServer, opened: Open, tmp_path: Path, name: str
) -> None:
    """All lines of a call are lost in mid-file; the next call sends the rest alone, by APPE, and renames it.

    While it is under way its own name is not there, and what lies there from yesterday is whole.
    """
    server = start_server(name)
    (server.root / "a").write_bytes(b"yesterday's")
    (server.root / "a").chmod(0o666)
    server.root.chmod(0o777)
    content = os.urandom(6_000_000)
    (tmp_path / "a").write_bytes(content)
    os.utime(tmp_path / "a", (LONG_AGO, LONG_AGO))

    def temps() -> list[Path]:
        return list(server.root.glob(".towline-put-*"))

    with CuttingProxy.before(server) as proxy:
        one = opened(server, host=proxy.address)

        def lost(sent: int, _: int | None) -> None:
            if sent > 3_000_000:
                # Else a server that is held up has nothing yet, or goes on writing while the next call asks.
                wait_until(lambda: [path for path in temps() if path.stat().st_size >= sent])
                raise Interrupted

        with pytest.raises(Interrupted):
            send(one, tmp_path, lost)
        one.session.close()
        assert (server.root / "a").read_bytes() == b"yesterday's"
        proxy.data.fault_next("reset", after=1_000_000, counting="up")
        told: list[int] = []
        receipt = send(one, tmp_path, lambda sent, _: told.append(sent))
    assert 0 < told[0] <= 3_262_144 + 1, "it goes on from what the server has"
    assert receipt is not None
    assert (receipt.bytes, receipt.sha256) == (6_000_000, hashlib.sha256(content).hexdigest())
    assert (server.root / "a").read_bytes() == content
    assert (server.root / "a").stat().st_mtime == LONG_AGO
    assert os.listdir(server.root) == ["a"]  # noqa: PTH208
    assert one.tally.reconnects >= 1


def test_an_upload_to_a_server_that_goes_away_says_so_and_is_kept(
    start_server: StartServer, opened: Open, tmp_path: Path
) -> None:
    """ReconnectFailed; what was sent lies there under a temporary name, for the next call."""
    server = start_server("pyftpdlib")
    (tmp_path / "a").write_bytes(os.urandom(4_000_000))
    one = opened(server)

    def away(sent: int, _: int | None) -> None:
        if sent > 2_000_000:
            server.stop()

    with pytest.raises(ReconnectFailed):
        send(one, tmp_path, away)
    [left] = server.root.iterdir()
    assert left.name.startswith(".towline-put-")
    server.start()
    assert send(one, tmp_path, lambda *_: None) is not None
    assert [path.name for path in server.root.iterdir()] == ["a"]


def test_an_upload_of_a_file_that_changes_leaves_nothing(
    start_server: StartServer, opened: Open, tmp_path: Path
) -> None:
    """What is written to while it is sent gets no name there, and its temp is removed."""
    server = start_server("pyftpdlib")
    (tmp_path / "a").write_bytes(os.urandom(2_000_000))

    def written(sent: int, _: int | None) -> None:
        if sent:
            (tmp_path / "a").write_bytes(b"another")

    with pytest.raises(SourceChanged):
        send(opened(server), tmp_path, written)
    assert list(server.root.iterdir()) == []


def test_a_server_that_appends_nothing_gets_it_from_the_beginning(
    certificates: Certificates, opened: Open, tmp_path: Path
) -> None:
    """APPE refused is no reason to fail: STOR does it, and the file is whole."""
    (tmp_path / "a").write_bytes(content := os.urandom(600_000))
    with ScriptedServer(certificates, files={}) as server:
        broken = in_turn(receive(stop_after=200_000, end="reset", final=None), reset_line)
        server.when("STOR", broken, times=1)
        server.when("APPE", answer("502 Not here."))
        assert send(opened(server), tmp_path, lambda *_: None) is not None
        assert (server.count("STOR"), server.count("APPE")) == (2, 1)
        assert server.files == {b"/a": content}


def test_an_upload_keeps_what_is_there_where_that_is_asked_for(
    start_server: StartServer, opened: Open, tmp_path: Path
) -> None:
    """Also what comes there while it is sent: then its temp is removed."""
    server = start_server("pyftpdlib")
    (tmp_path / "a").write_bytes(b"ours")
    one = opened(server)

    def theirs(*_: object) -> None:
        (server.root / "a").write_bytes(b"theirs")

    assert send(one, tmp_path, theirs, keep=True) is None
    assert send(one, tmp_path, theirs, keep=True) is None
    assert {path.name: path.read_bytes() for path in server.root.iterdir()} == {"a": b"theirs"}
    assert len(server.stored()) == 1


def test_two_uploads_of_one_file_to_one_name_share_nothing(
    start_server: StartServer, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is half through when the first, proven whole, gets its name: both end whole, and whoever
    looks in between sees no half of either."""
    server = start_server("vsftpd")
    server.root.chmod(0o777)
    content = os.urandom(4_000_000)
    (tmp_path / "a").write_bytes(content)
    first, second = opened(server), opened(server)
    half, go_on = threading.Event(), threading.Event()

    def waits(sent: int, _: int | None) -> None:
        if sent > 2_000_000 and not half.is_set():
            half.set()
            assert go_on.wait(60)

    with ThreadPoolExecutor(1) as beside:
        others: list[Future[Receipt | None]] = []

        def renamed(*arguments: Any, **keys: Any) -> Iterator[bool | Refused]:
            if not others:
                others.append(beside.submit(send, second, tmp_path, waits))
                assert half.wait(60)
            return give_names(*arguments, **keys)

        monkeypatch.setattr(singly, "give_names", renamed)
        try:
            receipts = [send(first, tmp_path, lambda *_: None)]
            assert (server.root / "a").read_bytes() == content
        finally:
            go_on.set()
        receipts += [other.result(60) for other in others]
    assert [one.bytes for one in receipts if one is not None] == [len(content)] * 2
    assert (server.root / "a").read_bytes() == content
    assert os.listdir(server.root) == ["a"]  # noqa: PTH208

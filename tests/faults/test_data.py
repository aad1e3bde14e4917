"""Every fault of a data channel, in both directions and in listings: whole, or not, and never in doubt."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.faults import acts
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from workers.ftps.connection import Connection, Peer
from workers.ftps.errors import Refused, TransferBroken, Transient
from workers.ftps.states import State
from workers.ftps.tls import Trust

CONTENT = bytes(range(256)) * 2_000
IDLE_S = 0.6
LIMIT_S = 4.0

# (act, whole where the size is known, whole where it isn't); None: nobody could tell, so it isn't asked.
DOWNLOADS: dict[str, tuple[acts.Act, bool, bool | None]] = {
    "nothing wrong": (acts.transfer(), True, True),
    "226 before the data": (acts.transfer(final_first=True), True, True),
    "no close_notify": (acts.transfer(end="ragged"), True, False),
    "a session of its own": (acts.transfer(resumable=False), True, True),
    "half, then a clean end and 226": (acts.transfer(share=0.5), False, None),
    "half, then FIN and 226": (acts.transfer(share=0.5, end="ragged"), False, False),
    "half, then RST and 426": (acts.transfer(share=0.5, end="reset", final="426 Broken."), False, False),
    "half, then RST and nothing": (acts.transfer(share=0.5, end="reset", final=None), False, False),
    "half, then silence": (acts.transfer(share=0.5, end="hang", final=None), False, False),
    "nothing at all, and 226": (acts.transfer(share=0.0), False, None),
    "all, then RST and 426": (acts.transfer(end="reset", final="426 Broken."), False, False),
    "all, then 426": (acts.transfer(final="426 Broken."), False, False),
    "all, then 451": (acts.transfer(final="451 Local trouble."), False, False),
    "all, then no reply": (acts.transfer(final=None), False, False),
    "more than the size": (acts.transfer(extra=b"more"), False, None),
    "no 150": (acts.transfer(opening=None), False, False),
}


@pytest.fixture
def server(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates, files={b"/a.bin": CONTENT, b"/b.bin": b""}) as server:
        yield server


@pytest.fixture
def line(server: ScriptedServer) -> Iterator[Connection]:
    peer = Peer(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        trust=Trust(ca_file=str(server.ca_file)),
        reply_timeout=IDLE_S,
        idle_timeout=IDLE_S,
    )
    line = Connection.open(peer)
    yield line
    line.close()


CASES = [
    pytest.param(act, size, whole, id=f"{fault}, {told}")
    for fault, (act, known, unknown) in DOWNLOADS.items()
    for told, size, whole in (("size known", len(CONTENT), known), ("size unknown", None, unknown))
    if whole is not None
]


@pytest.mark.parametrize(("act", "size", "whole"), CASES)
def test_download_is_whole_or_broken(
    server: ScriptedServer, line: Connection, act: acts.Act, size: int | None, whole: bool
) -> None:
    """What is called whole is whole; all else is transient, in time, and goes through at the next try."""
    server.when("RETR", act, times=1)
    got = bytearray()
    began = time.monotonic()
    if whole:
        assert line.retrieve(b"/a.bin", got.extend, size=size) == len(CONTENT)
        assert bytes(got) == CONTENT
        line.noop()
    else:
        with pytest.raises(Transient):
            line.retrieve(b"/a.bin", got.extend, size=size)
    assert time.monotonic() - began < LIMIT_S
    next_line = line if line.state is State.READY else Connection.open(line.peer)
    again = bytearray()
    next_line.retrieve(b"/a.bin", again.extend, size=len(CONTENT))
    assert bytes(again) == CONTENT
    next_line.close()


def test_download_that_lacks_only_its_last_reply_says_so(server: ScriptedServer, line: Connection) -> None:
    """All bytes, and the 226 never came: whoever asks for the size on a new line may call it whole (R10)."""
    server.when("RETR", acts.transfer(final=None))
    with pytest.raises(TransferBroken) as broken:
        line.retrieve(b"/a.bin", lambda _: None, size=len(CONTENT))
    assert broken.value.all_moved


def test_download_refused_after_all_data_is_refused(server: ScriptedServer, line: Connection) -> None:
    """A 550 at the very end is the server's last word on the file; the line can be used."""
    server.when("RETR", acts.transfer(final="550 On second thoughts, no."))
    with pytest.raises(Refused):
        line.retrieve(b"/a.bin", lambda _: None, size=len(CONTENT))
    line.noop()


@pytest.mark.parametrize(
    ("act", "raised", "all_moved"),
    [
        (acts.receive(final=None), TransferBroken, True),
        (acts.receive(final="426 Broken."), TransferBroken, False),
        (acts.receive(final="552 Disk full."), Refused, False),
        (acts.receive(stop_after=1000, end="reset", final="552 Disk full."), Refused, False),
        (acts.receive(stop_after=1000, end="reset", final="226 Stored."), TransferBroken, False),
        (acts.receive(stop_after=1000, end="reset", final=None), TransferBroken, False),
        (acts.receive(stop_after=1000, end="hang", final=None), TransferBroken, False),
    ],
)
def test_upload_that_the_server_breaks(
    server: ScriptedServer, line: Connection, act: acts.Act, raised: type[Exception], all_moved: bool
) -> None:
    """The control reply decides; without a good one the upload isn't done; the next one is."""
    content = [bytes(1 << 20)] * 16  # more than the sockets between us hold
    server.when("STOR", act, times=1)
    began = time.monotonic()
    with pytest.raises(raised) as broken:
        line.store(b"/new", content)
    assert time.monotonic() - began < LIMIT_S
    assert getattr(broken.value, "all_moved", False) is all_moved
    next_line = line if line.state is State.READY else Connection.open(line.peer)
    assert next_line.store(b"/new", content[:1], size=1 << 20) == 1 << 20
    assert len(server.files[b"/new"]) == 1 << 20
    next_line.close()


@pytest.mark.parametrize(
    "act",
    [
        acts.transfer(end="ragged"),
        acts.transfer(end="reset", final="426 Broken."),
        acts.transfer(end="hang", final=None),
        acts.transfer(final=None),
        acts.transfer(final="426 Broken."),
        acts.transfer(share=0.5, end="ragged"),
    ],
)
def test_listing_without_an_end_is_broken(server: ScriptedServer, line: Connection, act: acts.Act) -> None:
    """A listing has no size: only a clean end and a good reply make it one."""
    server.when("MLSD", act)
    began = time.monotonic()
    with pytest.raises(TransferBroken), line.listing(b"/") as found:
        list(found)
    assert time.monotonic() - began < LIMIT_S
    assert not found.complete


def test_listing_cut_in_mid_line_is_incomplete(server: ScriptedServer, line: Connection) -> None:
    """Half a line at a clean end is no entry, and the listing says that it isn't whole."""
    server.when("MLSD", acts.transfer(content=[b"type=file;size=1; a\r\ntype=fi"]))
    with line.listing(b"/") as found:
        assert [entry.name for entry in found] == [b"a"]
    assert not found.complete
    line.noop()

"""Lines that break in mid-batch, servers that misbehave: what is published is whole, what counts is true."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.acts import answer, in_turn, ordinary, reset_line, transfer
from tests.faults.dialogue import Talk
from tests.faults.proxy import CuttingProxy
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.fetching import QUICK, Fetching
from tests.servers.server import FtpServer
from workers.batch import MOST_IN_A_ROW
from workers.errors import OperationFailed, ReconnectFailed

StartServer = Callable[..., FtpServer]
Open = Callable[..., Fetching]

SIZE = 4_000_000


@pytest.fixture
def fetching(tmp_path: Path) -> Iterator[Open]:
    """fetching(server, …) → a Fetching with ledger and target of this test."""
    with ExitStack() as opened:

        def open_one(server: Any, **keys: Any) -> Fetching:
            one = Fetching(server, tmp_path / "towline", **keys)
            opened.callback(one.close)
            return one

        yield open_one


@pytest.fixture
def scripted(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates) as server:
        yield server


def rows(one: Fetching) -> dict[bytes, tuple[str, int]]:
    """State and attempts of each path's latest version."""
    return {row.path: (row.state, row.attempts) for row in one.ledger.history.rows(limit=99) if row.latest}


@pytest.mark.parametrize("kind", ["cut", "reset"])
@pytest.mark.parametrize("lane", ["data", "control"])
def test_a_cut_in_mid_file_resumes(start_server: StartServer, fetching: Open, kind: Any, lane: str) -> None:
    """What came is not sent again, by the proxy's count."""
    server = start_server("pyftpdlib")
    content = os.urandom(2 * SIZE)
    (server.root / "a").write_bytes(content)
    cut_at = int(SIZE * 1.6)
    with CuttingProxy.before(server) as proxy:
        one = fetching(server, host=proxy.address)
        one.poll()
        listed = proxy.data.bytes_down
        # Slow enough for us to keep up: what lies in our kernel's buffer when an RST comes is lost.
        proxy.data.rate = 12_000_000
        done: list[int] = []

        def strike(_: int) -> bool:
            if lane == "control" and not done and proxy.data.bytes_down > cut_at:
                done.append(getattr(proxy, f"{kind}_control")())
            return True

        if lane == "data":
            proxy.data.fault_next(kind, after=cut_at)
        outcome = one.fetch(holds=strike)
        assert (outcome.published, outcome.failed) == (1, 0)
        assert one.files() == {"a": content}
        # Begun anew, it would be 1.8 times the file.
        assert proxy.data.bytes_down - listed < 2 * SIZE * 1.7
        assert one.tally.reconnects == 1


def test_all_bytes_moved_and_the_reply_never_came(scripted: ScriptedServer, fetching: Open) -> None:
    """R10: the size is asked on a new line, and the file is accepted without another RETR."""
    scripted.files = {b"/a": os.urandom(300_000), b"/b": b"small"}
    scripted.when("RETR", in_turn(transfer(final=None), reset_line), times=1)
    one = fetching(scripted)
    one.poll()
    assert one.fetch().published == 2
    assert one.files() == {"a": scripted.files[b"/a"], "b": b"small"}
    assert scripted.count("RETR") == 2
    assert one.tally.reconnects == 1


def test_what_is_tried_again_asks_for_nothing_ahead(scripted: ScriptedServer, fetching: Open) -> None:
    """The next port, asked for behind RETR, may be what the line died of, though it went well before."""
    scripted.files = {b"/%c" % name: os.urandom(10_000) for name in b"abcd"}
    ahead: list[tuple[bytes, bool]] = []

    def retr(talk: Talk, path: bytes) -> None:
        ahead.append((path, talk.has_read(b"EPSV")))
        broken = path == b"/c" and ahead.count((path, True)) == 1 and ahead[-1][1]
        (in_turn(transfer(share=0.5, final=None), reset_line) if broken else ordinary)(talk, path)

    scripted.when("RETR", retr)
    one = fetching(scripted)
    one.poll()
    assert one.fetch().published == 4
    assert ahead == [(b"/a", True), (b"/b", True), (b"/c", True), (b"/c", False), (b"/d", False)]
    assert one.files() == {path[1:].decode(): content for path, content in scripted.files.items()}


def test_half_a_file_and_226_is_not_published(scripted: ScriptedServer, fetching: Open) -> None:
    """Half the data, FIN, `226`, each time: the file's own fault, counted; its neighbour arrives."""
    scripted.files = {b"/a": os.urandom(100_000), b"/b": b"small"}
    scripted.when("RETR", _only(b"/a", transfer(content=[b"x" * 50_000], end="ragged")))
    one = fetching(scripted)
    one.poll()
    outcome = one.fetch()
    assert (outcome.published, outcome.failed) == (1, 1)
    assert "OperationFailed" in (outcome.first_error or "")
    assert {name: len(data) for name, data in one.files().items() if name == "a"} == {}
    assert rows(one) == {b"/a": ("READY", 1), b"/b": ("FINISHED", 0)}


def test_all_bytes_and_a_final_reply_that_refuses_are_not_a_file(
    scripted: ScriptedServer, fetching: Open
) -> None:
    """As many bytes as were due, and then 451: they are thrown away, however right their number looks."""
    scripted.files = {b"/a": os.urandom(100_000)}
    bad = transfer(content=[b"x" * 100_000], final="451 Read error on the disk.")
    scripted.when("RETR", bad, times=1)
    one = fetching(scripted)
    one.poll()
    assert one.fetch().published == 1
    assert one.files() == {"a": scripted.files[b"/a"]}


@pytest.mark.parametrize("content", [os.urandom(400_000), bytes(400_000)], ids=["does not fit", "fits"])
def test_a_server_that_ignores_rest_does_not_spoil_the_file(
    scripted: ScriptedServer, fetching: Open, content: bytes
) -> None:
    """It says 350 and begins at the beginning: the overlap does not fit, or more comes than was due, and all
    is fetched anew."""
    scripted.files = {b"/a": content}
    scripted.when("REST", answer("350 If you say so."))
    # No reset: with that goes what lies in our kernel's buffer, and there may be nothing to go on with.
    scripted.when("RETR", transfer(share=0.5, end="ragged", final="426 Broken."), times=1)
    one = fetching(scripted)
    one.poll()
    assert one.fetch().published == 1
    assert any(command.startswith("REST ") for command in scripted.commands), "it was to be gone on with"
    assert one.files() == {"a": content}


def test_a_server_that_refuses_rest_starts_over(scripted: ScriptedServer, fetching: Open) -> None:
    """FEAT promised REST STREAM, and REST says 502: from the beginning, then."""
    content = os.urandom(400_000)
    scripted.files = {b"/a": content}
    scripted.when("REST", answer("502 Not here."))
    scripted.when("RETR", transfer(share=0.5, end="ragged", final="426 Broken."), times=1)
    one = fetching(scripted)
    one.poll()
    assert one.fetch().published == 1
    assert one.files() == {"a": content}


@pytest.mark.parametrize(
    ("rest", "retr"),
    [
        ("350 Go on.", transfer(content=[b"x" * 100_000], final="451 Read error on the disk.")),
        ("502 Not here.", transfer(share=0.5, end="ragged", final="426 Broken.")),
        ("350 If you say so.", transfer(share=0.5, end="ragged", final="426 Broken.")),
    ],
    ids=["whole and refused", "no REST", "REST ignored"],
)
@pytest.mark.timeout(60)
def test_the_same_bytes_again_are_no_progress(
    scripted: ScriptedServer, fetching: Open, rest: str, retr: Callable[[Talk, bytes], None]
) -> None:
    """A file that comes no further, however often it is begun anew, uses up its attempts like any other."""
    scripted.files = {b"/a": os.urandom(100_000)}
    scripted.when("REST", answer(rest))
    scripted.when("RETR", retr)
    one = fetching(scripted)
    one.poll()
    outcome = one.fetch()
    assert (outcome.published, outcome.failed) == (0, 1)
    assert rows(one) == {b"/a": ("READY", 1)}
    assert scripted.count("RETR") <= 2 * QUICK.attempts


def test_more_bytes_than_were_listed_are_a_changed_file(scripted: ScriptedServer, fetching: Open) -> None:
    """It grew between listing and RETR: nothing of it is published, and no attempt is charged."""
    scripted.files = {b"/a": b"x" * 100_000}
    one = fetching(scripted)
    one.poll()
    scripted.files[b"/a"] = b"x" * 150_000
    outcome = one.fetch()
    assert (outcome.changed, outcome.failed) == (1, 0)
    assert one.files() == {}
    assert scripted.count("RETR") == 1
    assert rows(one) == {b"/a": ("WAITING", 0)}


def test_times_that_disagree_by_a_zone_hold_nothing_back(scripted: ScriptedServer, fetching: Open) -> None:
    """MDTM in local time, MLSD in UTC: in doubt another listing decides, and the file is published."""
    scripted.files = {b"/a": b"content", b"/b": b"other"}
    scripted.when("MDTM", answer("213 20260102050405"))
    one = fetching(scripted)
    one.poll()
    assert one.fetch().published == 2
    assert scripted.count("MLSD") == 2


def test_without_mdtm_a_listing_tells_that_a_file_was_replaced(
    scripted: ScriptedServer, fetching: Open
) -> None:
    """Same size, another time, and a server that knows no MDTM: one listing for the group finds it out."""
    scripted.files = {b"/a": b"content", b"/b": b"other"}
    scripted.when("MDTM", answer("502 Not here."))
    scripted.when("RETR", _only(b"/b", in_turn(transfer(), _touch(b"/a"))))
    one = fetching(scripted)
    one.poll()
    outcome = one.fetch()
    assert (outcome.published, outcome.changed) == (1, 1)
    assert list(one.files()) == ["b"]
    assert scripted.count("MLSD") == 2


def test_a_refused_file_is_charged_and_the_batch_goes_on(scripted: ScriptedServer, fetching: Open) -> None:
    """550 for a file that is there: its own fault, with the server's words; the others arrive."""
    scripted.files = {b"/a": b"a", b"/b": b"b", b"/c": b"c"}
    scripted.when("RETR", _only(b"/b", answer("550 Permission denied.")))
    one = fetching(scripted)
    one.poll()
    outcome = one.fetch()
    assert (outcome.published, outcome.failed) == (2, 1)
    assert outcome.first_error == "/b: RETR: 550 Permission denied."
    assert rows(one)[b"/b"] == ("READY", 1)


def test_a_server_whose_data_ports_are_closed_does_not_use_up_all_files(
    scripted: ScriptedServer, fetching: Open
) -> None:
    """When one file after the other dies the same way, the batch stops, and the rest is uncounted."""
    scripted.files = {f"/{number}".encode(): b"x" for number in range(10)}
    one = fetching(scripted)
    one.poll()
    scripted.when("RETR", answer("425 No data connection."))
    with pytest.raises(OperationFailed):
        one.fetch()
    attempts = sorted(charged for _, charged in rows(one).values())
    assert attempts == [0] * (10 - MOST_IN_A_ROW) + [1] * MOST_IN_A_ROW


def test_an_endpoint_that_goes_down_in_mid_batch_charges_nobody(
    start_server: StartServer, fetching: Open
) -> None:
    """ReconnectFailed, everything back uncounted; afterwards, what came is not sent again."""
    server = start_server("pyftpdlib")
    sent = {name: os.urandom(SIZE) for name in ("a", "b", "c")}
    for name, content in sent.items():
        (server.root / name).write_bytes(content)
    one = fetching(server)
    one.poll()
    down: list[int] = []

    def stop(_: int) -> bool:
        if not down and sum(map(len, one.files().values())) > SIZE * 1.5:
            down.append(1)
            server.stop()
        return True

    with pytest.raises(ReconnectFailed) as caught:
        one.fetch(holds=stop)
    assert caught.value.args[0] == "bank"
    assert set(rows(one).values()) == {("READY", 0)}
    held = sum(map(len, one.files().values()))
    assert held > SIZE
    server.start()
    with CuttingProxy.before(server) as proxy:
        again = fetching(server, host=proxy.address)
        assert again.fetch().published == 3
        assert proxy.data.bytes_down < (3 * SIZE - held) * 1.1 + 20_000
    assert one.files() == sent


def _only(path: bytes, act: Callable[[Talk, bytes], None]) -> Callable[[Talk, bytes], None]:
    """The act for this path, the ordinary answer for all others."""
    return lambda talk, argument: (act if argument == path else ordinary)(talk, argument)


def _touch(path: bytes) -> Callable[[Talk, bytes], None]:
    def touch(talk: Talk, _: bytes) -> None:
        talk.server.times[path] = "20260303030303"

    return touch

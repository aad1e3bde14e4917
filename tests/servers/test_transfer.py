"""The way of a batch on real servers: what arrives, what is left alone, what each ending leaves behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers.fetching import Fetching
from tests.servers.kinds import OFFERS
from tests.servers.server import FtpServer, TlsMode, TlsVersion
from tests.waiting import wait_until
from workers.batch import GROUP_FILES, Outcome
from workers.errors import StoreRefused

StartServer = Callable[..., FtpServer]
Open = Callable[..., Fetching]

LONG_AGO = 1_600_000_000


@pytest.fixture
def fetching(tmp_path: Path) -> Iterator[Open]:
    """fetching(server, …) → a Fetching; all those of one test share a ledger and a target."""
    with ExitStack() as opened:

        def open_one(server: FtpServer, **keys: Any) -> Fetching:
            one = Fetching(server, tmp_path / "towline", **keys)
            opened.callback(one.close)
            return one

        yield open_one


def put(server: FtpServer, name: str | bytes, content: bytes, modified: float = LONG_AGO) -> Path:
    """A file on the server, whole at once."""
    path = Path(os.fsdecode(os.fsencode(server.root) + b"/" + os.fsencode(name)))
    fresh = path.with_name("upload")
    fresh.write_bytes(content)
    os.utime(fresh, (modified, modified))
    fresh.replace(path)
    return path


def counts(outcome: Outcome) -> dict[str, int]:
    """The counts that aren't zero."""
    names = ("published", "already", "vanished", "changed", "kept", "failed")
    return {name: getattr(outcome, name) for name in names if getattr(outcome, name)}


def temps(one: Fetching) -> list[str]:
    return [name for name in one.files() if name.startswith(".towline-")]


@pytest.mark.parametrize(("name", "tls", "version"), OFFERS)
def test_a_batch_arrives_whole_from_every_server(
    start_server: StartServer, fetching: Open, name: str, tls: TlsMode, version: TlsVersion
) -> None:
    """Empty, small and large files land under their names, with digest, time and mode; each is sent once."""
    server = start_server(name, tls=tls, tls_version=version)
    sent = {
        f"{number}.bin": os.urandom(size) for number, size in enumerate((0, 1, 16384, 100_000, 3_000_000))
    }
    for file, content in sent.items():
        put(server, file, content)
    one = fetching(server)
    assert one.poll() == 5
    outcome = one.fetch()
    assert counts(outcome) == {"published": 5}
    assert one.files() == sent
    assert outcome.bytes == sum(map(len, sent.values()))
    assert {(r.path.decode(), r.sha256, r.bytes) for r in outcome.files} == {
        (f"/{file}", hashlib.sha256(content).hexdigest(), len(content)) for file, content in sent.items()
    }
    facts = (one.landed / "1.bin").stat()
    assert (facts.st_mtime, stat.S_IMODE(facts.st_mode)) == (LONG_AGO, 0o640)
    assert {receipt.local for receipt in outcome.files} == {os.fsencode(one.landed / file) for file in sent}
    assert set(one.states().values()) == {"FINISHED"}
    assert one.poll() == 0
    assert counts(one.fetch()) == {}
    wait_until(lambda: len(server.retrieved()) >= len(sent), what="the server's log says so")
    assert sorted(server.retrieved()) == sorted(f"/{file}" for file in sent)


def test_more_files_than_a_group_holds(start_server: StartServer, fetching: Open) -> None:
    """Groups follow each other on one line, and no descriptor stays open."""
    server = start_server("pyftpdlib")
    sent = {f"{number:03}": str(number).encode() for number in range(GROUP_FILES * 2 + 3)}
    for file, content in sent.items():
        put(server, file, content)
    one = fetching(server)
    one.poll()
    before = descriptors()
    assert counts(one.fetch()) == {"published": len(sent)}
    assert one.files() == sent
    assert descriptors() <= before
    assert one.tally.connects == 1


def descriptors() -> int:
    """How many are open; without the ledger's, whose pool keeps a connection for each thread at work."""
    found: list[str] = []
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # what this very listing was read from
            found.append(str(one.readlink()))
    return len([name for name in found if "ledger.sqlite3" not in name])


def test_odd_names_arrive_under_their_own_bytes(start_server: StartServer, fetching: Open) -> None:
    """250 bytes, not UTF-8, blanks at both ends: the name sent back is the one that was listed (R12)."""
    server = start_server("vsftpd")
    odd = [b"n" * 250, b"\xff\xfe\x80", b" both ", "größe".encode(), b"a;b=c", b"back\\slash"]
    for name in odd:
        put(server, name, name)
    one = fetching(server)
    one.poll()
    assert counts(one.fetch()) == {"published": len(odd)}
    assert {os.fsencode(name): content for name, content in one.files().items()} == {n: n for n in odd}


def test_mode_time_and_syncs_of_a_published_file_are_the_route_s(
    start_server: StartServer, fetching: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mode`, `keep_mtime` and `durability`, each with another value than its default."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    server = start_server("pyftpdlib")
    one = fetching(server, mode=0o600, keep_mtime=False, durability="rename")
    put(server, "a.xml", b"<a/>")
    one.poll()
    assert counts(one.fetch()) == {"published": 1}
    published = (one.landed / "a.xml").stat()
    assert stat.S_IMODE(published.st_mode) == 0o600
    assert published.st_mtime > LONG_AGO + 86_400
    assert synced == []


@pytest.mark.parametrize("size", [2_000_000, 1_900_000, 2_500_000])
def test_a_file_replaced_in_mid_transfer_is_not_published(
    start_server: StartServer, fetching: Open, size: int
) -> None:
    """Another time, or another size: an outcome, not a failure; the new one comes after a new look."""
    server = start_server("pyftpdlib")
    put(server, "a", b"old" * 500_000 + b"." * 500_000)
    put(server, "b", b"other")
    one = fetching(server)
    one.poll()
    new = os.urandom(size)

    def replace_once(_: int) -> bool:
        if one.files() and not replaced:
            replaced.append(put(server, "a", new, LONG_AGO + 60))
        return True

    replaced: list[Path] = []
    outcome = one.fetch(holds=replace_once)
    assert counts(outcome) == {"changed": 1, "published": 1}
    assert one.files() == {"b": b"other"}
    assert one.states() == {"/a": "WAITING", "/b": "FINISHED"}
    one.poll()
    assert counts(one.fetch()) == {"published": 1}
    assert one.files() == {"a": new, "b": b"other"}


def test_a_file_that_vanished_is_an_outcome(start_server: StartServer, fetching: Open) -> None:
    """Gone before RETR, or in the middle of it: not a failure, and nothing is left behind."""
    server = start_server("pyftpdlib")
    for name in ("a", "b", "c"):
        put(server, name, b"x" * 1_000_000)
    one = fetching(server)
    one.poll()
    (server.root / "a").unlink()

    def remove_b(_: int) -> bool:
        if temps(one):
            (server.root / "b").unlink(missing_ok=True)
        return True

    outcome = one.fetch(holds=remove_b)
    assert counts(outcome) == {"vanished": 2, "published": 1}
    assert list(one.files()) == ["c"]
    assert one.states() == {"/a": "VANISHED", "/b": "VANISHED", "/c": "FINISHED"}


def test_a_hostile_name_is_refused_and_nothing_is_written_outside(
    start_server: StartServer, fetching: Open
) -> None:
    """A folder of the target that is a link, or a folder under the file's own name: that file fails alone."""
    server = start_server("pyftpdlib")
    put(server, "a", b"a")
    put(server, "b", b"b")
    one = fetching(server)
    (one.landed / "a").mkdir(parents=True)
    outside = one.landed.parent / "victim"
    outside.write_bytes(b"precious")
    (one.landed / "b").symlink_to(outside)
    one.poll()
    outcome = one.fetch()
    assert counts(outcome) == {"published": 1, "failed": 1}
    assert outcome.first_error is not None
    assert "/a: the name a is refused: a folder is called so" in outcome.first_error
    assert outside.read_bytes() == b"precious"
    assert (one.landed / "b").read_bytes() == b"b"
    assert not (one.landed / "b").is_symlink()
    [row] = [row for row in one.ledger.history.rows(limit=10) if row.path == b"/a"]
    assert row.attempts == 1


def test_on_exists_keep_fetches_nothing_and_ends_for_good(start_server: StartServer, fetching: Open) -> None:
    """What is there stays; the server isn't asked for the file, now or at the next tick."""
    server = start_server("pyftpdlib")
    put(server, "a.xml", b"theirs")
    one = fetching(server, on_exists="keep", then={"task": "billing.ingest"})
    one.landed.mkdir()
    (one.landed / "a.xml").write_bytes(b"ours")
    one.poll()
    assert counts(one.fetch()) == {"kept": 1}
    assert one.files() == {"a.xml": b"ours"}
    assert one.states() == {"/a.xml": "FINISHED"}
    one.poll()
    assert counts(one.fetch()) == {}
    assert server.retrieved() == []


def test_on_exists_version_numbers_what_comes_later(start_server: StartServer, fetching: Open) -> None:
    """name.2.xml, name.3.xml; what lies there is never touched."""
    server = start_server("pyftpdlib")
    one = fetching(server, on_exists="version")
    for number in range(3):
        put(server, "a.xml", b"v%d" % number, LONG_AGO + number * 60)
        one.poll()
        assert counts(one.fetch()) == {"published": 1}
    assert one.files() == {"a.xml": b"v0", "a.2.xml": b"v1", "a.3.xml": b"v2"}
    assert one.states() == {"/a.xml": "FINISHED FINISHED FINISHED"}


def test_a_place_that_takes_nothing_stops_the_batch_uncounted(
    start_server: StartServer, fetching: Open
) -> None:
    """The target's disk isn't there: the route's fault, told at once; no file has used up an attempt."""
    server = start_server("pyftpdlib")
    for name in ("a", "b"):
        put(server, name, b"x")
    one = fetching(server, local=Path("/nowhere/at/all"))
    one.poll()
    with pytest.raises(StoreRefused, match="No such file"):
        one.fetch()
    rows = one.ledger.history.rows(limit=10)
    assert {(row.state, row.attempts) for row in rows} == {("READY", 0)}
    assert one.poll() == 2
    assert server.retrieved() == []


def test_an_orderly_stop_leaves_the_partial_for_the_next_claim(
    start_server: StartServer, fetching: Open
) -> None:
    """Stop begun: no other file. Grace over: the file in hand is left between two blocks, uncounted."""
    server = start_server("pyftpdlib")
    put(server, "a", b"a")
    big = os.urandom(4_000_000)
    put(server, "b", big)
    put(server, "c", b"c")
    one = fetching(server)
    one.poll()

    def stop_in_b(_: int) -> bool:
        if any(one.landed.glob(".towline-*")) and sum(map(len, one.files().values())) > 1_000_000:
            one.stop.begin(0.0)
        return True

    outcome = one.fetch(holds=stop_in_b)
    assert counts(outcome) == {}
    assert {row.attempts for row in one.ledger.history.rows(limit=10)} == {0}
    assert one.poll() == 3
    partial = max(map(len, one.files().values()))
    assert 1_000_000 < partial < 4_000_000
    one.stop.clear()
    assert counts(one.fetch()) == {"published": 3}
    assert one.files() == {"a": b"a", "b": big, "c": b"c"}

    put(server, "d", b"d")
    one.poll()
    one.stop.begin(60.0)
    assert counts(one.fetch()) == {}
    assert one.poll() == 1


def test_two_versions_are_never_glued_together(start_server: StartServer, fetching: Open) -> None:
    """The partial of an older version is removed, not continued (field note 35)."""
    server = start_server("pyftpdlib")
    old, new = os.urandom(3_000_000), os.urandom(4_000_000)
    put(server, "a", old)
    one = fetching(server)
    one.poll()
    _stop_in_the_middle(one)
    put(server, "a", new, LONG_AGO + 60)
    one.poll()
    assert counts(one.fetch()) == {"published": 1}
    assert one.files() == {"a": new}
    assert one.states() == {"/a": "SUPERSEDED FINISHED"}


def test_even_a_replacement_that_looks_the_same_is_not_glued(
    start_server: StartServer, fetching: Open
) -> None:
    """Same size, same time, other bytes: the end of the partial does not fit, so all is fetched anew."""
    server = start_server("pyftpdlib")
    old, new = os.urandom(3_000_000), os.urandom(3_000_000)
    put(server, "a", old)
    one = fetching(server)
    one.poll()
    _stop_in_the_middle(one)
    put(server, "a", new)
    assert one.poll() == 1
    assert counts(one.fetch()) == {"published": 1}
    assert one.files() == {"a": new}


def _stop_in_the_middle(one: Fetching) -> None:
    def stop(_: int) -> bool:
        if sum(map(len, one.files().values())) > 1_000_000:
            one.stop.begin(0.0)
        return True

    assert counts(one.fetch(holds=stop)) == {}
    assert len(temps(one)) == 1
    one.stop.clear()


def test_a_worker_that_lost_its_claim_writes_no_further(start_server: StartServer, fetching: Open) -> None:
    """A lease ended in mid-file: the successor takes the bytes over and publishes, the loser ends nothing."""
    server = start_server("pyftpdlib")
    content = os.urandom(3_000_000)
    put(server, "a", content)
    slow, quick = fetching(server), fetching(server)
    slow.poll()
    taken = slow.ledger.claims.claim("statements", str(slow.route.local), files=9, bytes=1 << 40, lease_s=0.0)
    after: list[Outcome] = []

    def overtaken(_: int) -> bool:
        if not after and sum(map(len, slow.files().values())) > 1_000_000:
            after.append(quick.fetch())
        return not after

    assert counts(slow.fetch(taken, holds=overtaken)) == {}
    assert [counts(outcome) for outcome in after] == [{"published": 1}]
    assert quick.files() == {"a": content}
    assert slow.states() == {"/a": "FINISHED"}


@pytest.mark.parametrize("when", ["before the intent", "after the intent"])
def test_a_worker_that_thaws_while_publishing_publishes_nothing_twice(
    start_server: StartServer, fetching: Open, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Frozen around its intent and overtaken: the fence, or the missing temp, stops it."""
    server = start_server("pyftpdlib")
    put(server, "a", b"content")
    slow, quick = fetching(server), fetching(server)
    slow.poll()
    taken = slow.ledger.claims.claim("statements", str(slow.route.local), files=9, bytes=1 << 40, lease_s=0.0)
    intend = slow.ledger.publishing.intend
    after: list[Outcome] = []

    def frozen(items: Any) -> Any:
        if when == "before the intent":
            after.append(quick.fetch())
            return intend(items)
        accepted = intend(items)
        after.append(quick.fetch())
        return accepted

    monkeypatch.setattr(slow.ledger.publishing, "intend", frozen)
    assert counts(slow.fetch(taken)) == {}
    assert [counts(outcome) for outcome in after] == [{"published": 1}]
    assert quick.files() == {"a": b"content"}
    assert slow.states() == {"/a": "FINISHED"}
    assert server.retrieved() == ["/a"]

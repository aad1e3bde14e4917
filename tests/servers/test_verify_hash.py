"""verify = "hash": a file is published when the server's digest of it is that of the bytes that came."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.acts import answer, transfer
from tests.faults.dialogue import Talk
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.command import Site
from tests.servers.fetching import Fetching
from tests.servers.server import FtpServer
from workers.session import Session

StartServer = Callable[..., FtpServer]
Open = Callable[..., Fetching]

CONTENT = b"hello, world\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def fetching(tmp_path: Path) -> Iterator[Open]:
    """fetching(server) → a Fetching whose route says verify = "hash"; its `wire` is told all."""
    with ExitStack() as opened:

        def open_one(server: Any, wire: list[str] | None = None, **keys: Any) -> Fetching:
            one = Fetching(server, tmp_path / "towline", **({"verify": "hash"} | keys))
            one.session = Session(one.endpoint, one.ledger, wire=wire.append if wire is not None else None)
            opened.callback(one.close)
            return one

        yield open_one


@pytest.fixture
def scripted(certificates: Certificates) -> Iterator[ScriptedServer]:
    """A server of one file, /a, that offers HASH of SHA-256."""
    with ScriptedServer(certificates, files={b"/a": CONTENT}) as server:
        server.when(
            "FEAT",
            answer("211-F\r\n MLST type*;size*;modify*;\r\n SIZE\r\n MDTM\r\n HASH SHA-256*\r\n211 End"),
        )
        yield server


def fetched(one: Fetching) -> Any:
    assert one.poll() == len(one.ledger.polls.known("statements", str(one.route.local)))
    return one.fetch()


def test_proftpds_hash_agrees(start_server: StartServer, fetching: Open) -> None:
    """Asked once a file, after its data and before it is published; not of an empty one."""
    server = start_server("proftpd", tls_version="1.2")
    names = ["plain", "with blank", "7 8", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "large"]
    contents = {name: os.urandom(3_000_000 if name == "large" else 1000) for name in names} | {"empty": b""}
    for name, content in contents.items():
        (server.root / name).write_bytes(content)
    wire: list[str] = []
    one = fetching(server, wire)
    outcome = fetched(one)
    assert (outcome.published, outcome.failed) == (6, 0)
    assert one.files() == contents
    assert sorted(line[7:] for line in wire if line.startswith("> HASH")) == sorted(
        f"/{name}" for name in names
    )
    at = wire.index("> HASH /plain")
    assert "> RETR /plain" in wire[:at]


def test_nothing_is_asked_without_the_key(start_server: StartServer, fetching: Open) -> None:
    """verify = "size" costs no command."""
    server = start_server("proftpd", tls_version="1.2")
    (server.root / "a").write_bytes(CONTENT)
    wire: list[str] = []
    assert fetched(fetching(server, wire, verify="size")).published == 1
    assert not any("> HASH" in line for line in wire)


@pytest.mark.parametrize("feature", ["XSHA512", "XSHA1", "XMD5", "MD5", "XCRC"])
def test_each_older_command_of_proftpd_agrees(
    start_server: StartServer, fetching: Open, feature: str
) -> None:
    """Asked for on its own, each tells what the bytes that came hash to; blanks in names included."""
    server = start_server("proftpd", tls_version="1.2")
    (server.root / "a b").write_bytes(CONTENT)
    one = fetching(server)

    def only_this(line: Any) -> Any:
        line._line.features = line.features.from_feat([b"", f" {feature}".encode(), b""])
        return line.digest(b"/a b", size=len(CONTENT))

    told = one.session.run(only_this, name="digest", tally=one.tally)
    name = told.algorithm.replace("-", "").lower()
    ours = f"{zlib.crc32(CONTENT):08x}" if name == "crc32" else hashlib.new(name, CONTENT).hexdigest()
    assert told.hex == ours


def test_a_hash_that_differs_is_the_files_own_fault(scripted: ScriptedServer, fetching: Open) -> None:
    """Right size, wrong bytes: nothing is published or kept, the attempt counts, and the next begins anew."""
    scripted.when("RETR", transfer(content=[b"X" * len(CONTENT)]), times=1)
    scripted.when("HASH", answer(f"213 SHA-256 0-{len(CONTENT)} {SHA256} /a"))
    one = fetching(scripted)
    outcome = fetched(one)
    assert (outcome.published, outcome.failed) == (0, 1)
    assert SHA256 in (outcome.first_error or "")
    assert one.files() == {}
    [row] = one.ledger.history.rows(limit=9)
    assert row.attempts == 1
    one.ledger.claims.retry("statements", b"/a")
    assert one.fetch().published == 1
    assert one.files() == {"a": CONTENT}


def test_a_file_replaced_before_its_hash_was_asked_is_no_failure(
    scripted: ScriptedServer, fetching: Open
) -> None:
    """Another version is there by now: an outcome, not an attempt."""

    def replaced(talk: Talk, _: bytes) -> None:
        talk.server.files[b"/a"] = CONTENT + b"more"
        talk.reply(f"213 SHA-256 0-9 {'0' * 64} /a")

    scripted.when("HASH", replaced)
    one = fetching(scripted)
    outcome = fetched(one)
    assert (outcome.published, outcome.failed, outcome.changed) == (0, 0, 1)
    assert one.files() == {}


def test_a_server_without_hashes_is_believed_by_size(start_server: StartServer, tmp_path: Path) -> None:
    """Published; `check` says what that proof is worth, and what to do."""
    site = Site(tmp_path, start_server("pyftpdlib"), route={"verify": "hash"})
    site.put("a.xml")
    assert "1 file published" in site.towline("run", "statements").stdout
    [finding] = [one for one in site.json("check")["endpoints"][0]["findings"] if one["what"] == "verify"]
    assert finding["about"] == "statements"
    assert "offers no hash" in finding["told"]
    assert "verify" in finding["remedy"]


def test_check_tells_the_hash_that_will_be_asked_for(start_server: StartServer, tmp_path: Path) -> None:
    """ProFTPD has SHA-256; a route that doesn't ask hears nothing of it."""
    server = start_server("proftpd", tls_version="1.2")
    site = Site(tmp_path / "asks", server, route={"verify": "hash"})
    told = [one["told"] for one in site.json("check")["endpoints"][0]["findings"] if one["what"] == "verify"]
    assert told == ["SHA-256, as the server tells it of each file"]
    findings = Site(tmp_path / "asks not", server).json("check")["endpoints"][0]["findings"]
    assert all(one["what"] != "verify" for one in findings)

"""Digests as servers tell them: which command is asked, and what the many forms of the answer say."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.dialogue import Talk
from tests.faults.scripted import Answer, ScriptedServer
from workers.ftps.connection import Connection
from workers.ftps.control import Reply
from workers.ftps.digests import Digest, Way, patience, ways
from workers.ftps.errors import BadName, Missing, Refused
from workers.ftps.states import State
from workers.stores.local import LocalFolder

Script = Callable[..., ScriptedServer]
Connect = Callable[..., Connection]

CONTENT = b"hello"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


def asked(server: ScriptedServer) -> list[str]:
    """The commands, but for the NOOP that follows each question."""
    return [command for command in server.commands if command != "NOOP"]


def test_ways_are_sorted_by_what_they_cost_and_prove() -> None:
    """SHA-256 is computed anyway; HASH before the X commands; what was chosen already needs no OPTS."""
    offered = [
        "XCRC",
        "XMD5",
        "MD5",
        "XSHA512",
        "XSHA256",
        "HASH CRC32;MD5;SHA-1*;SHA-256;SHA-512;WHAT",
        "SIZE",
    ]
    found = [(way.algorithm, way.verb, way.selects) for way in ways(offered)]
    assert found == [
        ("SHA-256", "HASH", True),
        ("SHA-256", "XSHA256", False),
        ("SHA-512", "HASH", True),
        ("SHA-512", "XSHA512", False),
        ("SHA-1", "HASH", False),
        ("MD5", "HASH", True),
        ("MD5", "XMD5", False),
        ("MD5", "MD5", False),
        ("CRC32", "HASH", True),
        ("CRC32", "XCRC", False),
    ]
    assert ways(["SIZE", "MDTM", "HASH"]) == []


@pytest.mark.parametrize(
    ("way", "lines", "digest"),
    [
        # ProFTPD's mod_digest
        (Way("SHA-256", "HASH"), [b"Computing", f" SHA-256 0-5 {SHA256} /a b".encode()], SHA256),
        (Way("SHA-256", "XSHA256"), [b"Computing", f" {SHA256.upper()}".encode()], SHA256),
        (Way("MD5", "MD5"), [b"Computing", f" /a b {MD5.upper()}".encode()], MD5),
        # words around it
        (Way("CRC32", "XCRC"), [b"XCRC is 3610A686."[:-1]], "3610a686"),
        (Way("CRC32", "XCRC"), [b"A686"], "0000a686"),
        (Way("MD5", "XMD5"), [f"/a b = {MD5}".encode()], MD5),
        # nothing that can be believed
        (Way("SHA-256", "HASH"), [b"SHA-256 0-5 abc /a b"], None),
        (Way("SHA-256", "HASH"), [b"WHIRLPOOL 0-5 abc /a b"], None),
        (Way("MD5", "XMD5"), [f"{MD5} {'0' * 32}".encode()], None),
        (Way("CRC32", "XCRC"), [b"the checksum"], None),
    ],
)
def test_what_an_answer_says(way: Way, lines: list[bytes], digest: str | None) -> None:
    """The digest, or nothing: a guess would fail good files, or pass bad ones."""
    told = way.told(b"/a b", Reply(250, tuple(lines)))
    assert told == (None if digest is None else Digest(way.algorithm, digest))


def test_a_file_that_is_called_by_its_digest() -> None:
    """The name in the answer is not the digest."""
    path = f"/{MD5}".encode()
    reply = Reply(251, (path + b" " + b"0" * 32,))
    assert Way("MD5", "MD5").told(path, reply) == Digest("MD5", "0" * 32)


def test_the_answer_tells_the_algorithm(script: Script, connect: Connect) -> None:
    """A server that refuses to choose hashes as it always does, and says so."""
    answers: dict[str, Answer] = {
        "FEAT": b"211-F\r\n HASH MD5*;SHA-256\r\n211 End",
        "OPTS": b"501 No",
        "HASH": f"213 MD5 0-5 {MD5} /a".encode(),
    }
    server = script(answers)
    line = connect(server)
    assert line.digest(b"/a", size=5) == Digest("MD5", MD5)
    assert asked(server)[-2:] == ["OPTS HASH SHA-256", "HASH /a"]
    assert line.state is State.READY


def test_the_next_way_where_one_is_not_there_after_all(script: Script, connect: Connect) -> None:
    """FEAT may promise too much; where every way fails nothing is told, and the line goes on."""
    answers: dict[str, Answer] = {
        "FEAT": b"211-F\r\n XSHA256\r\n XSHA1\r\n XCRC\r\n211 End",
        "XSHA256": b"502 Not here",
        "XSHA1": b"250 what?",
        "XCRC": b"250 3610A686",
    }
    server = script(answers)
    line = connect(server)
    assert line.digest(b"/a b", size=5) == Digest("CRC32", f"{zlib.crc32(CONTENT):08x}")
    assert asked(server)[-3:] == ['XSHA256 "/a b"', 'XSHA1 "/a b"', 'XCRC "/a b"']
    server.forget("XCRC")
    server.when("XCRC", b"501 Too many words")
    assert line.digest(b"/a", size=5) is None
    assert connect(script({"FEAT": b"500 No"})).digest(b"/a", size=5) is None
    assert line.state is State.READY


def test_what_is_said_of_the_file_is_raised(script: Script, connect: Connect) -> None:
    """A missing file, a forbidden one; a name that no command can carry is not sent."""
    server = script({"FEAT": b"211-F\r\n HASH SHA-256*\r\n211 End", "HASH": b"550 /a: No such file"})
    line = connect(server)
    with pytest.raises(Missing):
        line.digest(b"/a", size=5)
    server.forget("HASH")
    server.when("HASH", b"553 Not a regular file")
    with pytest.raises(Refused):
        line.digest(b"/a", size=5)
    with pytest.raises(BadName):
        line.digest(b"/a\r\nDELE b", size=5)
    assert line.state is State.READY
    assert asked(server)[-1] == "HASH /a"


def test_a_large_file_may_take_its_time(script: Script, connect: Connect) -> None:
    """The reply's deadline grows with what the server has to read."""

    def slow(talk: Talk, _: bytes) -> None:
        time.sleep(1.2)
        talk.reply(f"213 SHA-256 0-5 {SHA256} /a".encode())

    server = script({"FEAT": b"211-F\r\n HASH SHA-256*\r\n211 End", "HASH": slow})
    line = connect(server, reply_timeout=1.0)
    assert line.digest(b"/a", size=300_000_000) == Digest("SHA-256", SHA256)
    assert patience(10_000_000) == pytest.approx(1.0)


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-512", "SHA-1", "MD5", "CRC32"])
def test_a_temp_tells_each_digest(tmp_path: Path, algorithm: str) -> None:
    """Of all it holds, a resumed beginning included."""
    folder = LocalFolder(tmp_path, route="r", mode=0o600)
    temp = folder.open_temp(b"a", ".towline-x", resume=True)
    temp.write(b"he")
    temp.close()
    temp = folder.open_temp(b"a", ".towline-x", resume=True)
    temp.write(b"llo")
    name = algorithm.replace("-", "").lower()
    expected = f"{zlib.crc32(CONTENT):08x}" if name == "crc32" else hashlib.new(name, CONTENT).hexdigest()
    assert temp.digest(algorithm) == expected
    temp.close()

"""What uses each command of the dialogue, and sees for itself that it was done whole."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.faults.push import Push, Scene
from tests.faults.scripted import Answer, ScriptedServer
from tests.waiting import wait_until
from workers.batch import Outcome
from workers.ftps.connection import Connection, Digest
from workers.ftps.errors import Refused
from workers.receiving import Wanted, receive
from workers.sending import push_batch
from workers.stores.local import LocalFolder

FILE = bytes(range(256)) * 2_000
BLOCK = bytes(range(256)) * 4_096
BLOCKS = 16  # of them, more than the sockets between us hold
BEGUN = 1_000  # bytes of an upload that are there already, for APPE
UPLOAD = BLOCK * BLOCKS

MODIFIED = 1_767_323_045.0

Through = Callable[[Scene], None]


@dataclass(frozen=True, slots=True)
class Use:
    """One operation.

    verb: of the command at which the fault strikes. do: the operation on a line; whether the server told all
    that was asked; anything that isn't whole is an AssertionError. through: the same as the product does it
    by a session, where more than a replay belongs to it. ordinary: what this server answers otherwise than
    others. opening: the command is one of those that open a line. active, asides: how the line is used.
    """

    verb: str
    do: Callable[[Connection, ScriptedServer], bool]
    through: Through | None = None
    ordinary: Mapping[str, Answer] = field(default_factory=dict)
    opening: bool = False
    active: bool = False
    asides: bool = False


def witness(line: Connection) -> None:
    """Questions whose answers can't be taken for each other's: all that comes belongs to its command."""
    line.noop()
    line.mkdir(b"/witness")
    line.noop()


def _noop(line: Connection, _: ScriptedServer) -> bool:
    line.noop()
    return True


def _retrieve(line: Connection, _: ScriptedServer) -> bool:
    got = bytearray()
    assert line.retrieve(b"/a.bin", got.extend, size=len(FILE)) == len(FILE)
    assert got == FILE
    return True


def _retrieve_all(line: Connection, _: ScriptedServer) -> bool:
    got = bytearray()
    line.retrieve(b"/a.bin", got.extend)
    assert got == FILE
    return True


def _resume(line: Connection, _: ScriptedServer) -> bool:
    got = bytearray()
    line.retrieve(b"/a.bin", got.extend, offset=1_000, size=len(FILE))
    assert got == FILE[1_000:]
    return True


def _received(size: int | None) -> Through:
    """The product's own way to receive a file."""

    def through(scene: Scene) -> None:
        temp = LocalFolder(scene.folder).open_temp(b"a.bin", ".towline-temp", resume=False)
        wanted = Wanted(b"/a.bin", size, None, 1.0)
        receive(scene.session, wanted, temp, tally=scene.tally, go_on=lambda: None)
        temp.close()
        assert (scene.folder / ".towline-temp").read_bytes() == FILE

    return through


def _list(line: Connection, _: ScriptedServer) -> bool:
    with line.listing(b"/") as listing:
        assert {entry.name: entry.size for entry in listing} == {b"a.bin": len(FILE), b"up": BEGUN}
    assert listing.complete
    return True


def _blocks(offset: int) -> Iterator[memoryview]:
    whole = memoryview(UPLOAD)
    for at in range(offset, len(UPLOAD), len(BLOCK)):
        yield whole[at : at + len(BLOCK)]


def _store(line: Connection, server: ScriptedServer) -> bool:
    line.store(b"/up", _blocks(0), size=len(UPLOAD))
    wait_until(lambda: server.files[b"/up"] == UPLOAD, what="what was called whole is whole")
    return True


def _append(line: Connection, server: ScriptedServer) -> bool:
    [there] = line.stat([b"/up"])
    assert there is not None
    assert there.size is not None
    line.append(b"/up", _blocks(there.size), offset=there.size, size=len(UPLOAD))
    wait_until(lambda: server.files[b"/up"] == UPLOAD, what="what was called whole is whole")
    return True


def _pushed(verb: str) -> Through:
    """The product's own way to send a file: a batch of a push route. APPE: an earlier worker has begun."""

    def through(scene: Scene) -> None:
        pushed = Outcome()
        push = Push(scene, UPLOAD)
        claims = push.begun(UPLOAD[:BEGUN]) if verb == "APPE" else push.claim()
        push_batch(push.work, push.folder, claims, pushed)
        if pushed.failed:
            told = push.error()
            assert told.startswith(f"{verb}: 552 "), told
            raise Refused(verb, 552, told)
        assert pushed.published == 1
        assert scene.server.files == {b"/a.bin": FILE, b"/up": UPLOAD}

    return through


def _stat(line: Connection, _: ScriptedServer) -> bool:
    [there, absent] = line.stat([b"/a.bin", b"/absent"])
    assert absent is None
    if there is None:
        raise FileNotFoundError
    assert there.size in (None, len(FILE))
    assert there.modified in (None, MODIFIED)
    return None not in (there.size, there.modified)


def _unique(line: Connection, _: ScriptedServer) -> bool:
    told = line.unique(b"/a.bin")
    assert told in (None, b"9x7")
    return told is not None


def _set_time(line: Connection, _: ScriptedServer) -> bool:
    return line.set_modified([(b"/a.bin", MODIFIED)])


def _rename(line: Connection, server: ScriptedServer) -> bool:
    line.rename(b"/a.bin", b"/b.bin")
    assert b"/b.bin" in server.files
    return True


def _delete(line: Connection, server: ScriptedServer) -> bool:
    line.delete(b"/a.bin")
    assert b"/a.bin" not in server.files
    return True


def _mkdir(line: Connection, _: ScriptedServer) -> bool:
    line.mkdir(b"/folder")
    return True


def _digest(algorithm: str, digits: str) -> Callable[[Connection, ScriptedServer], bool]:
    def do(line: Connection, _: ScriptedServer) -> bool:
        told = line.digest(b"/a.bin", size=0)
        assert told in (None, Digest(algorithm, digits))
        return told is not None

    return do


def _close(line: Connection, _: ScriptedServer) -> bool:
    line.close()
    return True


def _feat(*lines: str) -> str:
    return "\r\n ".join(("211-Features:", *lines)) + "\r\n211 End"


NO_MLSD = {"FEAT": _feat("SIZE", "MDTM", "REST STREAM")}
NO_SIZE = {"FEAT": _feat("MLST type*;size*;modify*;", "REST STREAM")}
_DIGESTS = {
    "XSHA512": ("SHA-512", hashlib.sha512(FILE).hexdigest(), "250"),
    "XSHA256": ("SHA-256", hashlib.sha256(FILE).hexdigest(), "250"),
    "XSHA1": ("SHA-1", hashlib.sha1(FILE).hexdigest(), "250"),
    "XMD5": ("MD5", hashlib.md5(FILE).hexdigest(), "250"),
    "MD5": ("MD5", hashlib.md5(FILE).hexdigest(), "251"),
    "XCRC": ("CRC32", f"{zlib.crc32(FILE):08x}", "250"),
}
_SHA256 = hashlib.sha256(FILE).hexdigest()
_HASH = {"HASH": f"213 SHA-256 0-{len(FILE)} {_SHA256} /a.bin"}

USES: dict[str, Use] = {
    **{
        verb: Use(verb, _noop, opening=True)
        for verb in ("CONNECT", "AUTH", "USER", "PASS", "PBSZ", "PROT", "TYPE", "FEAT", "OPTS")
    },
    "NOOP": Use("NOOP", _noop),
    "EPSV": Use("EPSV", _retrieve),
    "PASV": Use("PASV", _retrieve, ordinary={"EPSV": "500 What?"}),
    "EPRT": Use("EPRT", _retrieve, active=True),
    "PORT": Use("PORT", _retrieve, ordinary={"EPRT": "500 What?"}, active=True),
    "REST": Use("REST", _resume),
    "RETR": Use("RETR", _retrieve, _received(len(FILE))),
    "RETR?": Use("RETR", _retrieve_all, _received(None), NO_SIZE),
    "MLSD": Use("MLSD", _list),
    "LIST": Use("LIST", _list, ordinary=NO_MLSD),
    "STOR": Use("STOR", _store, _pushed("STOR")),
    "STOR?": Use("STOR", _store, _pushed("STOR"), NO_SIZE),
    "APPE": Use("APPE", _append, _pushed("APPE")),
    "SIZE": Use("SIZE", _stat),
    "MDTM": Use("MDTM", _stat),
    "MLST": Use("MLST", _unique, ordinary={"MLST": "250-Here:\r\n type=file;unique=9x7; /a.bin\r\n250 End"}),
    "MFMT": Use("MFMT", _set_time, ordinary={"FEAT": _feat("MFMT"), "MFMT": "213 Modify=2026; /a.bin"}),
    "SETTIME": Use("MDTM", _set_time, ordinary={"MDTM": "213 As you like."}),
    "RNFR": Use("RNFR", _rename),
    "RNTO": Use("RNTO", _rename),
    "DELE": Use("DELE", _delete),
    "MKD": Use("MKD", _mkdir),
    "CHOOSE": Use("OPTS", _digest("SHA-256", _SHA256), ordinary=_HASH | {"FEAT": _feat("HASH MD5*;SHA-256")}),
    "HASH": Use("HASH", _digest("SHA-256", _SHA256), ordinary=_HASH | {"FEAT": _feat("HASH SHA-256*")}),
    **{
        verb: Use(verb, _digest(name, digits), ordinary={"FEAT": _feat(verb), verb: f"{code} {digits}"})
        for verb, (name, digits, code) in _DIGESTS.items()
    },
    "PWD": Use("PWD", _retrieve, asides=True),
    "QUIT": Use("QUIT", _close),
}
"""By the rows of the table."""

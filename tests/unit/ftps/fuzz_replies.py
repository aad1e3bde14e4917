"""Replies for a coverage-guided fuzzer: the parser, and everyone who reads a number or a name out of a reply.

    make fuzz        or: python -m tests.unit.ftps.fuzz_replies -max_total_time=600 FOLDER     (needs atheris)

The first byte of an input says where it is cut in two. A find is whatever is raised besides the errors that a
line may end in, and replies that depend on the cut. It becomes a test.
"""

from __future__ import annotations

import contextlib
from typing import cast

from tests.unit.ftps.fuzzing import run
from workers.ftps.control import Control, Reply, ReplyParser, refusal
from workers.ftps.data import ask_for_port
from workers.ftps.dialogue import greet, log_in, prepare
from workers.ftps.digests import ways
from workers.ftps.errors import FtpsError
from workers.ftps.features import Features
from workers.ftps.inquiry import stat_of
from workers.ftps.stream import Stream
from workers.ftps.verbs import VERBS

SAID = (
    b"220-Welcome\r\n220 ready\r\n331 go on\r\n230 in\r\n",
    b"211-Features:\r\n MLST size*;modify*;\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n UTF8\r\n"
    b" HASH SHA-256;SHA-1*;MD5\r\n XSHA512\r\n XCRC\r\n211 End\r\n200 ok\r\n200 ok\r\n",
    b"229 Entering Extended Passive Mode (|||50123|)\r\n",
    b"227 Entering Passive Mode (127,0,0,1,195,203).\r\n",
    b"213 1024\r\n213 20260102030405.678\r\n",
    b"213 SHA-256 0-10 " + b"ab" * 32 + b" /a b\r\n250 " + b"AB" * 16 + b"\r\n213 5e\r\n",
    b"550 No such file\r\n530 Too many users\r\n421 bye\r\n",
    b"150-first\r\n 226 not yet\r\n150 go\r\n226 done\r\n",
)
"""A dialogue in pieces: where the fuzzer begins, and what the Hypothesis tests mangle."""


class _Peer:
    """Stands for the stream under a control connection: whatever is asked, the next line is the answer."""

    host = "127.0.0.1"
    tls = None

    def __init__(self, said: bytes) -> None:
        self._said = said

    def write(self, _data: bytes, _until: float) -> None:
        """Nobody reads it."""

    def acknowledge(self) -> None:
        """Nobody waits for it."""

    def read_now(self, _most: int) -> bytes | None:
        """Nothing comes unasked."""
        return None

    def read_into(self, buffer: memoryview, _until: float) -> int:
        """A line at a time; when all has been said, the line ends."""
        end = self._said.find(b"\n") + 1 or len(self._said)
        got = min(end, len(buffer))
        buffer[:got] = self._said[:got]
        self._said = self._said[got:]
        return got


def _control(said: bytes) -> Control:
    return Control(cast(Stream, _Peer(said)))


def parsed(*pieces: bytes) -> tuple[list[Reply], str | None]:
    """The replies in a stream that comes in these pieces, and the protocol error that ended it."""
    parser = ReplyParser()
    replies: list[Reply] = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while (reply := parser.next()) is not None:
                replies.append(reply)
    except FtpsError as end:
        return replies, str(end)
    return replies, None


def consult(replies: list[Reply]) -> None:
    """Let everyone who reads replies read these: they may raise what a line may end in, and nothing else."""
    for reply in replies:
        str(refusal("RETR", reply))
        features = Features.from_feat(reply.lines)
        assert Features.from_json(features.to_json()) == features
        for way in ways(line.decode("utf-8", "replace") for line in reply.lines):
            digest = way.told(b"/a b", reply)
            assert digest is None or digest.hex == digest.hex.lower()
        for verb in ("SIZE", "MDTM"):
            found = stat_of({verb: reply})
            assert found is None or found.size is None or found.size >= 0
    for first in range(len(replies)):
        rest = b"".join(_written(reply) for reply in replies[first:])
        for epsv in (True, False):
            with contextlib.suppress(FtpsError):
                trusted = ("127.0.0.0/8", "::1/128")
                told = ask_for_port(_control(rest), epsv=epsv, trusted=trusted, timeout=1.0)
                assert 0 < told.port < 65536
                assert told.host.isascii()
        with contextlib.suppress(FtpsError):
            greet(_control(rest), 0.0)
        with contextlib.suppress(FtpsError):
            log_in(_control(rest), "ü", "hunter2", "utf-8", 0.0)
        with contextlib.suppress(FtpsError):
            prepare(_control(rest), "utf-8", None, 0.0, banner="")


def _written(reply: Reply) -> bytes:
    """As it came, but for the code in front of lines in between."""
    code = b"%d" % reply.code
    *others, last = reply.lines
    return b"".join(code + b"-" + line + b"\n" for line in others) + code + b" " + last + b"\n"


def one_input(data: bytes) -> None:
    """The same replies however they are cut, and nobody trips over them."""
    cut, stream = data[:1][0] if data else 0, data[1:]
    replies, end = parsed(stream)
    assert parsed(stream[:cut], stream[cut:]) == (replies, end)
    consult(replies[:8])


def seeds() -> list[bytes]:
    """A dialogue in pieces, and a reply for every code that some command accepts."""
    codes = sorted({code for verb in VERBS.values() for code in verb.accepts | verb.preliminary})
    return [b"\x10" + said for said in (*SAID, *(b"%d said\r\n" % code for code in codes))]


if __name__ == "__main__":
    run(one_input, seeds())

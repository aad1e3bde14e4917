"""Replies for a coverage-guided fuzzer: the parser, and everyone who reads a number or a name out of a reply.

    make fuzz        or: python -m tests.unit.ftps.fuzz_replies -max_total_time=600 FOLDER     (needs atheris)

The first byte of an input says where it is cut in two. A find is whatever is raised besides the errors that a
line may end in, and replies that depend on the cut. It becomes a test.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import cast

from tests.unit.ftps.fuzzing import run
from workers.ftps.control import VERBS, Control, Reply, ReplyParser, refusal
from workers.ftps.data import ask_for_port
from workers.ftps.dialogue import greet, log_in, prepare
from workers.ftps.digests import ways
from workers.ftps.errors import FtpsError
from workers.ftps.features import Features
from workers.ftps.inquiry import stat_of

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


class _Script:
    """Stands for a control connection whose replies are given, whatever is asked."""

    def __init__(self, replies: list[Reply]) -> None:
        self._replies = list(replies)
        self.stream = SimpleNamespace(host="127.0.0.1")

    def expect_greeting(self) -> None:
        """Nothing is sent."""

    def send_all(self, _commands: object, *, until: float) -> None:
        """Nothing is sent."""

    def reply(self, _until: float) -> Reply:
        """The next one; when they are used up, the line has ended."""
        if not self._replies:
            raise FtpsError("no more replies")
        return self._replies.pop(0)

    def ask(self, _verb: str, _argument: bytes = b"", *, until: float) -> Reply:
        """The next one."""
        return self.reply(until)


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
        rest = replies[first:]
        for epsv in (True, False):
            with contextlib.suppress(FtpsError):
                control = cast(Control, _Script(rest))
                told = ask_for_port(control, epsv=epsv, trusted=("127.0.0.0/8", "::1/128"), timeout=1.0)
                assert 0 < told.port < 65536
                assert told.host.isascii()
        with contextlib.suppress(FtpsError):
            greet(cast(Control, _Script(rest)), 0.0)
        with contextlib.suppress(FtpsError):
            log_in(cast(Control, _Script(rest)), "ü", "hunter2", "utf-8", 0.0)
        with contextlib.suppress(FtpsError):
            prepare(cast(Control, _Script(rest)), "utf-8", None, 0.0)


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

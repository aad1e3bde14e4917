"""The reply parser: any chopping gives the same replies, and no peer can make it grow without end."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ftps.fuzz_replies import SAID, consult, parsed
from workers.ftps.control import MAX_LINE, MAX_REPLY, Reply, ReplyParser, command, refusal
from workers.ftps.errors import BadName, Forbidden, Missing, ProtocolError, Refused

codes = st.integers(100, 599)
texts = st.binary(max_size=60).filter(lambda text: b"\n" not in text and not text.endswith(b"\r"))


def parse(*pieces: bytes) -> list[Reply]:
    parser = ReplyParser()
    replies = []
    for piece in pieces:
        parser.feed(piece)
        while (reply := parser.next()) is not None:
            replies.append(reply)
    return replies


def written(code: int, lines: list[bytes], end: bytes) -> bytes:
    if len(lines) == 1:
        return b"%d %b%b" % (code, lines[0], end)
    middle = b"".join(b" " + line + end for line in lines[1:-1])
    return b"%d-%b%b%b%d %b%b" % (code, lines[0], end, middle, code, lines[-1], end)


@given(
    replies=st.lists(st.tuples(codes, st.lists(texts, min_size=1, max_size=4)), max_size=5),
    end=st.sampled_from([b"\r\n", b"\n"]),
    cuts=st.lists(st.integers(0, 400)),
)
def test_chopping_changes_nothing(
    replies: list[tuple[int, list[bytes]]], end: bytes, cuts: list[int]
) -> None:
    """However TCP cuts the stream, the same replies come out."""
    stream = b"".join(written(code, lines, end) for code, lines in replies)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert [(reply.code, len(reply.lines)) for reply in parse(*pieces)] == [
        (code, len(lines)) for code, lines in replies
    ]
    assert parse(*pieces) == parse(stream)


@given(st.lists(st.binary(max_size=50)))
def test_garbage_ends_in_replies_or_in_a_protocol_error(pieces: list[bytes]) -> None:
    """Nothing a peer sends raises anything else."""
    with contextlib.suppress(ProtocolError):
        parse(*pieces)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A dialogue that is almost right: pieces in any order, some bytes exchanged."""
    stream = bytearray(b"".join(draw(st.lists(st.sampled_from(SAID), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(stream)))
        odd = st.sampled_from([b"\r\n", b"0", b"9" * 20, b",", b"|", "²".encode(), "٣".encode(), b"\xff"])
        stream[at : at + draw(st.integers(0, 6))] = draw(st.one_of(st.binary(max_size=4), odd))
    return bytes(stream)


@given(stream=mangled())
def test_whoever_reads_a_reply_reads_any(stream: bytes) -> None:
    """Features, ports, sizes, times and digests: they are found, or the line ends as lines do."""
    replies, _ = parsed(stream)
    consult(replies)


@pytest.mark.parametrize(
    "said",
    [
        "229 (²²²50123²)",  # a delimiter that str.isdigit takes for a digit
        "227 (078,0,0,1,195,203)",  # zeros that ipaddress refuses
        "227 (٣,0,0,1,195,203)",  # digits of other scripts, which \\d matches
        "213 ²",
    ],
)
def test_odd_digits_in_a_reply_are_no_crash(said: str) -> None:
    """A fuzzer's finds: each ended in a ValueError, which is nobody's error class."""
    replies, _ = parsed(said.encode() + b"\r\n")
    assert len(replies) == 1
    consult(replies)


def test_a_reply_of_many_lines_ends_with_its_own_code() -> None:
    """Lines in between may look like replies (RFC 959 §4.2)."""
    (reply,) = parse(b"211-Features:\r\n 220 no\r\n226 no\r\n211-still\r\n211 End\r\n")
    assert reply.code == 211
    assert reply.lines == (b"Features:", b" 220 no", b"226 no", b"still", b"End")


def test_a_code_alone_is_a_reply() -> None:
    """Some servers say nothing besides the code."""
    assert parse(b"200\r\n") == [Reply(200, (b"",))]


@pytest.mark.parametrize("line", [b"hello", b"2000 x", b"20x x", b"099 x", b"600 x", b"", b"\xb2\xb2\xb2 x"])
def test_what_is_no_reply_is_refused(line: bytes) -> None:
    """Three digits of 1 to 5 and a blank or hyphen, or it is something else."""
    with pytest.raises(ProtocolError):
        parse(line + b"\r\n")


def test_a_line_without_end_is_refused() -> None:
    """Memory stays bounded (field note 41)."""
    parser = ReplyParser()
    parser.feed(b"200 " + b"z" * MAX_LINE)
    with pytest.raises(ProtocolError, match="line longer"):
        parser.next()


def test_a_reply_of_lines_without_end_is_refused() -> None:
    """Memory stays bounded (field note 41)."""
    with pytest.raises(ProtocolError, match="reply longer"):
        parse(b"211-x\r\n", *[b"z" * 1000 + b"\r\n"] * (MAX_REPLY // 1000 + 1))


def test_half_a_reply_is_noticed() -> None:
    """The parser tells whether bytes wait in it: also between the lines of one reply."""
    parser = ReplyParser()
    assert not parser.holds_bytes
    for piece in (b"21", b"1-x\r\n"):
        parser.feed(piece)
        assert parser.next() is None
        assert parser.holds_bytes
    parser.feed(b"211 y\r\n")
    assert parser.next() is not None
    assert not parser.holds_bytes


def test_a_refused_password_is_not_quoted() -> None:
    """Not even by the error about the characters in it."""
    with pytest.raises(BadName) as told:
        command("PASS", b"hunter2\n")
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"/x: No such file or directory", Missing),
        (b"File not found", Missing),
        (b"Can't check for file existence", Missing),
        (b"Permission denied", Forbidden),
        (b"Failed to open file.", Refused),
    ],
)
def test_missing_is_told_from_forbidden_as_far_as_words_go(said: bytes, kind: type) -> None:
    """The five phrases are ProFTPD's, IIS's, Pure-FTPd's, everybody's and vsftpd's."""
    error = refusal("RETR", Reply(550, (said,)))
    assert type(error) is kind
    assert (error.verb, error.code) == ("RETR", 550)

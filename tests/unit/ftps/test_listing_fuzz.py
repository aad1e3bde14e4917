"""Bytes that nobody has thought of: every parser gives entries or sets a line aside, and no more."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ftps.corpus import listings
from tests.unit.ftps.fuzz_listing import NOW, READERS, read_all
from workers.ftps.dialects.dialect import Dialect
from workers.ftps.dialects.os400 import OS400
from workers.ftps.dialects.unix import UNIX
from workers.ftps.dialects.windows import WINDOWS
from workers.ftps.entry import BadLine, BadLines, Entry
from workers.ftps.listing import parse_list_line, parse_mlsd_line, read_list, read_mlsd
from workers.ftps.times import Clock

_SEEDS = {dialect: [line for listed in listings(dialect) for line in listed.lines] for dialect in READERS}
_FILES = {"Unix": "unix", "Windows": "windows", "OS/400": "os400"}
_NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: b"\n" not in name and not name.endswith(b"\r") and name not in (b".", b"..")
)
_FACTS = st.lists(
    st.tuples(
        st.sampled_from([b"type", b"Type", b"size", b"modify", b"MODIFY", b"unique", b"perm", b"UNIX.group"]),
        st.sampled_from([b"=", b"=", b"=", b""]),
        st.sampled_from(
            [
                b"file",
                b"dir",
                b"File",
                b"cdir",
                b"OS.unix=slink:a b",
                b"7",
                b"20260102030405",
                b"x y",
                b"",
                b"-1",
            ]
        ),
    ),
    max_size=6,
)


@st.composite
def mangled(draw: st.DrawFn, dialect: str) -> bytes:
    """A listing of lines that are almost right: some cut, some glued, some with bytes exchanged."""
    lines = draw(st.lists(st.sampled_from(_SEEDS[dialect]), min_size=1, max_size=6))
    text = bytearray(b"\r\n".join(lines))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 6))] = draw(
            st.one_of(
                st.binary(max_size=4), st.sampled_from([b" ", b";", b"=", b"9" * 30, b"/", b"\xff", b"-> "])
            )
        )
    return bytes(text)


@pytest.mark.parametrize("dialect", READERS)
@given(data=st.data())
def test_no_listing_raises(dialect: str, data: st.DataObject) -> None:
    """Whatever came of a listing, its lines are entries, nothing, or set aside."""
    text = data.draw(st.one_of(mangled(dialect), st.binary(max_size=300)))
    entries, bad = read_all(dialect, text)
    assert len(entries) + bad <= text.count(b"\n") + 1
    for entry in entries:
        assert isinstance(entry.modified, (float, type(None)))
        assert 0 < entry.precision_s <= 86400
        assert entry.size is None or entry.size >= 0
        assert entry.name in text or any(entry.name in line for line in text.split(b"\r\n"))


@pytest.mark.parametrize("dialect", READERS)
@given(data=st.data())
def test_no_line_by_itself_raises_more_than_bad_line(dialect: str, data: st.DataObject) -> None:
    """An entry, nothing, or BadLine."""
    line = data.draw(mangled(dialect))
    for parse in (parse_mlsd_line, lambda line: parse_list_line(line, now=NOW, zone="Europe/Vienna")):
        with contextlib.suppress(BadLine):
            assert isinstance(parse(line), (Entry, type(None)))


@given(lines=st.lists(st.tuples(_FACTS, st.sampled_from([b"; ", b" ", b";", b";  "]), _NAMES), max_size=8))
def test_lines_matched_by_shape_mean_what_they_mean_taken_to_pieces(
    lines: list[tuple[list[tuple[bytes, bytes, bytes]], bytes, bytes]],
) -> None:
    """The quick way and the careful one give the same entries, in whatever company a line comes."""
    sent = [b";".join(b"".join(fact) for fact in facts) + end + name for facts, end, name in lines]
    slow: list[Entry] = []
    bad = 0
    for line in sent * 2:
        try:
            entry = parse_mlsd_line(line)
        except BadLine:
            bad += 1
            continue
        if entry is not None:
            slow.append(entry)
    found = BadLines()
    assert list(read_mlsd([b"".join(line + b"\n" for line in sent * 2)], found)) == slow
    assert found.count == bad


@pytest.mark.parametrize(
    ("front", "kind"),
    [
        (b"type=file;size=1;modify=20260102030405; ", "file"),
        (b"type=dir;modify=20260102030405; ", "dir"),
        (b"-rw-r--r--   1 acme     users         123 Apr  2  2024 ", "file"),
        (b"-rw-r--r--   1 acme     users         123 Nov 22 11:47 ", "file"),
        (b"04-22-26  05:04PM                  123 ", "file"),
        (b"04-22-26  05:04PM       <DIR>          ", "dir"),
        (b"ACME              123 11/22/26 11:47:12 *STMF      ", "file"),
    ],
)
@given(name=_NAMES)
def test_names_come_out_as_they_went_in(front: bytes, kind: str, name: bytes) -> None:
    """With all their blanks, slashes, semicolons and odd bytes."""
    bad = BadLines()
    text = front + name + b"\r\n"
    mlsd = front.startswith(b"type")
    entries = list(read_mlsd([text], bad) if mlsd else read_list([text], bad, now=NOW, zone="UTC"))
    if not name.strip(b" ") and b"*" in front:
        assert bad.count == 1
        return
    assert [(entry.name, entry.kind) for entry in entries] == [(name, kind)]


@given(name=_NAMES)
def test_a_folders_name_loses_no_slash_but_the_one_that_says_it_is_a_folder(name: bytes) -> None:
    """`ls -p` and OS/400 put one behind a folder's name; within a name it stays, and is refused elsewhere."""
    for front in (
        b"drwxr-xr-x   1 acme     users         123 Apr  2  2024 ",
        b"ACME              123 11/22/26 11:47:12 *DIR       ",
    ):
        entries = list(read_list([front + name + b"\r\n"], BadLines(), now=NOW, zone="UTC"))
        marked = len(name) > 1 and name.endswith(b"/") and b"/" not in name[:-1]
        for entry in entries:
            assert entry.name == (name[:-1] if marked else name)


@pytest.mark.parametrize("dialect", [UNIX, WINDOWS, OS400], ids=lambda dialect: str(dialect.name))
@given(data=st.data())
def test_what_a_dialect_knows_it_can_read(dialect: Dialect, data: st.DataObject) -> None:
    """A line by which a dialect is chosen is none that it then sets aside."""
    line = data.draw(mangled(_FILES[dialect.name]))
    if dialect.knows(line):
        bad = BadLines()
        list(dialect.read([line], Clock.of(NOW, "UTC"), bad))
        assert bad.count == 0

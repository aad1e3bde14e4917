"""Lines of MLSD and LIST, as real servers write them and as broken ones might."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.ftps.errors import ProtocolError
from workers.ftps.listing import (
    MAX_LINE,
    BadLine,
    BadLines,
    Entry,
    LineSplitter,
    parse_list_line,
    parse_mlsd_line,
    parse_time_value,
    read_mlsd,
)


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


NOW = at(2026, 11, 22, 12, 0)


def listed(line: bytes, *, now: float = NOW, zone: str = "UTC") -> Entry | None:
    return parse_list_line(line, now=now, zone=zone)


# -- MLSD


def test_a_file_with_all_its_facts() -> None:
    """ProFTPD's facts, with a fraction of a second as RFC 3659 allows it."""
    line = b"modify=20260102030405.250;perm=adfrw;size=42;type=file;unique=FE00U14;UNIX.mode=0644; a.txt"
    assert parse_mlsd_line(line) == Entry(
        b"a.txt", "file", 42, at(2026, 1, 2, 3, 4, 5) + 0.25, 0.001, b"FE00U14"
    )


@pytest.mark.parametrize("line", [b"type=cdir;modify=20260102030405; .", b"Type=pdir; /up"])
def test_the_folder_itself_and_its_parent_are_no_entries(line: bytes) -> None:
    """In any case of letters."""
    assert parse_mlsd_line(line) is None


@pytest.mark.parametrize(
    ("fact", "kind", "target"),
    [
        (b"type=file", "file", None),
        (b"TYPE=File", "file", None),
        (b"type=dir", "dir", None),
        (b"type=OS.unix=symlink", "link", None),
        (b"type=OS.unix=slink:/a b; c", "link", b"/a b"),
        (b"type=OS.unix=slink:../x", "link", b"../x"),
        (b"type=OS.unix=chr-1/3", "other", None),
    ],
)
def test_kinds(fact: bytes, kind: str, target: bytes | None) -> None:
    """What counts as a file, a folder, a link; a link's target may have blanks in it."""
    entry = parse_mlsd_line(fact + b"; n")
    assert entry is not None
    assert (entry.kind, entry.target) == (kind, target)


@pytest.mark.parametrize(
    "name", [b" lead", b"trail ", b"a;b=c", b"a; b", b"..", b"", b"a/b", b"a\rb", b"\0", b"\xff"]
)
def test_mlsd_names_are_taken_whole(name: bytes) -> None:
    """Blanks, semicolons, odd bytes, and names that nobody may write under: all recorded as they are."""
    entry = parse_mlsd_line(b"type=file;size=1; " + name)
    assert entry is not None
    assert entry.name == name


def test_facts_that_are_nonsense_are_not_known() -> None:
    """A size that is no number and a time that is no time spoil nothing else."""
    entry = parse_mlsd_line(b"type=file;size=-1;modify=20261399000000; n")
    assert entry == Entry(b"n", "file", None, None, 1.0)


def test_no_facts_at_all() -> None:
    """RFC 3659 §7.2 allows a line of a blank and a name."""
    assert parse_mlsd_line(b" n") == Entry(b"n", "file", None, None, 1.0)


def test_a_line_without_a_name_is_bad() -> None:
    """There is nothing to record it under."""
    with pytest.raises(BadLine):
        parse_mlsd_line(b"type=file;size=1;")


@given(st.binary(max_size=80).filter(lambda name: b"\n" not in name))
def test_mlsd_round_trip(name: bytes) -> None:
    """Whatever the name, it comes out as it went in."""
    entry = parse_mlsd_line(b"type=file;size=7;modify=20260102030405; " + name)
    assert entry == Entry(name, "file", 7, at(2026, 1, 2, 3, 4, 5), 1.0)


@given(st.binary(max_size=120))
def test_no_bytes_break_the_parsers(line: bytes) -> None:
    """An entry, nothing, or BadLine."""
    with contextlib.suppress(BadLine):
        parse_mlsd_line(line)
    with contextlib.suppress(BadLine):
        listed(line)


@given(
    st.from_regex(
        rb"[-dl]rw[-x]r--r-- +\d{1,3} \S{1,9} \S{1,9} +\d{1,25} \w{3} +\d{1,2} +(\d\d:\d\d|\d{4}) .*",
        fullmatch=True,
    )
)
def test_lines_that_look_like_ls_break_nothing(line: bytes) -> None:
    """Impossible dates and sizes are not known, rather than wrong or fatal."""
    with contextlib.suppress(BadLine):
        listed(line)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"20260102030405", (at(2026, 1, 2, 3, 4, 5), 1.0)),
        (b"20260102030405.5", (at(2026, 1, 2, 3, 4, 5) + 0.5, 0.1)),
        (b"20260230000000", (None, 1.0)),
        (b"2026", (None, 1.0)),
        (b"", (None, 1.0)),
    ],
)
def test_time_values(text: bytes, told: tuple[float | None, float]) -> None:
    """RFC 3659 §2.3, in UTC, with the precision it is written in."""
    assert parse_time_value(text) == told


# -- LIST


def test_a_line_of_vsftpd() -> None:
    """Numbers for owner and group, minutes for the time."""
    line = b"-rw-r--r--    1 0        0           10240 Nov 22 11:47 report.csv"
    assert listed(line) == Entry(b"report.csv", "file", 10240, at(2026, 11, 22, 11, 47), 60.0)


def test_a_line_of_an_old_file() -> None:
    """A year for the time, and so a day's precision."""
    line = b"-rw-r--r--   1 acme     users      123 Apr  2  2024 old.txt"
    assert listed(line) == Entry(b"old.txt", "file", 123, at(2024, 4, 2), 86400.0)


@pytest.mark.parametrize(
    "line",
    [
        b"-rw-r--r--+  1 acme users 123 Apr  2  2024 n",
        b"-rw-r--r--.  1 acme users 123 Apr  2  2024 n",
        b"-rw-r--r--   1 acme 123 Apr  2  2024 n",
        b"-rwsr-xr-t   1 acme users 123 apr  2  2024 n",
        b"-rw-r--r--   1 acme domain\\users 123 2 Apr  2024 n",
    ],
)
def test_variants_of_ls(line: bytes) -> None:
    """Marks for ACLs, no group, a day before its month."""
    assert listed(line) == Entry(b"n", "file", 123, at(2024, 4, 2), 86400.0)


def test_folders_links_and_devices() -> None:
    """Each by its first letter; a size means something for files only."""
    folder = listed(b"drwxr-xr-x 2 0 0 4096 Nov 22 11:47 in box")
    link = listed(b"lrwxrwxrwx 1 0 0 9 Nov 22 11:47 a -> /etc/b c")
    device = listed(b"crw-rw-rw- 1 0 0 1, 3 Nov 22 11:47 null")
    assert folder is not None
    assert (folder.name, folder.kind, folder.size) == (b"in box", "dir", None)
    assert link is not None
    assert (link.name, link.kind, link.target) == (b"a", "link", b"/etc/b c")
    assert device is not None
    assert device.kind == "other"


@pytest.mark.parametrize("name", [b" lead", b"trail ", b"a -> b", b"\xff\xfe", b"..", b"a  b"])
def test_list_names_are_taken_whole(name: bytes) -> None:
    """One blank ends the time; all others belong to the name."""
    entry = listed(b"-rw-r--r--    1 0        0           1 Nov 22 11:47 " + name)
    assert entry is not None
    assert entry.name == name


@pytest.mark.parametrize(
    "line",
    [b"total 12", b"", b"drwxr-xr-x 2 0 0 4096 Nov 22 11:47 .", b"drwxr-xr-x 2 0 0 4096 Nov 22 11:47 .."],
)
def test_lines_of_list_that_are_no_entries(line: bytes) -> None:
    """The sum of blocks, the folder itself and its parent."""
    assert listed(line) is None


@pytest.mark.parametrize("line", [b"README", b"04-22-26  05:04PM  x n", b"-rw-r--r-- 1 0 0 x Nov 22 11:47 n"])
def test_other_lines_are_bad(line: bytes) -> None:
    """A line in no format says so instead of passing as no entry."""
    with pytest.raises(BadLine):
        listed(line)


@pytest.mark.parametrize(
    ("now", "told", "meant"),
    [
        ((2026, 1, 1, 0, 5), b"Dec 31 23:59", (2025, 12, 31, 23, 59)),
        ((2025, 12, 31, 23, 59), b"Jan  1 00:30", (2026, 1, 1, 0, 30)),  # a clock that is fast
        ((2026, 11, 22, 12, 0), b"Nov 25 10:00", (2025, 11, 25, 10, 0)),
        ((2027, 3, 1, 12, 0), b"Feb 29 10:00", (2024, 2, 29, 10, 0)),
        ((2028, 2, 29, 12, 0), b"Feb 29 10:00", (2028, 2, 29, 10, 0)),
    ],
)
def test_the_year_that_ls_leaves_out(now: tuple[int, ...], told: bytes, meant: tuple[int, ...]) -> None:
    """The latest such day that isn't in the future, give or take a day (field note 30)."""
    entry = listed(b"-rw-r--r-- 1 0 0 1 " + told + b" n", now=at(*now))
    assert entry is not None
    assert entry.modified == at(*meant)


def test_times_of_list_are_in_the_servers_zone() -> None:
    """11:47 in Vienna in November is 10:47 UTC."""
    entry = listed(b"-rw-r--r-- 1 0 0 1 Nov 22 11:47 n", zone="Europe/Vienna")
    assert entry is not None
    assert entry.modified == at(2026, 11, 22, 10, 47)


# -- streams of lines


@given(
    lines=st.lists(st.binary(max_size=20).filter(lambda line: not set(line) & set(b"\r\n"))),
    cut=st.integers(1, 7),
)
def test_blocks_may_cut_anywhere(lines: list[bytes], cut: int) -> None:
    """A line that two blocks share is one line."""
    stream = b"".join(line + b"\r\n" for line in lines) + b"unended"
    splitter = LineSplitter()
    found = [line for i in range(0, len(stream), cut) for line in splitter.feed(stream[i : i + cut])]
    assert found == lines
    assert list(splitter.rest()) == [b"unended"]


def test_a_listing_line_without_end_is_refused() -> None:
    """Memory stays bounded (field note 41)."""
    splitter = LineSplitter()
    assert list(splitter.feed(b"z" * MAX_LINE)) == []
    with pytest.raises(ProtocolError):
        list(splitter.feed(b"z"))


def test_a_bad_line_never_spoils_the_listing() -> None:
    """It is set aside, the others are entries (field note 29)."""
    bad = BadLines()
    blocks = [memoryview(b"type=file; a\r\nnonsense\r\n"), memoryview(b"\r\ntype=file; b")]
    assert [entry.name for entry in read_mlsd(blocks, bad)] == [b"a", b"b"]
    assert (bad.count, bad.first) == (1, "not understood: b'nonsense'")

"""Entries as values, whether their time was given or is still as the server wrote it."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Iterator

import pytest

from workers.ftps.entry import BadLines, Entry
from workers.ftps.listing import parse_mlsd_line, read_mlsd
from workers.ftps.times import parse_time_value

WRITTEN = parse_mlsd_line(b"type=file;size=7;modify=20260102030405.5;unique=u1; n")
GIVEN = Entry(b"n", "file", 7, 1767323045.5, 0.1, b"u1")


def test_a_time_that_is_still_as_written_makes_no_other_entry() -> None:
    """Equal, of one hash, and shown alike."""
    assert WRITTEN == GIVEN
    assert not WRITTEN != GIVEN  # noqa: SIM202  both operators are ours
    assert hash(WRITTEN) == hash(GIVEN)
    assert repr(WRITTEN) == repr(GIVEN)
    assert repr(GIVEN) == (
        "Entry(name=b'n', kind='file', size=7, modified=1767323045.5, precision_s=0.1,"
        " unique=b'u1', target=None)"
    )


@pytest.mark.parametrize(
    "other",
    [
        Entry(b"m", "file", 7, 1767323045.5, 0.1, b"u1"),
        Entry(b"n", "dir", 7, 1767323045.5, 0.1, b"u1"),
        Entry(b"n", "file", 8, 1767323045.5, 0.1, b"u1"),
        Entry(b"n", "file", 7, 1767323045.0, 0.1, b"u1"),
        Entry(b"n", "file", 7, 1767323045.5, 1.0, b"u1"),
        Entry(b"n", "file", 7, 1767323045.5, 0.1, b"u2"),
        Entry(b"n", "file", 7, 1767323045.5, 0.1, b"u1", b"t"),
        (b"n", "file", 7, (1767323045.5, 0.1), b"u1", None),
    ],
)
def test_entries_that_differ_in_anything_are_different(other: object) -> None:
    """In each of their values; and an entry is no mere tuple."""
    assert other != GIVEN
    assert not other == GIVEN  # noqa: SIM201  both operators are ours


def test_an_entry_survives_pickling() -> None:
    """With either kind of time."""
    assert pickle.loads(pickle.dumps(WRITTEN)) == GIVEN
    assert pickle.loads(pickle.dumps(GIVEN)) == GIVEN


def test_an_entry_does_not_change() -> None:
    """It is a value."""
    with pytest.raises(AttributeError):
        GIVEN.size = 8  # type: ignore[misc]


def test_times_are_parsed_only_when_asked_for() -> None:
    """A poll asks for few of a million."""
    parse_time_value.cache_clear()
    entries = list(read_mlsd([b"type=file;modify=20260102030405; n\r\n" * 9], BadLines()))
    assert parse_time_value.cache_info().misses == 0
    assert entries[0].modified == 1767323045
    assert parse_time_value.cache_info().misses == 1


def test_a_long_listing_takes_no_more_memory_than_a_short_one() -> None:
    """Nothing is kept of an entry that was passed on, nor of the bad lines but the first (field note 31)."""

    def blocks(count: int) -> Iterator[bytes]:
        for number in range(count):
            yield b"type=file;size=%d;modify=20260102030405; name %d\r\nnonsense%d\r\n" % ((number,) * 3)

    def peak(count: int) -> int:
        tracemalloc.start()
        bad = BadLines()
        assert sum(1 for _ in read_mlsd(blocks(count), bad)) == bad.count == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(5000) < peak(50) + 20_000


def test_the_first_entry_comes_with_the_first_line() -> None:
    """It waits for no second block."""

    def blocks() -> Iterator[bytes]:
        yield b"type=file; a\r\ntype=fi"
        raise AssertionError

    assert next(read_mlsd(blocks(), BadLines())).name == b"a"

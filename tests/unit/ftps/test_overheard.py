"""Listings whose bytes are told to somebody who may not want entries of all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.scripted import ScriptedServer
from workers.ftps.connection import Connection
from workers.ftps.folder import Read, overheard
from workers.ftps.listing import BadLines, read_list, read_mlsd

MLSD = b"".join(b"type=file;size=%d;modify=20260102030405; file %d\r\n" % (n, n) for n in range(60))
LIST = b"total 60\r\n" + b"".join(
    b"-rw-r--r--    1 ftp      ftp      %8d Jan 02 03:04 file %d\r\n" % (n, n) for n in range(60)
)
NOW = 1_800_000_000.0
READERS: dict[bytes, Read] = {MLSD: read_mlsd, LIST: partial(read_list, now=NOW, zone="UTC")}


@pytest.mark.parametrize("content", READERS, ids=["MLSD", "LIST"])
@given(cuts=st.lists(st.integers(0, len(LIST)), max_size=12), enough=st.integers(0, 8))
def test_entries_end_with_a_line_wherever_the_bytes_are_cut(
    content: bytes, cuts: list[int], enough: int
) -> None:
    """From some block on none are wanted: those before are whole, in their order, and no line is misread."""
    ends = sorted({*(cut for cut in cuts if cut < len(content)), 0, len(content)})
    blocks = [memoryview(content[a:b]) for a, b in pairwise(ends)]
    heard: list[bytes] = []

    def hear(block: memoryview) -> bool:
        heard.append(bytes(block))
        return len(heard) > enough

    bad = BadLines()
    names = [entry.name for entry in overheard(READERS[content], hear)(blocks, bad)]
    assert bad.count == 0
    assert b"".join(heard) == content
    assert names == [b"file %d" % number for number in range(len(names))]
    wanted = b"".join(heard[:enough]).count(b"file ")
    assert wanted - 1 <= len(names) <= wanted + 1


@pytest.mark.parametrize("features", ["MLSD", "LIST"])
def test_a_listing_that_nobody_reads_is_complete_all_the_same(
    script: Callable[..., ScriptedServer], connect: Callable[..., Connection], features: str
) -> None:
    """Its bytes were heard to their end, and its reply."""
    server = script(files={b"/%04d" % number: b"x" for number in range(3000)})
    if features == "LIST":
        server.when("MLSD", b"500 What?")
    line = connect(server)
    heard = 0

    def hear(block: memoryview) -> bool:
        nonlocal heard
        heard += len(block)
        return True

    with line.listing(b"/", hear=hear) as listing:
        entries = list(listing)
    assert listing.complete
    assert len(entries) == 1
    assert heard > 3000 * 20

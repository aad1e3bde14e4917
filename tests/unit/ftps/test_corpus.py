"""Whole listings of every dialect, read as they come over the line, against what is expected of each line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from tests.unit.ftps.corpus import BAD, FOLDER, Listed, Outcome, Recorded, listings
from workers.ftps.listing import BadLine, Entry, parse_list_line, parse_mlsd_line, read_list, read_mlsd

DIALECTS = ("mlsd", "unix", "windows", "vms", "zos", "os400", "nonstop")
LISTED = [listed for dialect in DIALECTS for listed in listings(dialect)]
# Each of their lines can be read without the others.
ALONE = [listed for listed in LISTED if not listed.title.startswith(("vms", "zos", "nonstop"))]


def read(listed: Listed, blocks: Iterable[bytes]) -> list[Outcome]:
    found = Recorded()
    entries: Iterator[Entry]
    if listed.title.startswith("mlsd"):
        entries = read_mlsd(blocks, found)
    else:
        entries = read_list(blocks, found, now=listed.now, zone=listed.zone)
    for entry in entries:
        found.outcomes.append(entry)
    return found.outcomes


@pytest.mark.parametrize("listed", LISTED, ids=lambda listed: listed.title)
@pytest.mark.parametrize("block", [1, 61, 16 * 1024])
def test_a_listing_is_read_as_expected(listed: Listed, block: int) -> None:
    """Entry by entry, in order, wherever the blocks cut it."""
    sent = listed.sent
    assert read(listed, (sent[at : at + block] for at in range(0, len(sent), block))) == listed.outcomes


@pytest.mark.parametrize("listed", LISTED, ids=lambda listed: listed.title)
def test_line_ends_of_careless_servers_make_no_difference(listed: Listed) -> None:
    """LF alone, and nothing after the last line."""
    assert read(listed, [b"\n".join(listed.lines)]) == listed.outcomes


@pytest.mark.parametrize("listed", LISTED, ids=lambda listed: listed.title)
def test_what_a_listing_has_seen_changes_nothing_in_how_it_goes_on(listed: Listed) -> None:
    """Read twice over in one listing, every line means the same again."""
    assert read(listed, [listed.sent, listed.sent]) == listed.outcomes * 2


@pytest.mark.parametrize("listed", ALONE, ids=lambda listed: listed.title)
def test_lines_that_stand_for_themselves_can_be_read_alone(listed: Listed) -> None:
    """One at a time, without a listing, they mean the same; but a line of another dialect is understood."""
    outcomes: list[Outcome] = []
    for line in listed.lines:
        if not line:
            continue
        try:
            if listed.title.startswith("mlsd"):
                entry = parse_mlsd_line(line)
            else:
                entry = parse_list_line(line, now=listed.now, zone=listed.zone)
        except BadLine:
            outcomes.append(BAD)
            continue
        if entry is not None:
            outcomes.append(BAD if entry.name == b"another dialect" else entry)
    assert outcomes == listed.outcomes


def test_every_listing_of_the_corpus_is_read_here() -> None:
    """And there are enough of them."""
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == sorted(DIALECTS)
    assert sum(len(listed.lines) for listed in LISTED) >= 200

"""Listings for a coverage-guided fuzzer, and what the Hypothesis tests share with it.

    make fuzz        or: python -m tests.unit.ftps.fuzz_listing -max_total_time=600 FOLDER     (needs atheris)

The first byte of an input chooses MLSD or LIST, the second where it is cut in two. Whatever a reader raises
is a find, and so is an entry that depends on the cut, or on which of MLSD's two readers has read it. A find
becomes a test.
"""

from __future__ import annotations

from tests.unit.ftps.corpus import listings
from tests.unit.ftps.fuzzing import run
from workers.ftps.entry import BadLine, BadLines, Entry
from workers.ftps.errors import ProtocolError
from workers.ftps.listing import LineSplitter, parse_mlsd_line, read_list, read_mlsd

READERS = ("mlsd", "unix", "windows", "vms", "zos", "os400", "nonstop")
NOW = 1_795_348_800.0  # 2026-11-22T12:00Z


def read_all(dialect: str, *blocks: bytes) -> tuple[list[Entry], int]:
    """The entries of a listing that comes in these blocks, and how many lines were set aside."""
    bad = BadLines()
    if dialect == "mlsd":
        return list(read_mlsd(blocks, bad)), bad.count
    return list(read_list(blocks, bad, now=NOW, zone="Europe/Vienna")), bad.count


def one_by_one(text: bytes) -> tuple[list[Entry], int]:
    """The entries of an MLSD whose lines are read each by itself, and how many were set aside."""
    splitter = LineSplitter()
    lines = [*splitter.feed(text), *splitter.rest()]
    entries: list[Entry] = []
    bad = 0
    for line in filter(None, lines):
        try:
            entry = parse_mlsd_line(line)
        except BadLine:
            bad += 1
        else:
            entries += [entry] if entry is not None else []
    return entries, bad


def one_input(data: bytes) -> None:
    """Read it in every way there is, and look at every time."""
    dialect = "mlsd" if data[:1] < b"\x80" else "list"
    text = data[2:]
    cut = data[1] if len(data) > 1 else 0
    try:
        whole = read_all(dialect, text)
        # A line of more than MAX_LINE bytes may be too long only for one of the two.
        chopped = read_all(dialect, text[:cut], text[cut:])
    except ProtocolError:
        return
    assert hash(tuple(whole[0])) == hash(tuple(chopped[0]))
    assert whole == chopped
    if dialect == "mlsd":
        assert whole == one_by_one(text)


def seeds() -> list[bytes]:
    """Every listing of the corpus, whole."""
    return [
        (b"\x00" if dialect == "mlsd" else b"\xff") + b"\x40" + listed.sent
        for dialect in READERS
        for listed in listings(dialect)
    ]


if __name__ == "__main__":
    run(one_input, seeds())

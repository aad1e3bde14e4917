"""How fast a million lines of MLSD become entries, beside a bare loop; run it by itself.

    python -m tests.bench.listing [--entries 1000000]

Both read the same blocks, as they come off a data channel, in turns in the same run, and the best turn of
each counts. The bare loop does no more than split lines and facts into a dictionary: it knows no time, no
kind, no odd line. Also: the time to the first entry from the first data, and how much memory a million
entries take over a thousand, each in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from tests.bench.figure import Figure
from workers.ftps.listing import BadLines, read_mlsd

BLOCK = 16 * 1024  # one TLS record
# A file and a folder, as these servers write them: the most facts that are common, and the fewest.
SERVERS = {
    "ProFTPD": (
        b"modify=202601%02d03%02d%02d;perm=adfrw;size=%d;type=file;unique=FE00U%X;"
        b"UNIX.group=0;UNIX.mode=0644;UNIX.owner=0; report-%07d.csv\r\n",
        b"modify=202601%02d03%02d%02d;perm=flcdmpe;type=dir;unique=FE00U%X;"
        b"UNIX.group=0;UNIX.mode=0755;UNIX.owner=0; folder-%07d\r\n",
    ),
    "Pure-FTPd": (
        b"type=file;modify=202601%02d03%02d%02d;size=%d;UNIX.mode=0644;UNIX.uid=1000;UNIX.gid=1000;"
        b"unique=801g%x; report-%07d.csv\r\n",
        b"type=dir;modify=202601%02d03%02d%02d;UNIX.mode=0755;UNIX.uid=1000;UNIX.gid=1000;"
        b"unique=801g%x; folder-%07d\r\n",
    ),
    "A server of four facts": (
        b"modify=202601%02d03%02d%02d.000;perms=awr;size=%d;type=file; report-%x-%07d.csv\r\n",
        b"modify=202601%02d03%02d%02d.000;perms=el;type=dir; folder-%x-%07d\r\n",
    ),
    "pyftpdlib": (
        b"modify=202601%02d03%02d%02d;perm=r;size=%d;type=file;unique=fe00g%x; report-%07d.csv\r\n",
        b"modify=202601%02d03%02d%02d;perm=el;type=dir;unique=fe00g%x; folder-%07d\r\n",
    ),
}


def blocks(count: int, server: str = "ProFTPD") -> Iterator[memoryview]:
    """A listing, a folder in every hundred entries, cut where the records end."""
    file, folder = SERVERS[server]
    rest = b""
    for number in range(count):
        time_parts = (number % 28 + 1, number % 60, number // 60 % 60)
        if number % 100:
            rest += file % (*time_parts, number * 37, number, number)
        else:
            rest += folder % (*time_parts, number, number)
        if len(rest) >= BLOCK:
            yield memoryview(rest[:BLOCK])
            rest = rest[BLOCK:]
    yield memoryview(rest)


def bare(listing: Iterable[memoryview]) -> Iterator[dict[bytes, bytes]]:
    """Lines and facts into a dictionary."""
    rest = b""
    for block in listing:
        lines = (rest + block).split(b"\r\n")
        rest = lines.pop()
        for line in lines:
            facts, _, name = line.partition(b" ")
            entry = {b"name": name}
            for fact in facts.split(b";"):
                key, _, value = fact.partition(b"=")
                entry[key] = value
            yield entry


def ours(listing: Iterable[memoryview]) -> Iterator[object]:
    """What Towline does."""
    return read_mlsd(listing, BadLines())


def seconds(entries: Iterator[object], count: int) -> float:
    """How long our processor works to look at each; what others do on this machine counts for nothing."""
    began = time.process_time()
    assert sum(1 for _ in entries) == count
    return time.process_time() - began


def first_entry_s() -> float:
    """From the first data to the first entry, with everything imported and nothing warm."""
    listing = list(islice(blocks(1000), 1))
    began = time.perf_counter()
    next(ours(listing))
    return time.perf_counter() - began


def peak_of(count: int) -> int:
    """Bytes of RSS at the highest of a process that reads so many entries and keeps none."""
    program = f"from tests.bench.listing import *; print(read_and_weigh({count}))"
    return int(subprocess.check_output([sys.executable, "-c", program]))


def read_and_weigh(count: int) -> int:
    """In a process of its own: read, and tell the highest RSS in bytes."""
    assert sum(1 for _ in ours(blocks(count))) == count
    # getrusage() would tell the parent's, which a child takes over.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def measured(count: int, *, turns: int) -> list[Figure]:
    """All figures, printed as they come."""
    found = [Figure("first entry after the first data", first_entry_s() * 1000, "ms", "at most 100 ms")]
    print(found[0], flush=True)
    for server in SERVERS:
        listing = list(blocks(count, server))
        timed = [(seconds(bare(listing), count), seconds(ours(listing), count)) for _ in range(turns)]
        bare_s, ours_s = (min(turn) for turn in zip(*timed, strict=True))
        found.append(
            Figure(f"{server}'s lines: entries a second", count / ours_s, f"({count / bare_s:,.0f} bare)")
        )
        print(found[-1])
        found.append(Figure(f"{server}'s lines: times the bare loop", bare_s / ours_s, "", "at least 1"))
        print(found[-1], flush=True)
    few, many = peak_of(1000), peak_of(count)
    found.append(Figure("memory, over that for 1,000 entries", (many - few) / 2**20, "MiB", "at most 30 MiB"))
    print(found[-1], flush=True)
    return found


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    measured(options.entries, turns=options.turns)


if __name__ == "__main__":
    main()

"""What a million entries and a million rows cost: measures, and writes docs/scale.md from what it found.

    python -m tests.bench.scale [--rows 1000000] [--entries 100000] [--listed 1000000] [--page docs/scale.md]

The page is never edited by hand. Figures beside each other are of one run.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import ledger, listing
from tests.bench.figure import Figure

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"

HEAD = """# What a million entries and a million rows cost

Written by `python -m tests.bench.scale`, {when}, on {cpus} processors ({machine}), Python {python}, while
other programs used them as well (load {load:.1f} before, {later:.1f} after): of each figure the best of
several turns counts, and what is compared was measured in turns, in the same run.

"""
LISTING = """Entries as a poll reads them, beside a loop that does no more than split lines and facts into a
dictionary."""
LEDGER = """The rows are history: files that were fetched, and deleted at the source. The listing is vsftpd's,
over TLS, read by LIST. With nothing new, its files were fetched before and are still there. Processor time is
that of our own process, which other programs lengthen least."""
POSTGRESQL = """The same over TCP, in a server on this machine that does not wait for its disk."""


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    # Not so many thousand exactly: a listing of a round number that lacks known files is looked at anew.
    parser.add_argument("--entries", type=int, default=100_001)
    parser.add_argument("--listed", type=int, default=1_000_000)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    of_listing = listing.measured(options.listed, turns=3)
    of_sqlite = ledger.run(options.rows, options.entries)
    of_postgresql = ledger.run(options.rows, options.entries, postgresql=True)
    head = HEAD.format(
        when=time.strftime("%Y-%m-%d", time.gmtime()),
        cpus=os.cpu_count(),
        machine=platform.machine(),
        python=platform.python_version(),
        load=load,
        later=os.getloadavg()[0],
    )
    rows = f"A ledger of {options.rows:,} rows in"
    folder = f"a folder of {options.entries:,} files"
    sections = [
        section(f"MLSD, {options.listed:,} entries", LISTING, of_listing),
        section(f"{rows} SQLite, {folder}", LEDGER, of_sqlite),
        section(f"{rows} PostgreSQL, {folder}", POSTGRESQL, of_postgresql),
    ]
    options.page.write_text(head + "\n".join(sections))


def section(title: str, about: str, figures: Sequence[Figure]) -> str:
    """One table, its lines as they were measured."""
    lines = [f"| {figure.what} | {figure.shown()} | {figure.bar} |" for figure in figures]
    table = "\n".join(["| | measured | wanted |", "|---|---|---|", *lines])
    return f"## {title}\n\n{about}\n\n{table}\n"


if __name__ == "__main__":
    main()

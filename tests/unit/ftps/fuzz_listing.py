"""A target for a coverage-guided fuzzer, and what the Hypothesis tests share with it.

    python -m tests.unit.ftps.fuzz_listing -max_total_time=600     needs atheris

The first byte of an input chooses MLSD or LIST; whatever a reader raises is a find, which becomes a test.
"""

from __future__ import annotations

import importlib
import sys

from workers.ftps.entry import BadLines, Entry
from workers.ftps.errors import ProtocolError
from workers.ftps.listing import read_list, read_mlsd

READERS = ("mlsd", "unix", "windows", "vms", "zos", "os400", "nonstop")
NOW = 1_795_348_800.0  # 2026-11-22T12:00Z


def read_all(dialect: str, text: bytes) -> tuple[list[Entry], int]:
    """The entries of a listing, and how many lines were set aside."""
    bad = BadLines()
    if dialect == "mlsd":
        return list(read_mlsd([text], bad)), bad.count
    return list(read_list([text], bad, now=NOW, zone="Europe/Vienna")), bad.count


def one_input(data: bytes) -> None:
    """Read it, and look at every time."""
    dialect = "mlsd" if data[:1] < b"\x80" else "list"
    try:
        entries, _ = read_all(dialect, data[1:])
    except ProtocolError:  # a line without end
        return
    for entry in entries:
        hash(entry)


def main() -> None:
    """Run until the fuzzer's own options say stop."""
    atheris = importlib.import_module("atheris")
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

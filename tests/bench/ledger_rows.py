"""What a new file costs the ledger, with a thousand rows of history in it and with a million."""

from __future__ import annotations

from pathlib import Path

from tests.bench.items import Scale
from tests.bench.ledger import history, new_file, serving
from tests.servers.certificates import Certificates

FEW, MANY = 1_000, 1_000_000
TURNS = 5  # of which the quickest of several claims counts each time


def new_files(folder: Path, _certificates: Certificates, scale: Scale) -> dict[str, list[float]]:
    """Milliseconds of a file from its comparison to its claim, by rows: {"1000": […], "1000000": […]}."""
    rows = (FEW // 10, FEW) if scale.name == "quick" else (FEW, MANY)
    folder.mkdir(parents=True)
    with serving(folder, "vsftpd", 10) as (process, route, small):
        ledgers = (small, process.ledger)
        for ledger, count in zip(ledgers, rows, strict=True):
            history(ledger, route.target, count)
        turns = [new_file(ledgers, route.target, f"of-{turn}") for turn in range(TURNS)]
    return {
        str(count): [turn.wall_s * 1000 for turn in took]
        for count, took in zip(rows, zip(*turns, strict=True), strict=True)
    }

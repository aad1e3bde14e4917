"""What a new file costs the ledger, with a thousand rows of history in it and with a million."""

from __future__ import annotations

from pathlib import Path

from tests.bench.items import Scale
from tests.bench.ledger import history, new_file_ms, serving
from tests.servers.certificates import Certificates

FEW, MANY = 1_000, 1_000_000
TURNS = 5  # of which the quickest of several claims counts each time


def new_files(folder: Path, _certificates: Certificates, scale: Scale) -> dict[str, list[float]]:
    """Milliseconds of a file from its comparison to its claim, by rows: {"1000": […], "1000000": […]}."""
    few, many = (FEW // 10, FEW) if scale.name == "quick" else (FEW, MANY)
    folder.mkdir(parents=True)
    found: dict[str, list[float]] = {}
    with serving(folder, "vsftpd", 10) as (process, route):
        there = 0
        for rows in (few, many):
            history(process.ledger, route.target, rows - there, beginning=there)
            there = rows
            found[str(rows)] = [
                new_file_ms(process.ledger, route.target, f"of-{rows}-{turn}") for turn in range(TURNS)
            ]
    return found

"""The measurements that are no contest, by the names under which `--only` and the results know them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.items import Scale
from tests.bench.ledger_rows import new_files
from tests.bench.limits import limits
from tests.bench.objects import objects
from tests.bench.phases import small_file
from tests.bench.recovery import recovery
from tests.bench.trips import round_trips
from tests.servers.certificates import Certificates

SPECIALS: dict[str, Callable[[Path, Certificates, Scale], Any]] = {
    "limits": limits,
    "round-trips": round_trips,
    "recovery": recovery,
    "phases": small_file,
    "objects": objects,
    "ledger": new_files,
}
SECONDS = {
    "limits": 15.0,
    "round-trips": 200.0,
    "recovery": 45.0,
    "phases": 60.0,
    "ledger": 150.0,
    "objects": 520.0,
}
"""About how long each takes at the sizes of the bars. What is not named here takes part in a run of given
minutes only where `--only` asks for it."""

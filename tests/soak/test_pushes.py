"""The witness at the partner: what push routes bring to real servers while workers die and lines are cut."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.postgres import Postgres
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.soak.faults import FAULTS
from tests.soak.fleet import SERVERS, Fleet
from tests.soak.test_soak import Soak

FILES = 500
ODD = ("{} & co.xml", "-{}.xml", " {}", "{}%0A;'\"*?[a].xml", "{}-Üß-日本.xml", "({}).tar.gz")
# No backslash: Pure-FTPd has none in a name, which is what tests/servers/test_push.py is about.
NAMES = (
    *(f"{number}.xml" for number in range(250)),
    *(odd.format(number) for number, odd in enumerate(ODD * 8)),
)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SERVERS)
def test_five_hundred_files_reach_the_partner_whole_whatever_breaks(
    start_server: Callable[..., FtpServer], valkey: Valkey, postgres: Postgres, tmp_path: Path, name: str
) -> None:
    """Of all sizes and odd names, some replaced, grown or renamed meanwhile: seven empty sets, as the partner
    sees them, and whatever is still in our folder is in his."""
    seed = int(os.environ.get("TOWLINE_SOAK_SEED") or 20260719)
    with Fleet(tmp_path, {name: start_server(name)}, valkey, postgres, direction="push") as fleet:
        result, found = Soak(fleet, seed, NAMES).run(versions=2 * FILES, pace=12.0)
    assert found.clean, str(found)
    assert len(fleet.journal.arrivals) >= FILES
    assert result.published >= FILES
    assert result.faults.keys() == FAULTS.keys()

"""Command lines as the report prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.contestants import NotHere
from tests.bench.measure import REPOSITORY
from tests.bench.turns import COMMANDS, hidden
from tests.bench.work import Job, Place, Work

PASSWORD = "a-password-of-the-bench"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_printed_command_shows_no_password_and_no_place_of_this_machine(name: str, tmp_path: Path) -> None:
    """Neither as it was given nor obscured, as rclone wants it; the page is kept, and read by others."""
    place = Place("127.0.0.1", 2121, "acme", PASSWORD, tmp_path / "tls" / "ca.pem", tmp_path / "root", 1)
    (scratch := tmp_path / "scratch").mkdir()
    place.ca_file.parent.mkdir()
    place.ca_file.touch()
    work = Work("small", "two files", "down", (10, 10))
    job = Job(place, work, 1, scratch / "in", "/out", scratch)
    try:
        command = COMMANDS[name](job)
    except NotHere as why:
        pytest.skip(str(why))
    shown = command.shown(hidden(job))
    secrets = {value for variable, value in command.environment.items() if "PASS" in variable}
    assert not [told for told in (PASSWORD, str(tmp_path), str(REPOSITORY), *secrets) if told in shown]

"""What a start does not pay for: packages are imported by whoever needs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from workers.cli import main

# Each of them costs a twentieth of a start, or more.
NOT_FOR_A_ROUND = {
    "alembic",  # the ledger has its shape
    "celery",  # there is no broker
    "obstore",  # files land in a folder
    "prometheus_client",  # Flower tells the figures
    "psycopg",
    "rich",  # nobody watches
    "sqlalchemy.dialects.postgresql",  # the ledger is SQLite's
}

CONFIG = """
[towline]
state_dir = "state"
[endpoints.bank]
host = "h"
user = "u"
password = { env = "BANK" }
[routes.out]
endpoint = "bank"
direction = "push"
remote = "/in"
local = "out"
settle = "0s"
"""

SAYING = """\
import sys
from workers.cli import main
try:
    main(sys.argv[1:], prog_name="towline")
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A route whose folder is on this machine, and empty: a whole round of it needs no server."""
    (tmp_path / "out").mkdir()
    file = tmp_path / "towline.toml"
    file.write_text(CONFIG)
    return file


def imported(*arguments: str) -> set[str]:
    """All that a process has imported which was called with these arguments, and succeeded."""
    process = [sys.executable, "-c", SAYING, *arguments]
    return set(subprocess.run(process, capture_output=True, text=True, check=True).stderr.split())


def test_a_round_on_sqlite_imports_nothing_of_what_it_has_no_use_for(config: Path) -> None:
    """A short round consists of its start."""
    made = CliRunner().invoke(main, ["--config", str(config), "routes"])
    assert made.exit_code == 0, made.output
    assert imported("--config", str(config), "run", "out") & NOT_FOR_A_ROUND == set()


def test_the_version_is_told_without_the_rest_of_the_program() -> None:
    """Neither settings nor ledger nor a verb is needed for it."""
    assert imported("--version") & (NOT_FOR_A_ROUND | {"pydantic", "sqlalchemy", "workers.settings"}) == set()

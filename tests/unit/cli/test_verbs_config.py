"""`towline config show`: what is configured, where it came from, and no secret."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workers.cli import main
from workers.settings import load

CONFIG = r"""
[towline]
state_dir = "state"
broker = "redis://worker:hunter2@localhost:6379/0"
lease = "90s"
[endpoints.bank]
host = "ftps.bank.example"
user = "acme"
password = "hunter2"
tls = "implicit"
[endpoints."two.words"]
host = "h"
user = "u"
password = { env = "OTHER" }
max_sessions = 4
[routes.statements]
endpoint = "bank"
remote = "/out\\xff"
local = "in"
cron = "*/10 6-20 * * mon-fri"
batch = { files = 10, bytes = "1MiB" }
mode = "0600"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "towline.toml"
    file.write_text(CONFIG)
    return file


def show(config: Path, *options: str, **environ: str) -> Result:
    return CliRunner().invoke(main, ["config", "show", *options, "--config", str(config)], env=environ)


def test_each_value_says_where_it_came_from(config: Path) -> None:
    """The file, a variable, or the default, also where that follows from another key."""
    shown = json.loads(show(config, "--json", TOWLINE_STOP_GRACE="45s").output)["tables"]
    assert shown["[towline]"]["lease"] == {"value": '"90s"', "from": "file"}
    assert shown["[towline]"]["stop_grace"] == {
        "value": '"45s"',
        "from": "environment variable TOWLINE_STOP_GRACE",
    }
    assert shown["[towline]"]["poll_soft_limit"] == {"value": '"5m"', "from": "default"}
    assert shown["[endpoints.bank]"]["port"] == {"value": "990", "from": "default"}
    assert shown['[endpoints."two.words"]']["max_sessions"] == {"value": "4", "from": "file"}
    assert "every" not in shown["[routes.statements]"]


def test_no_secret_is_shown(config: Path) -> None:
    """Neither a literal password, nor the one in a URL; where another one comes from is."""
    result = show(config)
    assert result.exit_code == 0
    assert "hunter2" not in result.output
    assert 'broker = "redis://worker:…@localhost:6379/0"' in result.output
    assert 'password = { env = "OTHER" }' in result.output


def test_what_it_prints_is_the_same_configuration(config: Path, tmp_path: Path) -> None:
    """TOML that loads to equal routes; the passwords have to be put back."""
    printed = show(config).output
    assert tomllib.loads(printed)
    again = tmp_path / "again.toml"
    again.write_text(printed)
    assert load(again).routes == load(config).routes

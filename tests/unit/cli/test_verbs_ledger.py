"""The reading verbs when the ledger is empty, or can't be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workers.cli import main


def towline(folder: Path, *arguments: str, state_dir: str = "state") -> Result:
    config = folder / "towline.toml"
    config.write_text(
        f'[towline]\nstate_dir = "{state_dir}"\n'
        '[endpoints.bank]\nhost = "h"\nuser = "u"\npassword = { env = "NOT_SET" }\n'
        '[routes.statements]\nendpoint = "bank"\nremote = "/out"\nlocal = "in"\n'
    )
    return CliRunner().invoke(main, [*arguments, "--config", str(config)])


@pytest.mark.parametrize("verb", [("routes",), ("history",), ("explain", "statements", "a.xml")])
def test_reading_needs_no_password_and_no_server(tmp_path: Path, verb: tuple[str, ...]) -> None:
    """On a fresh machine each reading verb has something true to say, in text and in JSON."""
    assert towline(tmp_path, *verb).exit_code == 0
    document = json.loads(towline(tmp_path, *verb, "--json").output)
    assert document.get("files", []) == []
    assert document.get("state", "UNKNOWN") == "UNKNOWN"


@pytest.mark.parametrize(
    ("state_dir", "told"),
    [("/dev/null/x", "[towline] state_dir: /dev/null/x"), ("damaged", "file is not a database")],
)
def test_a_ledger_that_can_not_be_had_ends_with_2(tmp_path: Path, state_dir: str, told: str) -> None:
    """In a sentence that names the place, without a traceback."""
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "ledger.sqlite3").write_bytes(b"no database at all\n" * 100)
    result = towline(tmp_path, "routes", state_dir=state_dir)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.output

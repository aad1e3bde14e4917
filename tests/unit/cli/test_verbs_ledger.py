"""The reading verbs: what they read of the ledger, when it is empty, and when it can't be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workers.cli import main
from workers.ledger import Appeared, Ledger
from workers.settings import load


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


def test_history_shows_the_newest_of_a_route_or_of_a_state(tmp_path: Path) -> None:
    """Each option by itself and together with the others, by what is in the ledger."""
    towline(tmp_path, "routes")
    config = tmp_path / "towline.toml"
    settings = load(config)
    ledger = Ledger.open(settings.ledger, state_dir=settings.state_dir)
    for route, names in (("statements", b"abc"), ("another", b"d")):
        poll = ledger.polls.begin(route, settings.routes["statements"].target, until_s=60)
        assert poll is not None
        files = [Appeared(b"/out/%c" % name, 1, 1.0, 1.0, None, ready=name == 97) for name in names]
        ledger.polls.apply(poll, files, complete=True, reason=None, listed=len(files))
    ledger.close()

    def shown(*options: str) -> list[str]:
        document = towline(tmp_path, "history", "--json", *options).output
        return [file["path"] for file in json.loads(document)["files"]]

    assert shown() == ["/out/d", "/out/c", "/out/b", "/out/a"]
    assert shown("--route", "statements") == ["/out/c", "/out/b", "/out/a"]
    assert shown("--limit", "2") == ["/out/d", "/out/c"]
    assert shown("--state", "ready") == ["/out/a"]
    assert shown("--state", "waiting", "--route", "statements", "--limit", "1") == ["/out/c"]


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

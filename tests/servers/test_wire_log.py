"""The wire log: what was said on the line, for those who asked for it, and the password for nobody."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.command import Site
from tests.servers.fetching import Fetching
from tests.servers.server import FtpServer
from workers.session import Session

StartServer = Callable[..., FtpServer]


def told_with(
    fetching: Fetching, caplog: pytest.LogCaptureFixture, *, wire_log: bool
) -> list[logging.LogRecord]:
    """What one question to the server leaves in `towline.wire`."""
    endpoint = fetching.endpoint.model_copy(update={"wire_log": wire_log})
    session = Session(endpoint, fetching.ledger)
    caplog.clear()
    session.run(lambda line: line.stat([b"/\x1b[31mred"]), name="stat", tally=fetching.tally)
    session.close()
    return [record for record in caplog.records if record.name == "towline.wire"]


def test_an_endpoint_may_log_its_wire(
    start_server: StartServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """wire_log = true: every command and reply under the endpoint's name, nothing a terminal would act on.

    At the level that a worker shows anyway; without the key there is nothing.
    """
    fetching = Fetching(start_server("pyftpdlib"), tmp_path)
    assert told_with(fetching, caplog, wire_log=False) == []
    records = told_with(fetching, caplog, wire_log=True)
    lines = [record.getMessage() for record in records]
    assert "bank > PASS ***" in lines
    assert "bank > SIZE /\\x1b[31mred" in lines
    assert any(line.startswith("bank < 550") for line in lines)
    assert all(record.levelno == logging.INFO for record in records)
    assert fetching.endpoint.secret() not in caplog.text
    fetching.close()


@pytest.mark.parametrize("verb", ["ls", "get", "check", "run"])
def test_wire_shows_the_dialogue_on_stderr(start_server: StartServer, tmp_path: Path, verb: str) -> None:
    """--wire: each line once, with its time and endpoint, also beside -v; stdout stays what it was."""
    site = Site(tmp_path, start_server("pyftpdlib"))
    site.put("a.xml")
    arguments = {
        "ls": ("bank", "/out"),
        "get": ("bank", "/out/a.xml", str(tmp_path / "got")),
        "check": (),
        "run": ("statements",),
    }[verb]
    ended = site.towline(verb, *arguments, "--wire", "-v")
    assert ended.returncode == 0, ended.stderr
    assert len(re.findall(r"^\d\d:\d\d:\d\d\.\d{3} bank > PASS \*\*\*$", ended.stderr, re.M)) == 1
    assert ended.stderr.count("> PASS") == 1
    assert re.search(r"bank < 230 ", ended.stderr)
    assert "PASS" not in ended.stdout
    assert site.password not in ended.stdout + ended.stderr
    quiet = site.towline(verb, *arguments)
    assert "PASS" not in quiet.stderr

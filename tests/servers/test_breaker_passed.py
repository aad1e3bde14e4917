"""An endpoint known to be down: fetches don't knock, a poll does, and people may whenever they like."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.servers.command import Site
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from workers.cli import main

ATTEMPTS = 3  # of a task or a verb, in tests/servers/command.py

# Each task in its turn, in the process of a worker that has no line: how it failed, or its result.
TASKS = """
import json, sys
from tasks.fetch import fetch
from tasks.poll import poll
for name in sys.argv[1:]:
    ended = {"fetch": fetch, "poll": poll}[name].apply(kwargs={"route": "statements"}).result
    failed = isinstance(ended, Exception)
    print(json.dumps([type(ended).__name__, *ended.args] if failed else ended))
"""


@pytest.mark.long
def test_foreground_verbs_and_polls_knock_at_an_endpoint_that_is_down_and_fetches_do_not(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of get, put, ls, check and run tries for itself; a fetch fails at once, with the counts of all of
    them; the line that a poll builds lets fetches through again."""
    server = start_server("pyftpdlib")
    site = Site(tmp_path, server, towline={"broker": valkey.url()})
    site.put("a.xml")
    # So long does the breaker stay open.
    site.config.write_text(site.config.read_text().replace('within = "20s"', 'within = "4m"'))
    monkeypatch.setenv("BANK_PASSWORD", server.password)
    monkeypatch.setenv("TOWLINE_CONFIG", str(site.config))

    def tasks(*names: str) -> list[Any]:
        command = [sys.executable, "-c", TASKS, *names]
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout
        return [json.loads(line) for line in told.splitlines()]

    [poll] = tasks("poll")
    assert poll["ready"] == 1
    server.stop()
    verbs = (
        ("ls", "bank", "/out"),
        ("get", "bank", "/out/a.xml", str(tmp_path / "got")),
        ("put", "bank", str(site.config), "/out/b"),
        ("check", "bank"),
        ("run", "statements"),
    )
    for number, verb in enumerate(verbs, start=1):
        ended = CliRunner().invoke(main, verb)
        assert ended.exit_code == 3, ended.output
        assert f"bank could not be reached: {ATTEMPTS} attempts" in ended.output
        assert f"{number * ATTEMPTS} failures in a row" in ended.output
    knocked = len(verbs) * ATTEMPTS
    before, poll, after = tasks("fetch", "poll", "fetch")
    assert before[:5] == ["ReconnectFailed", "bank", 0, knocked, 0]
    assert poll[:5] == ["ReconnectFailed", "bank", ATTEMPTS, knocked + ATTEMPTS, 0]
    assert after[:5] == ["ReconnectFailed", "bank", 0, knocked + ATTEMPTS, 0]

    server.start()
    fetch, poll, again = tasks("fetch", "poll", "fetch")
    assert fetch[:3] == ["ReconnectFailed", "bank", 0], "nobody has asked yet whether it is back"
    assert poll["complete"] is True
    assert again["published"] == 1

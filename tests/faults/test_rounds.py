"""Rounds against a server that refuses what no file is to blame for."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.faults import acts
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from workers import errors, rounds
from workers.process import Process
from workers.session import Tally
from workers.settings import Settings


def test_an_account_that_may_read_nothing_is_told_as_such(certificates: Certificates, tmp_path: Path) -> None:
    """530 to one RETR after the other: no file is put aside for it; callers know the failure."""
    files = {f"/out/{number}.xml".encode(): b"<a/>" for number in range(3)}
    (tmp_path / "in").mkdir()
    with ScriptedServer(certificates, files=files) as server:
        server.when("RETR", acts.answer("530 Not for you."))
        settings = Settings.model_validate(
            {
                "path": tmp_path / "towline.toml",
                "state_dir": tmp_path / "state",
                "endpoints": {
                    "bank": {
                        "name": "bank",
                        "host": server.host,
                        "port": server.port,
                        "user": server.user,
                        "password": server.password,
                        "ca_file": server.ca_file,
                    }
                },
                "routes": {
                    "statements": {
                        "name": "statements",
                        "endpoint": "bank",
                        "remote": b"/out",
                        "local": tmp_path / "in",
                        "every": 600.0,
                        "settle": 0.0,
                    }
                },
            }
        )
        with closing(Process(settings)) as process:
            route = settings.route("statements")
            rounds.poll(process, route, Tally())
            with pytest.raises(errors.PermissionRefused, match="530 Not for you"):
                rounds.fetch(process, route, Tally())
            counts = process.ledger.polls.counts("statements")
            assert (counts.quarantined, counts.claimed) == (0, 0)

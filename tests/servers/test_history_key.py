"""`history`: how long what the partner no longer lists is remembered."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.command import Site
from tests.servers.server import FtpServer
from tests.waiting import wait_until
from workers import rounds, settings
from workers.process import Process
from workers.session import Tally
from workers.upkeep import upkeep


@pytest.mark.parametrize(("history", "forgotten"), [("1s", 1), ("1h", 0)])
def test_a_file_is_forgotten_when_it_was_gone_for_so_long(
    start_server: Callable[..., FtpServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    history: str,
    forgotten: int,
) -> None:
    """By upkeep, once a complete listing has shown that it is gone; not before that time is over."""
    site = Site(tmp_path, start_server("pyftpdlib"), towline={"history": history})
    site.put("a.xml")
    site.put("b.xml")
    monkeypatch.setenv("BANK_PASSWORD", site.password)
    config = settings.load(site.config)
    with closing(Process(config)) as process:
        route = config.route("statements")
        rounds.poll(process, route, Tally())
        rounds.fetch(process, route, Tally())
        (site.out / "a.xml").unlink()
        rounds.poll(process, route, Tally())

        def pruned() -> int:
            return upkeep(process).pruned

        assert (wait_until(pruned) if forgotten else pruned()) == forgotten
        assert len(process.ledger.history.rows("statements", limit=10)) == 2 - forgotten

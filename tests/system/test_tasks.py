"""Each task as another program calls it: its arguments, its result, and how it refuses what it can't do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, endpoint

WITHIN = 60.0  # seconds, on a busy machine

MOVED = {
    "route",
    "published",
    "bytes",
    "already",
    "vanished",
    "changed",
    "kept",
    "reconnects",
    "seconds",
    "files",
}
POLLED = {"route", "listed", "complete", "reason", "ready", "waiting", "hinted", "reconnects", "seconds"}
SHOWN = 20


@pytest.mark.long
def test_each_task_takes_and_gives_what_the_contract_says(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path
) -> None:
    """poll, fetch, push, probe and upkeep; a file asked for twice, one that is gone, a route that is paused;
    and what can be no batch is refused, by a failure that a program without our classes can read."""
    server = start_server("vsftpd")
    for folder in ("from", "to"):
        (server.root / folder).mkdir(mode=0o777)
    for number in range(SHOWN + 2):
        (server.root / "from" / f"{number}.csv").write_bytes(b"one\n")
    (server.root / "from" / "left-out.tmp").write_bytes(b"two\n")
    orders = tmp_path / "orders"
    orders.mkdir()
    (orders / "1.xml").write_bytes(b"order")
    routes: dict[str, dict[str, Any]] = {
        "in": {"endpoint": "bank", "remote": "/from", "include": ["*.csv"]},
        "out": {"endpoint": "bank", "remote": "/to", "direction": "push", "local": str(orders)},
    }
    with Stack(tmp_path, valkey.url(), endpoints={"bank": endpoint(server)}, routes=routes) as stack:
        stack.start("polls", "transfers")

        def called(task: str, queue: str, **arguments: Any) -> Any:
            return stack.send(task, queue, **arguments).get(timeout=WITHIN)

        def failed(task: str, queue: str, **arguments: Any) -> tuple[str, list[Any]]:
            failure = stack.send(task, queue, **arguments).get(timeout=WITHIN, propagate=False)
            assert isinstance(failure, Exception)
            return type(failure).__name__, list(failure.args)

        # By name, without the filters; twice is once.
        fetched = called("fetch", "transfers", route="in", paths=["left-out.tmp", "/from/0.csv"])
        assert set(fetched) == MOVED
        assert (fetched["published"], fetched["bytes"]) == (2, 8)
        assert {file["local"] for file in fetched["files"]} == {
            str(stack.landing("in") / name) for name in ("left-out.tmp", "0.csv")
        }
        assert set(fetched["files"][0]) == {"path", "bytes", "sha256", "local"}
        again = called("fetch", "transfers", route="in", paths=["left-out.tmp", "gone.csv"])
        assert (again["published"], again["already"], again["vanished"]) == (0, 1, 1)

        many = called(
            "fetch", "transfers", route="in", paths=[f"{number}.csv" for number in range(1, SHOWN + 2)]
        )
        assert len(many["files"]) == many["published"] == SHOWN + 1

        polled = called("poll", "polls", route="in")
        assert set(polled) == POLLED
        assert (polled["listed"], polled["complete"], polled["ready"]) == (SHOWN + 3, True, 0)

        pushed = called("push", "transfers", route="out", paths=["1.xml"])
        assert set(pushed) == MOVED
        assert [set(file) for file in pushed["files"]] == [{"path", "bytes", "sha256", "remote"}]
        assert pushed["files"][0]["remote"] == "/to/1.xml"

        probed = called("probe", "polls", endpoint="bank")
        assert "data channel" in {finding["what"] for finding in probed["findings"]}
        upkept = called("upkeep", "polls")
        assert set(upkept) == {"leases_ended", "temps_removed", "announced", "pruned"}

        assert stack.towline("pause", "in").returncode == 0
        for task, queue in (("poll", "polls"), ("fetch", "transfers")):
            assert called(task, queue, route="in") == {"route": "in", "skipped": "paused"}
        assert stack.towline("resume", "in").returncode == 0

        assert failed("fetch", "transfers", route="inn") == ("UnknownName", ["route", "inn", "in"])
        assert failed("probe", "polls", endpoint="bnak") == ("UnknownName", ["endpoint", "bnak", "bank"])
        for paths in ("0.csv", [1], ["a"] * 1001):
            name, told = failed("fetch", "transfers", route="in", paths=paths)
            assert (name, told[0]) == ("ConfigurationError", "towline.fetch"), told
        name, told = failed("fetch", "transfers", route="out")
        assert (name, told[2]) == ("ConfigurationError", "send towline.push")
        name, told = failed("push", "transfers", route="in")
        assert (name, told[2]) == ("ConfigurationError", "send towline.fetch")

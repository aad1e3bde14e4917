"""What somebody who watches sees: hints as they are needed, and figures where Flower shows its own."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import READY_WITHIN, Stack, endpoint
from tests.waiting import wait_until

ROUTE = {"endpoint": "bank", "remote": "/out", "every": "1h", "batch": {"files": 2}}


@pytest.mark.long
def test_what_a_listing_adds_to_ready_files_is_hinted_for_as_well(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path
) -> None:
    """A file left over gets the first hint; what this poll finds must not wait for the next tick."""
    server = start_server("vsftpd")
    (server.root / "out").mkdir()
    with Stack(
        tmp_path, valkey.url(), endpoints={"bank": endpoint(server)}, routes={"statements": ROUTE}
    ) as stack:
        (server.root / "out" / "left-over.xml").write_bytes(b"<a/>")
        stack.start("polls")
        stack.send("poll", "polls", route="statements").get(timeout=READY_WITHIN)
        for number in range(4):
            (server.root / "out" / f"{number}.xml").write_bytes(b"<a/>")
        found = stack.send("poll", "polls", route="statements").get(timeout=READY_WITHIN)
        assert (found["ready"], found["hinted"]) == (5, 3), "three batches of at most two"
        stack.start("transfers")
        wait_until(lambda: len(stack.landed("statements")) == 5, READY_WITHIN, what="all five landed")
        # A string is a sequence of letters, and none of them a path.
        stack.send("fetch", "transfers", route="statements", paths="/1")
        wait_until(lambda: stack.failed("towline.fetch"), READY_WITHIN, what="the refusal")
        assert [failure["exc_type"] for failure in stack.failed("towline.fetch")] == ["ConfigurationError"]


def test_flower_tells_prometheus_what_the_fleet_has_done(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """At /metrics, beside Celery's own figures."""
    server = start_server("vsftpd")
    (server.root / "out").mkdir()
    (server.root / "out" / "a.xml").write_bytes(b"<a/>")
    with Stack(
        tmp_path,
        valkey.url(),
        endpoints={"bank": endpoint(server)},
        routes={"statements": ROUTE},
        flower_port=free_port(),
    ) as stack:
        stack.start("polls", "transfers", "flower")
        stack.send("poll", "polls", route="statements").get(timeout=READY_WITHIN)
        wait_until(lambda: stack.landed("statements"), READY_WITHIN, what="the file landed")

        def shown() -> str:
            port = stack.commands["flower"][-1].removeprefix("--port=")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=READY_WITHIN) as answer:
                return str(answer.read().decode())

        stack.wait_until_idle()
        figures = shown()
        assert 'towline_files_total{outcome="published",route="statements"} 1.0' in figures
        assert 'towline_files{route="statements",state="FINISHED"} 1.0' in figures
        assert 'towline_certificate_expiry_timestamp_seconds{endpoint="bank"}' in figures
        assert 'towline_sessions{endpoint="bank"} 2.0' in figures, "one of the polls, one of the transfers"
        assert "flower_events_total" in figures

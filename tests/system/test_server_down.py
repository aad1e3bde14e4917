"""A real server is stopped under beat, broker and prefork workers, and comes back."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.proxy import CuttingProxy
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import ATTEMPTS, Stack, digests, endpoint
from tests.waiting import wait_until
from workers.errors import ReconnectFailed

TICK = 0.5  # seconds
TICKS = 20
WITHIN = 60.0  # seconds, on a busy machine

# A program that has nothing of ours but the broker's address.
STRANGER = """
import json, sys
from celery import Celery
app = Celery("somebody-else", broker=sys.argv[1], backend=sys.argv[1])
try:
    app.AsyncResult(sys.argv[2]).get(timeout=60)
except Exception as failure:
    kind = type(failure)
    assert "workers" not in sys.modules
    print(json.dumps([kind.__module__, kind.__name__, failure.args]))
"""


class Told(NamedTuple):
    """The arguments of a ReconnectFailed, with their types."""

    endpoint: str
    attempts: int
    consecutive_failures: int
    reconnects: int
    elapsed_s: float
    last_error: str


def failures(stack: Stack, *names: str) -> list[Told]:
    """The failed tasks that Flower shows, by the time they were received, read back from what it shows."""
    shown = [task for name in names for task in stack.tasks(name, "FAILURE")]
    return [shown_failure(task["exception"]) for task in sorted(shown, key=lambda task: task["received"])]


def shown_failure(text: str) -> Told:
    """`ReconnectFailed(endpoint='bank', attempts=3, …)` → the failure; every argument has to be named."""
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call), text
    assert isinstance(call.func, ast.Name), text
    assert call.func.id == "ReconnectFailed", text
    named = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    assert tuple(named) == Told._fields == ReconnectFailed.names, text
    return Told(**named)


def test_a_server_away_for_twenty_ticks_costs_no_file_an_attempt(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """It goes in mid-transfer; every task fails with counts that agree with the proxy's; the next tick after
    it is back brings everything."""
    server = start_server("vsftpd")
    for number in range(30):
        (server.root / f"{number:02}.bin").write_bytes(os.urandom(60_000))
    with (
        CuttingProxy.before(server) as proxy,
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": endpoint(server, host=proxy.address)},
            routes={"statements": {"endpoint": "bank", "remote": "/", "every": f"{TICK * 1000:.0f}ms"}},
            flower_port=free_port(),
        ) as stack,
    ):
        proxy.data.rate = 200_000  # a file takes long enough that many are left when the server goes
        stack.start("polls", "transfers", "flower")
        stack.start("beat")
        wait_until(lambda: len(server.retrieved()) >= 3, what="the transfers are under way")
        server.stop()
        logins = server.logins()
        assert logins == 2, "one line each of the polls and the transfers"

        wait_until(lambda: len(stack.tasks("towline.poll", "FAILURE")) >= TICKS, what="twenty failed polls")
        with stack.paused("beat"):
            stack.wait_until_idle()
            failed = proxy.control.made - logins
            told = failures(stack, "towline.poll", "towline.fetch")
            assert {one.endpoint for one in told} == {"bank"}
            # The fetch that was cut down had built a line; the first poll had, in a task that went well.
            assert sum(one.attempts for one in told) == failed + 1
            assert max(one.consecutive_failures for one in told) == failed
            assert stack.consecutive_failures("bank") == failed
            assert {one.reconnects for one in told} == {0}
            rows = stack.rows("statements")
            assert {row.attempts for row in rows} == {0}
            assert sum(row.state == "READY" for row in rows) > 0
            before = {task["uuid"] for task in stack.tasks("towline.poll")}
            proxy.data.rate = None
            server.start()
        wait_until(lambda: len(stack.landed("statements")) == 30, what="all files")
        with stack.paused("beat"):
            stack.wait_until_idle()
            assert digests(stack.landing("statements")) == digests(server.root)
            came = [task for task in stack.tasks("towline.poll") if task["uuid"] not in before]
            assert {task["state"] for task in came} <= {"SUCCESS", "REVOKED"}
            assert stack.consecutive_failures("bank") == 0
            assert {row.attempts for row in stack.rows("statements")} == {0}
            # All but the one that was cut: it may have been in flight to its last byte.
            wait_until(lambda: len(server.retrieved()) >= 29, what="the server's log")
            assert len(set(server.retrieved())) == len(server.retrieved()), "what had come was not sent again"


def test_counts_reach_flower_and_every_caller(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """Each failed tick adds its attempts to those before it. A caller with `workers.errors` gets the same
    class, any other the same name and arguments; a tick after the server is back brings what is new."""
    server = start_server("proftpd", tls="implicit")
    (server.root / "first").write_bytes(b"1")
    with Stack(
        tmp_path,
        valkey.url(),
        endpoints={"bank": endpoint(server)},
        routes={"statements": {"endpoint": "bank", "remote": "/", "every": f"{TICK * 1000:.0f}ms"}},
        flower_port=free_port(),
    ) as stack:
        stack.start("polls", "transfers", "flower")
        stack.start("beat")
        wait_until(lambda: stack.landed("statements") == {b"first"}, what="the first file")
        with stack.paused("beat"):
            stack.wait_until_idle()  # both have a line then, and nothing to do with it
            server.stop()
            (server.root / "second").write_bytes(b"2")
        wait_until(lambda: len(failures(stack, "towline.poll")) >= 4, what="four failed polls")

        sent = stack.send("poll", "polls", route="statements")
        with pytest.raises(ReconnectFailed) as caught:
            sent.get(timeout=WITHIN)
        failure = caught.value
        got = Told(*failure.args)
        assert (got.endpoint, got.attempts, got.reconnects) == ("bank", ATTEMPTS, 0)
        assert 0 < got.elapsed_s < 20
        assert "refused" in got.last_error
        wait_until(lambda: stack.flower.get(f"/api/task/info/{sent.id}")["state"] == "FAILURE", what="Flower")
        shown = stack.flower.get(f"/api/task/info/{sent.id}")
        assert shown["exception"] == repr(failure)
        assert shown_failure(shown["exception"]) == got

        stranger = subprocess.run(
            [sys.executable, "-c", STRANGER, valkey.url(), sent.id],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        module, name, arguments = json.loads(stranger.stdout or stranger.stderr)
        assert (name, tuple(arguments)) == ("ReconnectFailed", failure.args)
        assert module != "workers.errors"

        with stack.paused("beat"):
            stack.wait_until_idle()
            told = failures(stack, "towline.poll")
            # The first one had a line, and lost an attempt in finding it dead.
            assert [one.attempts for one in told] == [ATTEMPTS - 1] + [ATTEMPTS] * (len(told) - 1)
            assert [one.consecutive_failures for one in told] == list(
                accumulate(one.attempts for one in told)
            )
            server.start()
        wait_until(lambda: stack.landed("statements") == {b"first", b"second"}, what="the second file")
        wait_until(lambda: server.retrieved() == ["/first", "/second"], what="the server's log")

"""The queue as other programs use it: how far a task is, and taking it back."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.exceptions import TaskRevokedError

from tests.faults.proxy import CuttingProxy
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, digests, endpoint
from tests.waiting import wait_until

StartServer = Callable[..., FtpServer]

WITHIN = 60.0  # seconds, on a busy machine
SIZE = 4_000_000
SLOWLY = 100_000  # bytes a second: forty seconds for a file, in which commands start on a busy machine


class Slow:
    """A worker for transfers, and a line that moves `SLOWLY`."""

    def __init__(self, server: FtpServer, proxy: CuttingProxy, stack: Stack) -> None:
        self.server, self.proxy, self.stack = server, proxy, stack
        proxy.data.rate = SLOWLY
        (server.root / "large").write_bytes(os.urandom(SIZE))

    def send(self, **arguments: Any) -> Any:
        """A fetch whose result is wanted."""
        return self.stack.send("fetch", "transfers", route="in", **arguments)

    def progress(self, task: Any) -> dict[str, Any]:
        """What is told of a task under way, once bytes of it have come."""

        def told() -> dict[str, Any] | None:
            meta = task.backend.get_task_meta(task.id)  # state and facts of one moment
            return meta["result"] if meta["status"] == "PROGRESS" and meta["result"]["bytes"] > 0 else None

        return wait_until(told, WITHIN, what="progress") or {}

    def under_way(self) -> None:
        """Wait until a block of a file has come."""
        before = self.proxy.data.bytes_down
        wait_until(lambda: self.proxy.data.bytes_down > before + SLOWLY, WITHIN, what="bytes flow")


@pytest.fixture
def slow(start_server: StartServer, valkey: Valkey, tmp_path: Path) -> Iterator[Slow]:
    """A stack with one process for transfers."""
    server = start_server("vsftpd")
    with (
        CuttingProxy.before(server) as proxy,
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": endpoint(server, host=proxy.address)},
            routes={"in": {"endpoint": "bank", "remote": "/", "every": "1h"}},
        ) as stack,
    ):
        stack.start("transfers")
        yield Slow(server, proxy, stack)


def test_a_cancelled_fetch_leaves_the_file_as_it_found_it(slow: Slow) -> None:
    """The one under way stops, with its part kept and no attempt counted; one that is queued never begins;
    and the next goes on where it stopped."""
    running, queued = slow.send(paths=["/large"]), slow.send(paths=["/large"])
    facts = slow.progress(running)
    counts = {"files", "bytes", "total_files", "total_bytes", "rate", "reconnects"}
    assert set(facts) == {"route", "seconds"} | counts
    assert (facts["route"], facts["files"], facts["total_files"], facts["total_bytes"]) == ("in", 0, 1, SIZE)
    assert 0 < facts["rate"] < SIZE
    for task in (queued, running):
        ended = slow.stack.towline("submit", "cancel", task.id)
        assert (ended.returncode, ended.stderr) == (0, "")
    told = running.get(timeout=WITHIN)
    assert (told["route"], told["skipped"], told["published"]) == ("in", "cancelled", 0)
    with pytest.raises(TaskRevokedError):
        queued.get(timeout=WITHIN)
    assert "has ended already" in slow.stack.towline("submit", "cancel", queued.id).stdout
    [row] = slow.stack.rows("in")
    assert (str(row.state), row.attempts) == ("READY", 0)
    [part] = [path.stat().st_size for path in slow.stack.landing("in").iterdir()]
    assert 0 < part < SIZE

    slow.proxy.data.rate = None
    before = slow.proxy.data.bytes_down
    assert slow.send(paths=["/large"]).get(timeout=WITHIN)["published"] == 1
    assert digests(slow.stack.landing("in")) == digests(slow.server.root)
    assert slow.proxy.data.bytes_down - before < SIZE


@pytest.mark.long
def test_celerys_own_revoke_is_heard_by_a_task_that_runs(slow: Slow) -> None:
    """For programs that have no `towline` command; whoever waits is told by Celery."""
    running = slow.send(paths=["/large"])
    slow.under_way()
    running.revoke()
    with pytest.raises(TaskRevokedError):
        running.get(timeout=WITHIN)
    wait_until(lambda: slow.proxy.data.open == 0, WITHIN, what="no byte flows any more")
    wait_until(lambda: str(slow.stack.rows("in")[0].state) == "READY", WITHIN, what="the claim is given back")
    assert slow.stack.landed("in") == set()


@pytest.mark.long
def test_a_task_cancelled_before_any_worker_came_does_nothing(slow: Slow) -> None:
    """Nobody heard of it being revoked, and it is not begun all the same."""
    slow.stack.kill("transfers")
    queued = slow.send(paths=["/large"])
    assert slow.stack.towline("submit", "cancel", queued.id).returncode == 0
    slow.stack.start("transfers")
    told = queued.get(timeout=WITHIN)
    assert (told["skipped"], told["published"], told["files"]) == ("cancelled", 0, [])
    assert slow.server.retrieved() == []


@pytest.mark.long
def test_waiting_shows_how_far_it_is(slow: Slow) -> None:
    """On a terminal again and again, elsewhere as plain lines; it ends with 130 where it was cancelled."""
    command = [sys.executable, "-m", "workers.cli", "submit", "fetch", "in", "/large", "--wait"]
    environment = {"PATH": os.defpath, "HOME": str(slow.stack.folder), "TERM": "xterm", "COLUMNS": "120"}
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        command,
        cwd=slow.stack.folder,
        env=environment | slow.stack.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    ) as waiting:
        os.close(terminal)
        shown = ""
        try:
            while shown.count("0 of 1 file, ") < 3:
                shown += os.read(screen, 4096).decode(errors="replace")
            [task_id] = [word for word in shown.split() if word.count("-") == 4][:1]
            assert slow.stack.towline("submit", "cancel", task_id).returncode == 0
            with contextlib.suppress(OSError):  # EIO: nobody writes there any more
                while more := os.read(screen, 4096):
                    shown += more.decode(errors="replace")
            told, _ = waiting.communicate(timeout=WITHIN)
        finally:
            waiting.kill()
            os.close(screen)
    assert waiting.returncode == 130, shown
    assert "0 files published, 0 B; " in told, shown
    assert "KiB/s" in shown

    slow.proxy.data.rate = SIZE // 4
    plain = slow.stack.towline("submit", "fetch", "in", "/large", "--wait")
    assert plain.returncode == 0, plain.stderr
    assert plain.stderr.count("towline.fetch: 0 of ") == 1
    assert "\x1b" not in plain.stderr
    assert "1 file published" in plain.stdout


@pytest.mark.long
def test_a_result_store_that_stands_still_keeps_no_byte_waiting(slow: Slow, valkey: Valkey) -> None:
    """The file comes while nobody can be told of it; and the outcome is the last word, not its progress."""
    slow.proxy.data.rate = SIZE // 6
    task = slow.send()
    wait_until(task.ready, WITHIN, what="there is nothing to fetch")
    slow.stack.start("polls")
    slow.stack.send("poll", "polls", route="in").get(timeout=WITHIN)
    slow.under_way()
    assert valkey.process is not None
    valkey.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: slow.stack.landed("in") == {b"large"}, WITHIN, what="the file, untold")
    finally:
        valkey.process.send_signal(signal.SIGCONT)
    assert task.get(timeout=WITHIN)["published"] == 0, "nothing was ready when it was sent"
    asked = slow.send(paths=["/large"])
    assert asked.get(timeout=WITHIN)["already"] == 1
    with redis.Redis.from_url(valkey.url()) as store:
        kept = [store.get(key) or b"" for key in store.keys("celery-task-meta-*")]
    # The poll's hint wanted no result, so nothing of it is there.
    assert len(kept) == 3
    assert all(b'"SUCCESS"' in one for one in kept)


@pytest.mark.long
def test_a_push_tells_how_far_it_is_and_is_cancelled_alike(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """Nothing has the file's name at the partner, its source stays, and the next push sends it."""
    server = start_server("vsftpd")
    (server.root / "in").mkdir(mode=0o777)
    out = tmp_path / "out"
    out.mkdir()
    size = 10 * SIZE  # what the kernel takes at once, and holds, can't be cancelled
    (out / "large").write_bytes(os.urandom(size))
    route = {"endpoint": "bank", "direction": "push", "local": str(out), "remote": "/in", "after": "delete"}
    with (
        CuttingProxy.before(server) as proxy,
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": endpoint(server, host=proxy.address)},
            routes={"orders": route},
        ) as stack,
    ):
        proxy.data.rate = SLOWLY
        stack.start("transfers")
        running = stack.send("push", "transfers", route="orders", paths=["large"])
        wait_until(lambda: running.state == "PROGRESS" and running.info["bytes"] > 0, WITHIN, what="progress")
        assert stack.towline("submit", "cancel", running.id).returncode == 0
        told = running.get(timeout=WITHIN)
        assert (told["skipped"], told["published"]) == ("cancelled", 0)
        assert not (server.root / "in" / "large").exists()
        assert (out / "large").exists()

        proxy.data.rate = None
        sent = stack.towline("submit", "push", "orders", "large", "--wait", "--json")
        assert sent.returncode == 0, sent.stderr
        assert json.loads(sent.stdout)["files"][0]["remote"] == "/in/large"
        assert (server.root / "in" / "large").stat().st_size == size
        assert not (out / "large").exists()

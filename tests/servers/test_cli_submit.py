"""`towline submit`, with a real broker and a real worker."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from tests.servers.command import LIMIT_S, Site
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.waiting import wait_until

StartServer = Callable[..., FtpServer]


@contextlib.contextmanager
def a_worker(site: Site) -> Iterator[None]:
    """One worker for both queues, up and ready."""
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-P", "solo", "-l", "INFO"]
    environment = os.environ | {"TOWLINE_CONFIG": str(site.config), "BANK_PASSWORD": site.password}
    log = site.folder / "worker.log"
    with (
        log.open("wb") as said,
        subprocess.Popen(
            [*command, "-n", "w@%h", "-Q", "towline.polls,towline.transfers"],
            env=environment,
            stdout=said,
            stderr=said,
        ) as worker,
    ):
        try:
            wait_until(lambda: " ready." in log.read_text() or worker.poll() is not None)
            assert worker.poll() is None, log.read_text()
            yield
        finally:
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()
            print(log.read_text()[-3000:])


def test_waiting_for_a_task_ends_as_the_task_does(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """The contract's results in JSON, words for people, and the exit code of the failure where it failed."""
    server = start_server("pyftpdlib")
    site = Site(tmp_path, server, towline={"broker": valkey.url()}, route={"include": ["*.xml"]})
    site.put("a.xml", b"hello\n")
    site.put("asked-for.txt", b"by name\n")
    with a_worker(site):
        polled = site.json("submit", "poll", "statements", "--wait")
        assert {key: polled[key] for key in ("route", "listed", "complete", "reason", "waiting")} == {
            "route": "statements",
            "listed": 2,
            "complete": True,
            "reason": None,
            "waiting": 0,
        }
        fetched = site.json("submit", "fetch", "statements", "asked-for.txt", "--wait")
        assert (fetched["published"], fetched["files"][0]["path"]) == (1, "/out/asked-for.txt")
        told = site.towline("submit", "fetch", "statements", "--wait")
        assert told.returncode == 0, told.stderr
        assert told.stdout.startswith("statements: ")
        wait_until(lambda: (site.landed / "a.xml").exists())
        assert (site.landed / "asked-for.txt").read_bytes() == b"by name\n"

        sent = site.towline("submit", "poll", "statements")
        assert sent.returncode == 0
        assert len(sent.stdout.strip()) == 36, "the task's id"

        site.towline("pause", "statements")
        paused = site.towline("submit", "poll", "statements", "--wait")
        assert paused.returncode == 0
        assert "towline resume" in paused.stdout
        site.towline("resume", "statements")

        server.stop()
        failed = site.towline("submit", "poll", "statements", "--wait")
        assert failed.returncode == 3, failed.stderr
        # Two connects where the first attempt was to use the line that the worker held; on a slow machine it
        # was idle for so long that it was asked first, and thrown away.
        assert re.search("bank could not be reached: [23] attempts", failed.stderr), failed.stderr


def test_nobody_who_takes_the_task_is_no_reason_to_hang_on(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """Ctrl-C while waiting ends with 130; the task stays on the queue for whoever comes."""
    site = Site(tmp_path, start_server("pyftpdlib"), towline={"broker": valkey.url()})
    with site.started("submit", "poll", "statements", "--wait") as waiting:
        assert waiting.stderr is not None
        assert "is queued" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        told = waiting.communicate(timeout=LIMIT_S)
        assert waiting.returncode == 130, told
        assert "Traceback" not in told[1]
        assert "`towline submit cancel " in told[1]


def test_without_a_broker_it_is_wrong_usage(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """None configured and none running, or one that doesn't answer: 2, what to do, no password."""
    server = start_server("pyftpdlib")
    embedded = Site(tmp_path / "embedded", server).towline("submit", "poll", "statements")
    assert embedded.returncode == 2
    assert "towline up" in embedded.stderr
    url = valkey.url()
    valkey.stop()
    configured = Site(tmp_path / "configured", server, towline={"broker": url})
    for verb in (("poll", "statements"), ("fetch", "statements", "a.xml", "--wait")):
        ended = configured.towline("submit", *verb)
        assert ended.returncode == 2, ended.stderr
        assert f"{valkey.port}" in ended.stderr
        assert valkey.password not in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr


def test_an_unknown_route_is_not_sent(start_server: StartServer, valkey: Valkey, tmp_path: Path) -> None:
    """It ends with 2 before anything is on the queue."""
    site = Site(tmp_path, start_server("pyftpdlib"), towline={"broker": valkey.url()})
    ended = site.towline("submit", "poll", "statement")
    assert ended.returncode == 2
    assert "did you mean 'statements'?" in ended.stderr


def test_a_poll_under_way_is_not_cancelled(start_server: StartServer, valkey: Valkey, tmp_path: Path) -> None:
    """Nothing in it would look; who asks for it is told so, and that a task which has ended needs none."""
    site = Site(tmp_path, start_server("pyftpdlib"), towline={"broker": valkey.url()})
    told: dict[str, object] = {"name": "towline.poll", "result": None, "traceback": None, "children": []}
    with redis.Redis.from_url(valkey.url()) as store:
        store.set("celery-task-meta-1", json.dumps(told | {"task_id": "1", "status": "STARTED"}))
        store.set("celery-task-meta-2", json.dumps(told | {"task_id": "2", "status": "SUCCESS"}))
    polling, ended = site.towline("submit", "cancel", "1"), site.towline("submit", "cancel", "2")
    assert polling.returncode == 2
    assert "1 is a towline.poll under way" in polling.stderr
    assert (ended.returncode, ended.stdout) == (0, "2 has ended already: success\n")

"""`towline demo`, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.system.processes import ends
from tests.waiting import wait_until
from workers.cli.demo_audience import DRAIN, Audience
from workers.cli.demo_scene import Maker

PROCESSES = 2 + 2  # for polls and for transfers: each opens its first line without having lost one
DEMO = [sys.executable, "-m", "workers.cli", "demo"]


# Sixty seconds more than its fifteen are the demo's own patience, for what has not arrived by then.
@pytest.mark.timeout(400)
def test_demo_shows_the_main_job_and_ends_by_itself(tmp_path: Path) -> None:
    """Files arrive, reconnects are counted, Flower's address is told; all whole, a line rebuilt: exit 0."""
    # Whoever has a Towline of his own keeps it out of the demo, and the demo out of it.
    own = tmp_path / "own.toml"
    own.write_text("[towline]\nnonsense = true\n")
    environment = {**os.environ, "TOWLINE_CONFIG": str(own), "TMPDIR": str(tmp_path)}
    ran = subprocess.run(
        [*DEMO, "--seconds", "15"], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    said = ran.stdout
    assert ran.returncode == 0, said + ran.stderr
    summary = re.search(
        r"(\d+) files made, (\d+) arrived whole .*, 0 not arrived, 0 damaged\.\n"
        r"(\d+) lines rebuilt; the server saw (\d+) logins and hung up (\d+) times\.",
        said,
    )
    assert summary is not None, said
    made, whole, rebuilt, logins, hung_up = map(int, summary.groups())
    assert made == whole >= 1
    assert said.count("arrived whole,") == whole
    # Towline's count against the server's: each line but the first of each process is a rebuilt one.
    assert 1 <= rebuilt <= hung_up <= logins
    assert logins - rebuilt <= PROCESSES
    assert "Flower: http://127.0.0.1:" in said
    assert "\x1b" not in said  # no terminal: no colours, no animation
    assert ran.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["own.toml"]


def test_demo_ends_at_a_rebuilt_line_that_comes_after_the_last_file(tmp_path: Path) -> None:
    """That is all it still waits for then: it does not wait until its patience ends."""
    (tmp_path / "arrived").mkdir()
    scene = SimpleNamespace(arrived=tmp_path / "arrived", folder=tmp_path)
    audience = Audience(scene, Maker(scene), 0)  # type: ignore[arg-type]
    stopped = threading.Event()
    clock = threading.Thread(target=audience._end_in_time, args=(0, stopped.set))
    clock.start()
    assert not stopped.wait(0.1), "no line was rebuilt yet"
    audience._task_ended("towline.poll", "{'reconnects': 1}")
    assert stopped.wait(DRAIN / 2)
    clock.join()


def test_demo_is_ended_by_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C at any moment ends it cleanly: exit 0, no process and no folder left."""
    log = tmp_path / "said"
    with log.open("w") as said:
        demo = subprocess.Popen(
            DEMO,
            stdout=said,
            stderr=said,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            start_new_session=True,
        )
    try:
        wait_until(lambda: "arrived whole" in log.read_text() or demo.poll() is not None, what="a file")
        running = [process.pid for process in psutil.Process(demo.pid).children(recursive=True)]
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0, log.read_text()
    finally:
        demo.kill()
        demo.wait()
        print(log.read_text())  # pytest shows it when the test failed
    assert all(ends(pid) for pid in running)
    assert "files made" in log.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["said"]

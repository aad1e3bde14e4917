"""The process tree of `towline up`: real processes, real signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.processes import ends
from workers.child import Child, Wait
from workers.cli import tree as tree_module
from workers.cli.tree import Member, ProcessTree
from workers.errors import ConfigurationError

SLEEPER = "import time; print('here', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


class Stage:
    """Collects what the processes and the tree say, and acts when something was said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.pids: dict[str, list[int]] = {}
        self._when: list[tuple[str, Callable[[], object]]] = []
        self._lock = threading.Lock()

    def member(self, name: str, script: str, *, stop_within: float = 60.0) -> Member:
        """A Python process as a member; what it prints is said as `name: line`."""

        def start(_: Wait) -> Child:
            child = Child([sys.executable, "-c", script], line=lambda line: self.hear(f"{name}: {line}"))
            self.pids.setdefault(name, []).append(child.pid)
            return child

        return Member(name, start, stop_within)

    def when(self, line: str, then: Callable[[], object]) -> None:
        """Call `then` once, as soon as `line` was said."""
        self._when.append((line, then))

    def hear(self, line: str) -> None:
        with self._lock:
            self.said.append(line)
            due = [then for told, then in self._when if told == line]
            self._when = [(told, then) for told, then in self._when if told != line]
        for then in due:
            then()


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_stops_last_stage_first_with_sigterm(stage: Stage) -> None:
    """An orderly stop asks each stage with SIGTERM, the last one first, and waits for it before the next."""
    orderly = (
        "import signal, sys, time\n"
        "def end(*_): print('asked', flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('here', flush=True); time.sleep(60)"
    )
    tree = ProcessTree([[stage.member("broker", orderly)], [stage.member("beat", orderly)]], tell=stage.hear)
    here = threading.Barrier(2, action=tree.stop)  # only when both can be asked
    stage.when("broker: here", here.wait)
    stage.when("beat: here", here.wait)
    assert tree.run()
    assert [line for line in stage.said if "here" not in line] == [
        "stopping beat",
        "beat: asked",
        "stopping broker",
        "broker: asked",
    ]


def test_dead_member_is_started_again(stage: Stage) -> None:
    """A member killed from outside is told with its signal, and another one takes its place."""
    tree = ProcessTree([[stage.member("worker", SLEEPER)]], tell=stage.hear)

    def kill_then_stop() -> None:
        stage.when("worker: here", tree.stop)
        os.kill(stage.pids["worker"][0], signal.SIGKILL)

    stage.when("worker: here", kill_then_stop)
    assert tree.run()
    assert "worker was killed by SIGKILL; it is started again in 0.5 s" in stage.said
    assert len(stage.pids["worker"]) == 2


def test_waits_longer_after_each_death(stage: Stage) -> None:
    """A member that dies at once, again and again, doesn't keep the machine busy."""
    tree = ProcessTree([[stage.member("worker", "raise SystemExit(3)")]], tell=stage.hear)
    stage.when("worker ended with exit code 3; it is started again in 1 s", tree.stop)
    assert tree.run()
    assert stage.said[:2] == [
        "worker ended with exit code 3; it is started again in 0.5 s",
        "worker ended with exit code 3; it is started again in 1 s",
    ]


def test_stubborn_member_is_killed_with_its_children(stage: Stage) -> None:
    """Who ignores SIGTERM is killed after its time, and so is what it has started."""
    parent = (
        "import subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, flush=True)\n"
        f"{STUBBORN}"
    )
    tree = ProcessTree([[stage.member("worker", parent, stop_within=0.5)]], tell=stage.hear)
    stage.when("worker: here", tree.stop)
    begun = time.monotonic()
    assert tree.run()
    assert time.monotonic() - begun >= 0.5
    assert "worker did not stop in 0.5 s: killed" in stage.said
    assert ends(int(stage.said[0].removeprefix("worker: ")))


def test_second_signal_ends_it_at_once(stage: Stage) -> None:
    """After a second SIGTERM nobody is waited for; the run says that it was not orderly."""
    tree = ProcessTree([[stage.member("worker", STUBBORN, stop_within=600)]], tell=stage.hear)
    me = os.getpid()
    stage.when("worker: here", lambda: os.kill(me, signal.SIGTERM))
    stage.when("stopping worker", lambda: threading.Timer(0.5, os.kill, (me, signal.SIGTERM)).start())
    assert not tree.run()
    assert ends(stage.pids["worker"][0])


def test_doubled_signal_is_one_stop(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """timeout(1) signals its child and then the child's group: an orderly stop stays orderly."""
    monkeypatch.setattr(tree_module, "SAME_STOP", 60.0)  # a busy machine may take a while between the two
    slow = (
        "import signal, sys, time\n"
        "def end(*_): time.sleep(0.6); print('ended', flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('here', flush=True); time.sleep(60)"
    )
    tree = ProcessTree([[stage.member("worker", slow)]], tell=stage.hear)
    me = os.getpid()
    stage.when("worker: here", lambda: os.kill(me, signal.SIGTERM))
    stage.when("stopping worker", lambda: os.kill(me, signal.SIGTERM))
    assert tree.run()
    assert "worker: ended" in stage.said


def test_hangup_is_no_stop(stage: Stage) -> None:
    """A terminal that is closed (SIGHUP) stops nothing."""
    tree = ProcessTree([[stage.member("worker", SLEEPER)]], tell=stage.hear)

    def hang_up() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        threading.Timer(0.3, stage.hear, ("still here",)).start()

    stage.when("worker: here", hang_up)
    stage.when("still here", tree.stop)
    assert tree.run()
    assert stage.said[:3] == ["worker: here", "still here", "stopping worker"]


def test_nothing_is_left_when_a_member_cannot_start(stage: Stage) -> None:
    """A member that can't be started at the beginning ends the run, and everything begun before it."""

    def refuse(_: Wait) -> Child:
        raise ConfigurationError("here", "it can't be", "do otherwise")

    tree = ProcessTree([[stage.member("broker", SLEEPER)], [Member("beat", refuse, 1.0)]], tell=stage.hear)
    with pytest.raises(ConfigurationError):
        tree.run()
    assert ends(stage.pids["broker"][0])


def test_signal_handlers_are_put_back(stage: Stage, tmp_path: Path) -> None:
    """After the run, Ctrl-C means again what it meant before."""
    before = signal.getsignal(signal.SIGINT)
    tree = ProcessTree([[stage.member("worker", SLEEPER)]], tell=stage.hear)
    stage.when("worker: here", tree.stop)
    tree.run()
    assert signal.getsignal(signal.SIGINT) is before

"""One turn of a program: how long it took, and what it, and the server, used for it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LOOK_EVERY_S = 0.05  # memory's highest mark is the kernel's: nothing between two looks is lost
REPOSITORY = Path(__file__).resolve().parents[2]


class TurnFailed(Exception):
    """The program ended with an error, too late, or without having done its work; the message says which."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run. environment: beside PATH, HOME and the language, which all get."""

    argv: tuple[str | Path, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def shown(self, hidden: Mapping[str, str]) -> str:
        """As one would type it, without passwords, and with `hidden` texts (scratch folders) replaced."""
        # rclone's is no text that `hidden` could know: it is obscured anew each time.
        variables = [
            f"{name}={'PASSWORD' if 'PASS' in name else value}"
            for name, value in self.environment.items()
            if name.isupper()
        ]
        text = " ".join([*map(shlex.quote, variables), *(shlex.quote(str(word)) for word in self.argv)])
        for secret, name in hidden.items():
            text = text.replace(secret, name)
        return text


@dataclass(frozen=True, slots=True)
class Sample:
    """A turn. CPU seconds are user and system together; peak_bytes: resident, of the whole process tree.

    round_trips: counted on the far link; None elsewhere. own_s: seconds the program itself counts as work.
    """

    wall_s: float
    client_cpu_s: float
    server_cpu_s: float
    peak_bytes: int
    round_trips: int | None = None
    own_s: float | None = None


@dataclass(frozen=True, slots=True)
class SystemCalls:
    """How many a run made. empty_reads: those of `total` that found nothing yet (EAGAIN)."""

    total: int
    empty_reads: int


def run(
    command: Command,
    *,
    scratch: Path,
    server_pid: int,
    limit_s: float,
    namespace: contextlib.AbstractContextManager[object] | None = None,
) -> Sample:
    """Run a program to its end. namespace: entered while it is started. Raises TurnFailed."""
    log = scratch / "output"
    with log.open("wb") as output:
        began = time.monotonic()
        with namespace or contextlib.nullcontext():
            process = subprocess.Popen(
                command.argv,
                env=surroundings(scratch) | dict(command.environment),
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with _Watch(process.pid, server_pid) as watch:
            timer = threading.Timer(limit_s, _kill_group, [process.pid])
            timer.start()
            try:
                _, status, used = os.wait4(process.pid, 0)
                wall_s = time.monotonic() - began
            except BaseException:
                _kill_group(process.pid)
                raise
            finally:
                timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    _kill_group(process.pid)  # what outlived it
    if wall_s >= limit_s:
        raise TurnFailed(f"stopped after {limit_s:.0f} s")
    if process.returncode:
        raise TurnFailed(f"exit code {process.returncode}: {last_line(log)}")
    return Sample(wall_s, used.ru_utime + used.ru_stime, watch.server_cpu_s, watch.peak)


def count_syscalls(command: Command, *, scratch: Path, limit_s: float) -> SystemCalls | None:
    """The system calls of a run; None where strace can't be had, or may not look."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    summary = scratch / "strace"
    traced = Command((strace, "-f", "-c", "-o", summary, *command.argv), command.environment)
    try:
        run(traced, scratch=scratch, server_pid=os.getpid(), limit_s=limit_s)
    except TurnFailed:
        return None
    # "% time, seconds, usecs/call, calls, errors (or nothing), name"
    rows = re.findall(r"^ *\S+ +\S+ +\d+ +(\d+) +(\d*) +(\w+)$", summary.read_text(), re.MULTILINE)
    calls = sum(int(count) for count, _, name in rows if name != "total")
    empty_reads = sum(int(errors or 0) for _, errors, name in rows if name == "read")
    return SystemCalls(calls, empty_reads) if calls else None


def surroundings(home: Path) -> dict[str, str]:
    """The environment of every contestant: nothing of the user's own."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC"}


def cpu_of_tree(pid: int) -> float:
    """CPU seconds of a process and of all below it, those included that it has waited for."""
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        for one in [first, *first.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(one.cpu_times()[:4])
    return total


def last_line(log: Path) -> str:
    """What a program said last."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


class _Watch:
    """Looks at the memory of one process tree, and at the processor time of another, the server's.

    peak: bytes. A server's process for a line may end, and be buried by somebody whom nobody asks: so what
    each was last seen to have used is kept, which misses at most what it used since the last look.
    """

    def __init__(self, pid: int, server_pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._server_pid = server_pid
        self._before = self._after = _cpu_by_process(server_pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="bench-watch", daemon=True)

    @property
    def server_cpu_s(self) -> float:
        """Seconds that the server has used since the beginning."""
        return sum(self._after.values()) - sum(self._before.values())

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self.peak = max(self.peak, peak_of_tree(self._pid))
            self._after = self._after | _cpu_by_process(self._server_pid)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._after = self._after | _cpu_by_process(self._server_pid)


def _cpu_by_process(pid: int) -> dict[int, float]:
    """CPU seconds of each process that is in the tree now, its ended children left out."""
    found: dict[int, float] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        for one in [first, *first.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                found[one.pid] = sum(one.cpu_times()[:2])
    return found


def peak_of_tree(pid: int) -> int:
    """The highest marks (bytes) of all processes that are in the tree now.

    getrusage() would not do: a child takes its parent's mark over.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        return sum(_high_water(one.pid) for one in [first, *first.children(recursive=True)])
    return 0


def _high_water(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    mark = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(mark[1]) * 1024 if mark else 0


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)

"""A process of our own that does not outlive us.

Whoever starts a broker, a worker or beat as a child must not leave it behind, not even when he is
killed with SIGKILL and can clean up nothing. Linux can promise that: PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

# Runs between our fork and the real program. A `preexec_fn` would do the same, but it runs Python in a
# forked copy of a process that has threads (our readers), which can deadlock; an exec in between can't.
# The comparison of parents closes the gap in which we died before the promise was made.
_LEASH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Readable(Protocol):
    """What a selector can wait for."""

    def fileno(self) -> int:
        """Its descriptor."""


Wait = Callable[[Readable, float], bool]
"""Whether something becomes readable within so many seconds; False at once when nobody wants it any more."""


def patiently(ready: Readable, within: float) -> bool:
    """The `Wait` of those who have nothing else to hear."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(ready, selectors.EVENT_READ)
        return bool(waiting.select(within))


class Child:
    """A running process in a session of its own, whose output is read line by line.

    It is in a session, and so in a process group, of its own: a Ctrl-C at the terminal reaches us and not
    it, and `end` can kill whatever it has started itself. Start it from a thread that lives as long as the
    child should: Linux ties the promise to the thread that forked, not to the process.

    `line` is called from a reader thread with each line of its output (both streams, without the line end);
    `silence`, if given, once both are closed. `stdin` is written whole and closed, so keep it below the
    64 KiB of a pipe.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        line: Callable[[str], object],
        silence: Callable[[], object] | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        stdin: bytes = b"",
        handles: Sequence[int] = (),
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            pass_fds=tuple(handles),
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._reader = threading.Thread(
            target=self._read, args=(line, silence), name=f"output of {self.pid}", daemon=True
        )
        self._reader.start()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(stdin)

    def fileno(self) -> int:
        """A descriptor that becomes readable when the process has ended; selectors take a Child as it is."""
        return self._pidfd

    def wait(self, timeout: float) -> bool:
        """Whether it ended within `timeout` seconds."""
        if self._pidfd < 0:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout) * 1000))

    def ask(self, number: signal.Signals) -> None:
        """Send a signal to the process itself (its own children are its own affair)."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def end(self) -> int:
        """Kill what is left of its process group, and reap it. Returns its exit code, negative for a signal.

        The group is killed before the leader is reaped: until then nobody else can be given its number.
        """
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            os.close(self._pidfd)
            self._pidfd = -1
            # Its last words. Somebody who left the group may hold the pipe open, hence the limit.
            self._reader.join(1.0)
        return self._process.wait()

    def _read(self, line: Callable[[str], object], silence: Callable[[], object] | None) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            for said in pipe:
                line(said.decode("utf-8", "replace").rstrip())
        if silence is not None:
            silence()

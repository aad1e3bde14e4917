"""Certificates and servers for the protocol's tests: pyftpdlib over TLS, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import trustme
from OpenSSL import SSL
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from workers.ftps.connection import Peer
from workers.ftps.tls import Trust

USER, PASSWORD = "acme", "s3cret-Wort"


@dataclass(frozen=True)
class Certificates:
    """An authority and a server's certificate for localhost, as files."""

    authority: trustme.CA
    ca_file: str
    chain_file: str  # key and certificate of the server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One authority for the whole run."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(folder / "server.pem")
    )
    return Certificates(authority, str(folder / "ca.pem"), str(folder / "server.pem"))


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
            "connect_timeout": 5,
            "reply_timeout": 5,
            "idle_timeout": 5,
        }
        return Peer(**(values | changes))


Serve = Callable[..., Server]


@pytest.fixture
def serve(certificates: Certificates, tmp_path: Path) -> Iterator[Serve]:
    """Start a server: serve("implicit", some_handler_attribute=…)."""
    running: list[tuple[FTPServer, IOLoop, threading.Thread, threading.Event]] = []

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
        handler.certfile = certificates.chain_file
        handler.authorizer = authorizer
        handler.tls_control_required = True
        handler.tls_data_required = True
        handler.ssl_context = None
        for name, value in attributes.items():
            setattr(handler, name, value)
        # One context for all, with an id, so that the server resumes sessions.
        handler.ssl_context = handler.get_ssl_context()
        handler.ssl_context.set_session_id(b"towline")
        handler.ssl_context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
        loop = IOLoop()
        server = FTPServer(("127.0.0.1", 0), handler, ioloop=loop)
        stop = threading.Event()

        def run() -> None:
            while not stop.is_set():
                loop.loop(timeout=0.02, blocking=False)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        running.append((server, loop, thread, stop))
        return Server(server.socket.getsockname()[1], root, certificates.ca_file, tls, commands)

    yield start
    for server, _, thread, stop in running:
        stop.set()
        thread.join(5)
        server.close_all()

"""The demo's FTPS server: implicit TLS, its own certificate, and it hangs up on clients that are idle.

A process of its own (`python -m workers.cli.demo_server`), so that its loop never waits for Towline's.
It is told everything on standard input, as one JSON object, because arguments can be read in `ps`.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from dataclasses import asdict, dataclass

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import FTPServer

# The lines it says, and the demo counts.
LINE_OPENED = "line opened"
HUNG_UP = "hung up on an idle client"


@dataclass(frozen=True, slots=True)
class Service:
    """What the server needs to know."""

    listener: int  # an inherited descriptor: it listens already, so its port is known before it runs
    root: str
    certificate: str  # PEM: key and chain
    user: str
    password: str
    idle_limit: float  # seconds between two commands

    def to_json(self) -> bytes:
        """What the server reads on its standard input."""
        return json.dumps(asdict(self)).encode()


class ImplicitTls(TLS_FTPHandler):  # type: ignore[misc]  # pyftpdlib carries no types
    """A control connection that begins with the TLS handshake; pyftpdlib knows only AUTH TLS by itself."""

    def handle(self) -> None:
        """Handshake first: the banner comes encrypted."""
        self.secure_connection(self.ssl_context)

    def handle_ssl_established(self) -> None:
        """Now the banner."""
        print(LINE_OPENED, flush=True)
        super().handle()

    def handle_timeout(self) -> None:
        """Hang up, as servers and firewalls do: `421`, then the end."""
        print(HUNG_UP, flush=True)
        super().handle_timeout()


def serve(service: Service) -> None:
    """Serve until killed."""
    # Its own log is chatter here: each hang-up would be told three times.
    logging.basicConfig(level=logging.WARNING)
    accounts = DummyAuthorizer()
    accounts.add_user(service.user, service.password, service.root, perm="elr")
    ImplicitTls.authorizer = accounts
    ImplicitTls.certfile = service.certificate
    ImplicitTls.tls_control_required = True
    ImplicitTls.tls_data_required = True
    ImplicitTls.timeout = service.idle_limit
    ImplicitTls.banner = "Towline's demo server"
    FTPServer(socket.socket(fileno=service.listener), ImplicitTls).serve_forever(handle_exit=False)


if __name__ == "__main__":
    serve(Service(**json.load(sys.stdin)))

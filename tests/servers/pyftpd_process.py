"""The process of class Pyftpd: `python -m tests.servers.pyftpd_process FILE`; FILE describes it in JSON."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_DTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

from tests.servers.server import open_log

VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


class Line(TLS_FTPHandler):
    """A control connection that logs what the tests count."""

    log_file: Any = None
    tls_control_required = True
    tls_data_required = True

    def on_connect(self) -> None:
        self.say("connected", self.remote_port)

    def on_login(self, username: str) -> None:
        self.say("logged-in", username)

    def on_login_failed(self, username: str, _password: str) -> None:
        self.say("refused", username)

    def on_file_sent(self, file: str) -> None:
        self.say("sent", self.fs.fs2ftp(file))

    def on_file_received(self, file: str) -> None:
        self.say("received", self.fs.fs2ftp(file))

    def say(self, event: str, about: object) -> None:
        """A line of the log: the event, a blank, JSON."""
        self.log_file.write(f"{event} {json.dumps(about)}\n")


class ResumedData(TLS_DTPHandler):
    """A data connection that has to resume a TLS session, as vsftpd and ProFTPD have it."""

    def handle_ssl_established(self) -> None:
        # pyOpenSSL has no method that tells.
        if not SSL._lib.SSL_session_reused(self.socket._ssl):  # type: ignore[attr-defined]
            self.cmd_channel.respond("522 SSL connection failed: session reuse required.")
            self.close()


class ImplicitLine(Line):
    """TLS from the first byte on; the greeting waits until the handshake is over."""

    def handle(self) -> None:
        self.secure_connection(self.ssl_context)

    def handle_ssl_established(self) -> None:
        super().handle()


def serve(about: dict[str, Any]) -> None:
    """Runs a server until the process is ended; SIGUSR1 drops all lines, SIGUSR2 ends them with a 421."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(about["chain"])
    context.use_privatekey_file(about["key"])
    context.set_min_proto_version(VERSIONS[about["version"]])
    context.set_max_proto_version(VERSIONS[about["version"]])
    context.set_session_id(b"towline-tests")
    if about["session"] is not None:
        context.set_timeout(about["session"])
    authorizer = DummyAuthorizer()
    authorizer.add_user(about["user"], about["password"], about["root"], perm="elradfmwMT")
    for folder in about["forbidden"]:
        authorizer.override_perm(about["user"], folder, "", recursive=True)
    line = ImplicitLine if about["implicit"] else Line
    line.authorizer = authorizer
    line.ssl_context = context
    if about["resumed"]:
        line.dtp_handler = ResumedData
    line.passive_ports = range(about["first"], about["stop"])
    line.timeout = about["idle"]
    line.auth_failed_timeout = 0
    line.log_file = open_log(Path(about["log"]))
    line.use_gmt_times = True
    line.tcp_no_delay = True
    server = FTPServer((about["host"], about["port"]), line)
    server.max_cons = about["connections"]

    def drop() -> None:
        channels = [
            one
            for one in server.ioloop.socket_map.values()
            if isinstance(one, TLS_FTPHandler | TLS_DTPHandler)
        ]
        for channel in channels:
            channel._error = True  # pyftpdlib's own way to close without a TLS farewell
            channel.close()
        line.log_file.write(f"dropped {sum(isinstance(one, TLS_FTPHandler) for one in channels)}\n")

    def say_goodbye() -> None:
        controls = [one for one in server.ioloop.socket_map.values() if isinstance(one, TLS_FTPHandler)]
        for control in controls:
            control.respond("421 Closing an idle line.")
            control.close_when_done()
        line.log_file.write(f"dismissed {len(controls)}\n")

    # Between two rounds of the loop, never inside one: a reply begun by a signal handler in the middle of
    # a send would send that one twice.
    orders: list[Callable[[], None]] = []
    signal.signal(signal.SIGUSR1, lambda *_: orders.append(drop))
    signal.signal(signal.SIGUSR2, lambda *_: orders.append(say_goodbye))
    server.ioloop.call_every(0.005, lambda: orders.pop(0)() if orders else None)
    server.serve_forever(handle_exit=False)


if __name__ == "__main__":
    serve(json.loads(Path(sys.argv[1]).read_text()))

"""Stock ftplib, taught to resume TLS sessions and to begin with TLS: the real servers are tested by it."""

from __future__ import annotations

import ftplib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.servers.server import FtpServer, TlsMode


class FtplibClient(ftplib.FTP_TLS):
    """FTP_TLS with `implicit` TLS, and with data sessions that resume the control connection's."""

    def __init__(self, ca_file: Path, *, tls: TlsMode = "explicit", resume: bool = True) -> None:
        super().__init__(context=ssl.create_default_context(cafile=str(ca_file)), timeout=60)
        self.tls_mode = tls
        self.resume = resume
        self.data_resumed = 0

    @classmethod
    def of(cls, server: FtpServer, *, password: str | None = None, resume: bool = True) -> FtplibClient:
        """Connected and logged in, data protected."""
        client = cls(server.ca_file, tls=server.tls, resume=resume)
        try:
            client.connect(server.host, server.port)
            client.login(server.user, password or server.password)
            client.prot_p()
        except BaseException:
            client.close()
            raise
        return client

    def connect(self, host: str = "", port: int = 0, *_: Any, **__: Any) -> str:
        if self.tls_mode == "explicit":
            return super().connect(host, port)
        self.host, self.port = host, port
        raw = socket.create_connection((host, port), self.timeout)
        self.af = raw.family
        self.sock = self.context.wrap_socket(raw, server_hostname=host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        data, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        control = self.sock
        assert isinstance(control, ssl.SSLSocket)
        session = control.session if self.resume else None
        protected = self.context.wrap_socket(data, server_hostname=self.host, session=session)
        self.data_resumed += bool(protected.session_reused)
        return protected, size

    def fetch(self, path: str) -> bytes:
        """A whole file."""
        blocks: list[bytes] = []
        keep: Callable[[bytes], None] = blocks.append
        self.retrbinary(f"RETR {path}", keep)
        return b"".join(blocks)

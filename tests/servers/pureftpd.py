"""Pure-FTPd from Debian, with a virtual account (puredb)."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tests.servers import packages
from tests.servers.certificates import Certificates
from tests.servers.jail import Jail, crypt
from tests.servers.server import FtpServer, TlsMode, log_lines, open_log

UID = 65_534


class PureFtpd(FtpServer):
    """Pure-FTPd 1.0.50: no implicit TLS; doesn't resume data sessions under TLS 1.3, and doesn't ask for it.

    Ends listings at `listing_limit` entries with 226, and says so only in the reply's text (field note 27).
    """

    name = "pure-ftpd"
    modes: ClassVar[tuple[TlsMode, ...]] = ("explicit",)

    def __init__(
        self,
        folder: Path,
        certificates: Certificates,
        *,
        listing_limit: int = 10_000,
        idle_min: int = 5,
        most_lines: int = 100,
        **options: Any,
    ) -> None:
        if os.geteuid() != 0:
            raise packages.Unavailable(
                "pure-ftpd: shuts the account into its folder (chroot), which takes root"
            )
        tree = packages.tree("pure-ftpd")
        super().__init__(folder, certificates, **options)
        if self.tls == "implicit":
            raise ValueError("Pure-FTPd offers explicit TLS only")
        jail = Jail(folder / "jail", tree)
        self._program = jail.add_program("usr/sbin/pure-ftpd")
        password_tool = jail.add_program("usr/bin/pure-pw")
        jail.add_account("nobody", "", "/empty")
        jail.add_urandom()  # it aborts without
        self._openssl = jail.limit_tls(self.tls_version)
        self._jail = jail
        self._listing_limit, self._idle_min, self._most_lines = listing_limit, idle_min, most_lines
        self.root = jail.folder / "srv"
        jail.grant("srv", UID)  # it refuses virtual accounts of uid 0
        self._certificate = jail.write("etc/ssl/server.pem", certificates.chain_and_key.read_text(), 0o600)
        # pure-pw's own `useradd` asks a terminal for the password.
        account = f"{self.user}:{crypt(self.password)}:{UID}:{UID}::/srv::::::::::::\n"
        accounts = jail.write("etc/pureftpd.passwd", account, 0o600)
        make = [password_tool, "mkdb", "/etc/pureftpd.pdb", "-f", accounts]
        subprocess.run(["chroot", jail.folder, *make], check=True)
        self._log = folder / "pure-ftpd.log"
        self.logs = (*self.logs, self._log)
        self._log_socket: socket.socket | None = None

    def start(self, within: Sequence[str] = ()) -> None:
        self._log_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = self._jail.folder / "dev/log"
        address.unlink(missing_ok=True)
        # A pytest folder's name may be longer than a socket's address can be; /proc/self/fd/… is short.
        with _Folder(address.parent) as short:
            self._log_socket.bind(f"{short}/log")
        threading.Thread(target=self._keep_log, args=(self._log_socket,), daemon=True).start()
        super().start(within)

    def stop(self) -> None:
        super().stop()
        if self._log_socket is not None:
            self._log_socket.close()
            self._log_socket = None

    def connections(self) -> int:
        return len(self._matches(r"New connection from"))

    def logins(self) -> int:
        return len(self._matches(r" is now logged in$"))

    def refused_logins(self) -> int:
        return len(self._matches(r"Authentication failed for user"))

    def retrieved(self) -> list[str]:
        return self._matches(r"\[NOTICE\] /srv/(/.*) downloaded  \(\d+ bytes")

    def stored(self) -> list[str]:
        return self._matches(r"\[NOTICE\] /srv/(/.*) uploaded  \(\d+ bytes")

    def _matches(self, pattern: str) -> list[str]:
        found = (re.search(pattern, line) for line in log_lines(self._log))
        return [hit[hit.re.groups] for hit in found if hit]

    def _keep_log(self, source: socket.socket) -> None:
        """Pure-FTPd logs to syslog only; this is the syslog daemon of its jail."""
        with open_log(self._log) as log:
            while True:
                try:
                    record = source.recv(64 * 1024)
                except OSError:  # closed by stop()
                    return
                if not record:
                    return
                log.write(record.decode("utf-8", "surrogateescape").rstrip("\n\0") + "\n")

    def _command(self) -> Sequence[str | Path]:
        passive = f"{self.passive_ports.start}:{self.passive_ports.stop - 1}"
        return [
            *("chroot", self._jail.folder, self._program),
            *("-l", "puredb:/etc/pureftpd.pdb", "-A", "-E", "-u", "1", "-H", "-4", "-j"),
            *("-S", f"{self.host},{self.port}", "-p", passive, "-c", "100", "-C", str(self._most_lines)),
            *("-Y", "3", "-2", self._certificate),  # 3: TLS or nothing, on both channels
            *("-I", str(self._idle_min), "-L", f"{self._listing_limit}:20", "-z", "-d", "-g", "/tmp/pid"),
        ]

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "OPENSSL_CONF": self._openssl}


class _Folder:
    """A folder under a short name, for as long as the block lasts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> str:
        self._fd = os.open(self._path, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

"""vsftpd from Debian, with a local account whose password PAM checks."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.servers import packages
from tests.servers.certificates import Certificates
from tests.servers.jail import Jail
from tests.servers.server import FtpServer, log_lines

CONFIGURATION = """
listen=YES
listen_address={host}
listen_port={port}
background=NO
anonymous_enable=NO
local_enable=YES
pam_service_name=vsftpd
chroot_local_user=YES
allow_writeable_chroot=YES
secure_chroot_dir=/empty
write_enable=YES
local_umask=022
file_open_mode=0666
pasv_min_port={first}
pasv_max_port={last}
connect_from_port_20=NO
idle_session_timeout={idle}
max_per_ip={most_lines}
delay_failed_login=0
dirmessage_enable=NO
ssl_enable=YES
ssl_tlsv1=YES
ssl_ciphers=HIGH
implicit_ssl={implicit}
force_local_logins_ssl=YES
force_local_data_ssl=YES
require_ssl_reuse={reuse}
rsa_cert_file={chain}
rsa_private_key_file={key}
seccomp_sandbox=NO
xferlog_enable=YES
xferlog_std_format=NO
vsftpd_log_file=/vsftpd.log
log_ftp_protocol=YES
"""


class Vsftpd(FtpServer):
    """vsftpd 3.0.3; refuses data connections whose TLS session isn't resumed. Has no MLSD."""

    name = "vsftpd"

    def __init__(
        self,
        folder: Path,
        certificates: Certificates,
        *,
        require_reuse: bool = True,
        idle_s: int = 300,
        most_lines: int = 0,
        uid: int = 0,
        **options: Any,
    ) -> None:
        """most_lines: at a time, from one address; 0: any number.

        uid: of the account; another than root's may list what its folders' modes permit, and no more.
        """
        if os.geteuid() != 0:
            raise packages.Unavailable("vsftpd: starts as root only")
        tree = packages.tree("vsftpd")
        super().__init__(folder, certificates, **options)
        jail = Jail(folder / "jail", tree)
        self._program = jail.add_program("usr/sbin/vsftpd")
        for module in ("pam_unix.so", "pam_permit.so"):
            jail.add_program(f"lib/*/security/{module}")
        jail.write("etc/pam.d/vsftpd", "auth required pam_unix.so nodelay\naccount required pam_permit.so\n")
        jail.add_account(self.user, self.password, "/srv", uid)
        self._openssl = jail.limit_tls(self.tls_version)
        self._jail = jail
        self.root = jail.folder / "srv"
        self._log = jail.folder / "vsftpd.log"
        self.logs = (*self.logs, self._log)
        jail.write(
            "vsftpd.conf",
            CONFIGURATION.format(
                host=self.host,
                port=self.port,
                first=self.passive_ports.start,
                last=self.passive_ports.stop - 1,
                idle=idle_s,
                most_lines=most_lines,
                implicit="YES" if self.tls == "implicit" else "NO",
                reuse="YES" if require_reuse else "NO",
                chain=jail.write("etc/ssl/server.pem", certificates.chain.read_text()),
                key=jail.write("etc/ssl/server.key", certificates.key.read_text(), 0o600),
            ).strip()
            + "\n",
        )

    def connections(self) -> int:
        return len(self._matches(r"\] CONNECT: Client"))

    def logins(self) -> int:
        return len(self._matches(r"\] OK LOGIN: Client"))

    def refused_logins(self) -> int:
        return len(self._matches(r"\] FAIL LOGIN: Client"))

    def retrieved(self) -> list[str]:
        return self._matches(r'\] OK DOWNLOAD: Client "[^"]*", "(.*)"(?:, \d+ bytes)?, [\d.]+Kbyte/sec$')

    def stored(self) -> list[str]:
        return self._matches(
            r'\] OK (?:UPLOAD|APPEND): Client "[^"]*", "(.*)"(?:, \d+ bytes)?, [\d.]+Kbyte/sec$'
        )

    def _matches(self, pattern: str) -> list[str]:
        found = (re.search(pattern, line) for line in log_lines(self._log))
        return [hit[hit.re.groups] for hit in found if hit]

    def _command(self) -> Sequence[str | Path]:
        return ["chroot", self._jail.folder, self._program, "/vsftpd.conf"]

    def _environment(self) -> dict[str, str]:
        # The loader of the jail finds everything in its default folders.
        return {"PATH": os.environ.get("PATH", ""), "OPENSSL_CONF": self._openssl}

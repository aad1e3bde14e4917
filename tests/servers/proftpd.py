"""ProFTPD from Debian, with mod_tls, mod_digest, and mod_tls_shmcache where asked for."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.servers import packages
from tests.servers.certificates import Certificates
from tests.servers.jail import crypt
from tests.servers.server import FtpServer, log_lines

CONFIGURATION = """
ModulePath {modules}
LoadModule mod_tls.c
LoadModule mod_digest.c
{load_cache}
ServerType standalone
ServerName towline-tests
ServerIdent on "ProFTPD"
DefaultAddress {host}
SocketBindTight on
Port {port}
UseIPv6 off
UseReverseDNS off
User root
Group root
RootLogin on
RequireValidShell off
AuthOrder mod_auth_file.c
AuthUserFile {passwords}
AuthGroupFile {groups}
DefaultRoot ~
Umask 022
AllowOverwrite on
AllowStoreRestart on
AllowRetrieveRestart on
PassivePorts {first} {last}
TimeoutIdle {idle}
TimeoutLinger 2
MaxInstances 100
MaxClientsPerUser {most_lines}
PidFile {folder}/pid
ScoreboardFile {folder}/scoreboard
WtmpLog off
SystemLog {folder}/system.log
LogFormat session "%P %m %s %{{transfer-status}} %{{file-size}} %f"
ExtendedLog {folder}/session.log CONNECT,AUTH,READ,WRITE session
TransferLog none
<IfModule mod_delay.c>
  DelayEngine off
</IfModule>
<IfModule mod_tls.c>
  TLSEngine on
  TLSLog {folder}/tls.log
  TLSProtocol TLSv{version}
  TLSECCertificateFile {chain}
  TLSECCertificateKeyFile {key}
  {verify_client}
  TLSRequired on
  TLSRenegotiate none
  {tls_options}
  {cache}
</IfModule>
<Directory />
  AllowOverwrite on
</Directory>
"""


class Proftpd(FtpServer):
    """ProFTPD 1.3.8; refuses data connections whose TLS session isn't resumed.

    With `shmcache` it loads mod_tls_shmcache; under TLS 1.3 the process of a line then crashes after some
    transfers (field note 21b). client_ca: clients have to show a certificate of this authority.
    """

    name = "proftpd"
    ending = signal.SIGTERM  # killed, it would leave the cache's shared memory behind

    def __init__(
        self,
        folder: Path,
        certificates: Certificates,
        *,
        shmcache: bool = False,
        require_reuse: bool = True,
        client_ca: Path | None = None,
        idle_s: int = 300,
        most_lines: int = 100,
        **options: Any,
    ) -> None:
        if os.geteuid() != 0:
            raise packages.Unavailable(
                "proftpd: shuts the account into its folder (chroot), which takes root"
            )
        self._tree = packages.tree("proftpd")
        super().__init__(folder, certificates, **options)
        self.root.mkdir(exist_ok=True)
        self.logs = (*self.logs, *(folder / name for name in ("system.log", "session.log", "tls.log")))
        passwords, groups = folder / "passwd", folder / "group"
        self._passwords = passwords
        self.change_password(self.password)
        groups.write_text("root:x:0:\n")
        for path in (passwords, groups):
            path.chmod(0o600)
        wishes = [
            wish
            for wish, wanted in (
                ("NoSessionReuseRequired", not require_reuse),
                ("UseImplicitSSL", self.tls == "implicit"),
            )
            if wanted
        ]
        self._configuration = folder / "proftpd.conf"
        self._configuration.write_text(
            CONFIGURATION.format(
                modules=packages.program(self._tree, "usr/lib/proftpd"),
                load_cache="LoadModule mod_tls_shmcache.c" if shmcache else "",
                host=self.host,
                port=self.port,
                passwords=passwords,
                groups=groups,
                first=self.passive_ports.start,
                last=self.passive_ports.stop - 1,
                idle=idle_s,
                most_lines=most_lines,
                folder=folder,
                version=self.tls_version,
                verify_client=f"TLSVerifyClient on\n  TLSCACertificateFile {client_ca}"
                if client_ca
                else "TLSVerifyClient off",
                chain=certificates.chain,
                key=certificates.key,
                tls_options=f"TLSOptions {' '.join(wishes)}" if wishes else "",
                cache=f"TLSSessionCache shm:/file={folder}/sessions" if shmcache else "",
            )
        )

    def change_password(self, password: str) -> None:
        """From the next login on; `password` stays what it was, for clients that know no better."""
        self._passwords.write_text(f"{self.user}:{crypt(password)}:0:0::{self.root}:/bin/sh\n")

    def connections(self) -> int:
        return len(self._matches(r"^\d+  - "))  # the event before any command

    def logins(self) -> int:
        return len(self._matches(r"^\d+ PASS 230 "))

    def refused_logins(self) -> int:
        return len(self._matches(r"^\d+ PASS 530 "))

    def retrieved(self) -> list[str]:
        return self._paths("RETR")

    def stored(self) -> list[str]:
        return self._paths("(?:STOR|APPE)")

    def _paths(self, verb: str) -> list[str]:
        # ProFTPD names files as the machine sees them.
        return [
            hit[1].removeprefix(str(self.root))
            for hit in self._matches(rf"^\d+ {verb} 226 success \S+ (.*)$")
        ]

    def _matches(self, pattern: str) -> list[re.Match[str]]:
        found = (re.search(pattern, line) for line in log_lines(self.folder / "session.log"))
        return [hit for hit in found if hit]

    def _command(self) -> Sequence[str | Path]:
        return [packages.program(self._tree, "usr/sbin/proftpd"), "-n", "-q", "-c", self._configuration]

    def _environment(self) -> dict[str, str]:
        return packages.environment(self._tree)

"""Which real servers there are, and what each offers."""

from __future__ import annotations

from tests.servers.proftpd import Proftpd
from tests.servers.pureftpd import PureFtpd
from tests.servers.pyftpd import Pyftpd
from tests.servers.server import FtpServer, TlsMode, TlsVersion
from tests.servers.vsftpd import Vsftpd

KINDS: dict[str, type[FtpServer]] = {kind.name: kind for kind in (Vsftpd, Proftpd, PureFtpd, Pyftpd)}
NAMES = tuple(KINDS)

# Every server with every way it offers to begin TLS, under both versions: (name, tls, tls_version).
OFFERS: list[tuple[str, TlsMode, TlsVersion]] = [
    (name, mode, version) for name, kind in KINDS.items() for mode in kind.modes for version in ("1.2", "1.3")
]


def resumes_data(name: str, version: TlsVersion) -> bool:
    """Whether the server takes the control connection's TLS session on data connections (field note 21c)."""
    return not (name == "pure-ftpd" and version == "1.3")


def demands_resumption(name: str) -> bool:
    """Whether the server refuses data connections that begin a TLS session of their own (field note 13)."""
    return name in ("vsftpd", "proftpd")

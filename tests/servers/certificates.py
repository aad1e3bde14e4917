"""A certificate authority made on the spot, and the servers' certificate signed by it."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1", "127.0.0.2")


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: what a client trusts, and what a server shows."""

    ca_file: Path
    chain: Path  # the server's certificate
    key: Path
    chain_and_key: Path  # both in one, as vsftpd and Pure-FTPd like it
    fingerprint: str  # "sha256:" + hex of the server certificate's DER

    @classmethod
    def make(cls, folder: Path, *names: str) -> Certificates:
        """A new authority and a certificate for `names` (NAMES when none is given)."""
        authority = trustme.CA()
        leaf = authority.issue_cert(*(names or NAMES))
        folder.mkdir(parents=True, exist_ok=True)
        files = ca_file, chain, key, both = [
            folder / name for name in ("ca.pem", "server.pem", "server.key", "server-both.pem")
        ]
        authority.cert_pem.write_to_path(str(ca_file))
        leaf.cert_chain_pems[0].write_to_path(str(chain))
        leaf.private_key_pem.write_to_path(str(key))
        leaf.private_key_and_cert_chain_pem.write_to_path(str(both))
        for path in files:
            path.chmod(0o600)  # ProFTPD refuses a key that others can read
        der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
        return cls(ca_file, chain, key, both, f"sha256:{hashlib.sha256(der).hexdigest()}")

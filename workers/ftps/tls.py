"""Whom we trust, how TLS is set up for it, and what a handshake has shown.

A connection makes a context of its own: contexts hold the TLS sessions that data channels resume, and a
session shared between two control connections gives random 425s (field note 18).
RFC 4217 (FTP over TLS), RFC 8446 (TLS 1.3), RFC 5280 §4.1 (what a certificate looks like).
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from workers.ftps.errors import CertificateRefused

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Trust:
    """Which certificates are believed, and which TLS is spoken.

    ca_file: PEM; None: the system's trust. fingerprints: "sha256:<hex>" of the server's certificate; they
    replace CA trust and the name check. verify=False believes everything. tls_min, tls_max: "1.2", "1.3".
    """

    verify: bool = True
    ca_file: str | None = None
    fingerprints: tuple[str, ...] = ()
    client_cert: str | None = None
    client_key: str | None = None
    tls_min: str = "1.2"
    tls_max: str = "1.3"

    def pins(self, shown: TlsFacts) -> bool:
        """Whether this certificate is one of the pinned ones."""
        return shown.fingerprint in {normalised(pin) for pin in self.fingerprints}


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What the control connection's handshake has shown.

    version: "TLSv1.3". cipher: OpenSSL's name. not_after: when the certificate ends, epoch seconds, None
    where it can't be read. fingerprint: "sha256:<hex>" of the certificate.
    """

    version: str
    cipher: str
    not_after: float | None
    fingerprint: str


def client_context(trust: Trust) -> ssl.SSLContext:
    """A context that asks of a server what `trust` demands. Raises CertificateRefused for unusable files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.minimum_version = _VERSIONS[trust.tls_min]
        context.maximum_version = _VERSIONS[trust.tls_max]
        if trust.fingerprints or not trust.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif trust.ca_file is not None:
            context.load_verify_locations(cafile=trust.ca_file)
        else:
            context.load_default_certs()
        if trust.client_cert is not None:
            # A key with a passphrase must fail, not ask on a worker's terminal.
            context.load_cert_chain(trust.client_cert, trust.client_key, password="")
    except OSError as error:
        named = (
            trust.ca_file
            if trust.client_cert is None
            else f"{trust.ca_file or ''} {trust.client_cert}".strip()
        )
        raise CertificateRefused(f"{named}: {error.strerror or error}") from error
    return context


def check_pins(secure: ssl.SSLSocket, trust: Trust) -> None:
    """Hold the peer's certificate against the pins, if there are any. Raises CertificateRefused."""
    if not trust.fingerprints:
        return
    shown = facts(secure)
    if not trust.pins(shown):
        refused = CertificateRefused(f"the server's certificate is {shown.fingerprint}, which is not pinned")
        refused.shown = shown
        raise refused


def facts(secure: ssl.SSLSocket) -> TlsFacts:
    """What there is to know of a secured connection."""
    der = secure.getpeercert(binary_form=True) or b""
    cipher = secure.cipher()
    return TlsFacts(
        version=secure.version() or "",
        cipher=cipher[0] if cipher else "",
        not_after=not_after(der),
        fingerprint=fingerprint(der),
    )


def fingerprint(der: bytes) -> str:
    """`sha256:` and the hex digest of a certificate in DER."""
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def normalised(pin: str) -> str:
    """A fingerprint as people write it ("SHA256:AB:CD…") in the form of `fingerprint`."""
    algorithm, _, digits = pin.partition(":")
    return f"{algorithm.strip().lower()}:{digits.replace(':', '').replace(' ', '').lower()}"


def not_after(der: bytes) -> float | None:
    """When a certificate in DER ends, epoch seconds; None where that can't be read.

    Python decodes a certificate only when it verifies it, and pinned ones it does not verify.
    """
    try:
        certificate = _contents(der, 0)[0]
        fields = _contents(der, certificate)[0]
        tag = der[fields]
        if tag == 0xA0:  # [0] version
            fields = _contents(der, fields)[1]
        for _ in range(3):  # serialNumber, signature, issuer
            fields = _contents(der, fields)[1]
        validity = _contents(der, fields)[0]
        begin = _contents(der, validity)[1]
        start, end = _contents(der, begin)
        # RFC 5280 §4.1.2.5: UTCTime (0x17) up to 2049, GeneralizedTime after it, both in Z.
        text = der[start:end].decode("ascii")
        form = "%y%m%d%H%M%SZ" if der[begin] == 0x17 else "%Y%m%d%H%M%SZ"
        return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
    except (IndexError, ValueError):
        return None


def _contents(der: bytes, at: int) -> tuple[int, int]:
    """Where the contents of the element at `at` begin and end (X.690 §8.1)."""
    length, start = der[at + 1], at + 2
    if length & 0x80:
        octets = length & 0x7F
        length = int.from_bytes(der[start : start + octets], "big")
        start += octets
    if start + length > len(der):
        raise ValueError("the element is longer than the certificate")
    return start, start + length

"""Trust: what is believed, what is refused, and in which words."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.acts import send
from tests.faults.dialogue import Talk
from tests.faults.scripted import VERSIONS, ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.server import TlsVersion
from workers.ftps.connection import Connection
from workers.ftps.errors import CertificateRefused, ConnectFailed, TlsRefused
from workers.ftps.stream import Stream
from workers.ftps.tls import Trust, normalised, not_after

Script = Callable[..., ScriptedServer]
Connect = Callable[..., Connection]


def test_the_facts_of_a_handshake(script: Script, connect: Connect, certificates: Certificates) -> None:
    """Version, cipher, end of the certificate and its fingerprint are there for `check` to show."""
    line = connect(script(tls_version="1.2"))
    assert line.tls is not None
    assert line.tls.version == "TLSv1.2"
    assert "GCM" in line.tls.cipher
    assert line.tls.fingerprint == certificates.fingerprint
    assert line.tls.not_after is not None


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_quicker_than_the_client_is_no_clear_text(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, version: TlsVersion
) -> None:
    """A client kept from running finds the next flight there already: ChangeCipherSpec, without a ticket."""
    shake = ssl.SSLSocket.do_handshake

    def late(secure: ssl.SSLSocket, block: bool = False) -> None:
        if secure.server_side or secure.gettimeout() != 0:
            return shake(secure, block)
        for _ in range(2):
            with contextlib.suppress(ssl.SSLWantReadError):
                return shake(secure, block)
            assert select.select([secure], [], [], 60)[0]
        raise ssl.SSLWantReadError

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.chain, certificates.key)
    context.options |= ssl.OP_NO_TICKET
    context.maximum_version = VERSIONS[version]
    with socket.create_server(("127.0.0.1", 0)) as door, ThreadPoolExecutor(1) as serving:
        monkeypatch.setattr(ssl.SSLSocket, "do_handshake", late)
        ours = socket.create_connection(door.getsockname())
        theirs = serving.submit(context.wrap_socket, door.accept()[0], server_side=True)
        client = ssl.create_default_context(cafile=str(certificates.ca_file))
        stream = Stream(ours, "control", "localhost").secured(client, "localhost", time.monotonic() + 60)
        with theirs.result(60):
            assert stream.tls is not None
        stream.close()


def test_an_authority_nobody_trusts_is_refused(script: Script, tmp_path: Path) -> None:
    """Verification is on by default."""
    stranger = Certificates.make(tmp_path)
    server = script()
    for trust in (Trust(ca_file=str(stranger.ca_file)), Trust()):
        with pytest.raises(CertificateRefused):
            Connection.open(server.peer(trust=trust))
    assert server.commands == []


def test_a_certificate_for_another_name_is_refused(certificates: Certificates, tmp_path: Path) -> None:
    """The host's name is checked, not only the chain."""
    elsewhere = Certificates.make(tmp_path, "elsewhere.example")
    with ScriptedServer(elsewhere, {}) as server, pytest.raises(CertificateRefused, match="localhost"):
        Connection.open(server.peer())


def test_a_host_may_be_an_address_or_end_in_a_dot(
    script: Script, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.1 is checked as an address; a name's final dot is not part of the certificate's."""
    server = script()
    asked = socket.getaddrinfo
    # A name server knows "localhost."; /etc/hosts does not.
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **options: asked(host.removesuffix("."), *rest, **options)
    )
    connect(server, host="127.0.0.1")
    connect(server, host="localhost.")


def test_a_pinned_certificate_is_trusted_without_an_authority(
    script: Script, connect: Connect, certificates: Certificates
) -> None:
    """In any of the forms people paste; several pins while it is being changed."""
    pasted = "SHA256:" + ":".join(certificates.fingerprint[7:][i : i + 2].upper() for i in range(0, 64, 2))
    trust = Trust(fingerprints=("sha256:" + "0" * 64, pasted))
    line = connect(script({"RETR": send(b"x")}), trust=trust)
    assert line.retrieve(b"/x", lambda _: None) == 1


def test_another_certificate_than_the_pinned_is_refused(script: Script) -> None:
    """The message says which one was shown; no password was sent."""
    server = script()
    with pytest.raises(CertificateRefused, match=r"sha256:[0-9a-f]{64}, which is not pinned"):
        Connection.open(server.peer(trust=Trust(fingerprints=("sha256:" + "0" * 64,))))
    assert server.commands == []


def test_verification_can_be_written_off(script: Script, connect: Connect) -> None:
    """verify=False believes any certificate."""
    connect(script(), trust=Trust(verify=False))


def test_a_missing_file_is_named(script: Script, tmp_path: Path) -> None:
    """ca_file, client_cert: the path is in the message."""
    server = script()
    for trust in (Trust(ca_file=str(tmp_path / "ca")), Trust(client_cert=str(tmp_path / "ca"))):
        with pytest.raises(CertificateRefused, match=str(tmp_path / "ca")):
            Connection.open(server.peer(trust=trust))


def test_no_common_version_is_refused_for_good(script: Script) -> None:
    """A second try would change nothing."""
    server = script(tls_version="1.2")
    with pytest.raises(TlsRefused):
        Connection.open(server.peer(trust=Trust(ca_file=str(server.ca_file), tls_min="1.3")))


def test_tls_max_holds(script: Script) -> None:
    """A server of TLS 1.3 only is refused by tls_max 1.2."""
    server = script(tls_version="1.3")
    with pytest.raises(TlsRefused):
        Connection.open(server.peer(trust=Trust(ca_file=str(server.ca_file), tls_max="1.2")))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_client_certificate_is_shown(
    certificates: Certificates, tmp_path: Path, version: TlsVersion
) -> None:
    """With it the line opens; without it the server's refusal is final."""
    authority = trustme.CA()
    leaf = authority.issue_cert("acme@example.com")
    both = tmp_path / "client.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(str(both))
    with ScriptedServer(certificates, {}, tls_version=version) as server:
        authority.configure_trust(server.context)
        server.context.verify_mode = ssl.CERT_REQUIRED
        ca_file = str(certificates.ca_file)
        Connection.open(server.peer(trust=Trust(ca_file=ca_file, client_cert=str(both)))).close()
        with pytest.raises((TlsRefused, ConnectFailed)):
            Connection.open(server.peer(trust=Trust(ca_file=ca_file)))


def test_clear_text_from_an_explicit_port_is_shown(script: Script) -> None:
    """Implicit TLS, spoken to an explicit port: its greeting explains the mistake (field note 20).

    All but five bytes of it, where it came while OpenSSL was looking already.
    """
    server = script({"CONNECT": b"220 ProFTPD here"}, tls="explicit")
    with pytest.raises(ConnectFailed, match="roFTPD here"):
        Connection.open(server.peer(tls="implicit"))


def test_clear_text_in_the_middle_of_tls_is_shown(script: Script, connect: Connect) -> None:
    """A failing child of the server writes past its TLS layer (field note 20)."""

    def oops(talk: Talk, _: bytes) -> None:
        os.write(talk.socket.fileno(), b"500 OOPS: child died\r\n")

    line = connect(script({"NOOP": oops}))
    with pytest.raises(Exception, match="child died"):
        line.noop()


def test_when_a_certificate_ends_is_read_from_its_der() -> None:
    """Years up to 2049 are written with two digits, later ones with four (RFC 5280 §4.1.2.5)."""
    for end in (datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC), datetime(2055, 5, 6, 7, 8, 9, tzinfo=UTC)):
        pem = trustme.CA().issue_cert("x.example", not_after=end).cert_chain_pems[0].bytes().decode()
        assert not_after(ssl.PEM_cert_to_DER_cert(pem)) == end.timestamp()


@given(st.binary(max_size=200))
def test_a_certificate_that_is_none_has_no_end(der: bytes) -> None:
    """And breaks nothing."""
    assert not_after(der) is None


def test_fingerprints_are_compared_in_one_form() -> None:
    """Letters' case, colons and blanks don't matter."""
    assert normalised(" SHA256:AB:cd 01") == "sha256:abcd01"

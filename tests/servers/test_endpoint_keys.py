"""Keys of an endpoint that decide whom we trust and who trusts us: each one's presence and absence shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.servers.certificates import Certificates
from tests.servers.command import Site
from tests.servers.fetching import Fetching
from tests.servers.server import FtpServer
from workers.session import Session

StartServer = Callable[..., FtpServer]

OTHER_PIN = "sha256:" + "0" * 64


def listed(folder: Path, server: FtpServer, endpoint: dict[str, Any]) -> int:
    """The exit code of `towline ls` with these keys; nothing is said of trust but what they say."""
    site = Site(folder, server, endpoint=endpoint)
    text = site.config.read_text()
    if "ca_file" not in endpoint:
        text = "\n".join(line for line in text.splitlines() if not line.startswith("ca_file"))
        site.config.write_text(text)
    return site.towline("ls", "bank", "/out").returncode


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_that_wants_a_certificate(start_server: StartServer, tmp_path: Path, version: str) -> None:
    """ProFTPD with TLSVerifyClient: in with client_cert and client_key, out without them."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "clients.pem"))
    leaf = authority.issue_cert("acme@example.com")
    leaf.private_key_pem.write_to_path(str(tmp_path / "acme.key"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "acme.pem"))
    server = start_server("proftpd", tls_version=version, client_ca=tmp_path / "clients.pem")
    shown = {
        "ca_file": str(server.ca_file),
        "client_cert": str(tmp_path / "acme.pem"),
        "client_key": str(tmp_path / "acme.key"),
    }
    assert listed(tmp_path / "with", server, shown) == 0
    assert listed(tmp_path / "without", server, {"ca_file": str(server.ca_file)}) in (3, 4)


def test_pins_stand_in_for_an_authority(
    start_server: StartServer, tmp_path: Path, certificates: Certificates
) -> None:
    """Any of several; none of them, or no word at all, is refused for good."""
    server = start_server("pyftpdlib")
    pin = certificates.fingerprint
    assert listed(tmp_path / "both", server, {"fingerprint": [OTHER_PIN, pin]}) == 0
    assert listed(tmp_path / "other", server, {"fingerprint": [OTHER_PIN]}) == 4
    assert listed(tmp_path / "nothing", server, {}) == 4


@pytest.mark.parametrize(
    ("version", "key", "limit", "code"),
    [
        ("1.2", "tls_min", "1.2", 0),
        ("1.2", "tls_min", "1.3", 4),
        ("1.3", "tls_max", "1.3", 0),
        ("1.3", "tls_max", "1.2", 4),
    ],
)
def test_tls_versions_have_limits(
    start_server: StartServer, tmp_path: Path, version: str, key: str, limit: str, code: int
) -> None:
    """A server outside them is refused for good."""
    server = start_server("vsftpd", tls_version=version)
    assert listed(tmp_path, server, {"ca_file": str(server.ca_file), key: limit}) == code


def test_unverified_is_said_at_every_connect(
    start_server: StartServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """verify = false takes any certificate, and no log can say that nobody knew."""
    fetching = Fetching(start_server("pyftpdlib"), tmp_path)
    for verify, warnings in ((True, 0), (False, 2)):
        caplog.clear()
        keys = {"verify": verify, "ca_file": fetching.endpoint.ca_file if verify else None}
        session = Session(fetching.endpoint.model_copy(update=keys), fetching.ledger)
        for _ in range(2):
            session.run(lambda line: line.noop(), name="noop", tally=fetching.tally)
            session.close()
        said = [record for record in caplog.records if "any certificate is believed" in record.getMessage()]
        assert len(said) == warnings
    fetching.close()

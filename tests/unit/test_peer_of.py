"""What the configuration says of an endpoint is what the protocol is told."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from workers.building import peer_of
from workers.ftps.peer import Peer
from workers.ftps.tls import Trust
from workers.settings import Endpoint

PINS = ("sha256:" + "0" * 64, "sha256:" + "1" * 64)


def test_every_key_reaches_the_line(tmp_path: Path) -> None:
    """No field of Peer or Trust is left at its default when the endpoint says otherwise."""
    for name in ("ca.pem", "acme.pem", "acme.key"):
        (tmp_path / name).touch()
    said: dict[str, Any] = {
        "name": "bank",
        "host": "ftps.bank.example",
        "user": "acme",
        "password": "s3cret",
        "port": 2121,
        "tls": "off",
        "allow_plaintext": True,
        "ca_file": tmp_path / "ca.pem",
        "fingerprint": PINS,
        "client_cert": tmp_path / "acme.pem",
        "client_key": tmp_path / "acme.key",
        "tls_min": "1.3",
        "data_mode": "active",
        "active_ports": (50000, 50100),
        "noop_during_transfer": True,
        "trust_pasv_address": ("10.0.0.0/8", "192.168.7.0/24"),
        "encoding": "cp1252",
        "timezone": "Europe/Berlin",
        "connect_timeout": 11.0,
        "reply_timeout": 31.0,
        "probe_timeout": 4.0,
        "idle_timeout": 61.0,
    }
    peer = peer_of(Endpoint(**said), "s3cret")
    untold = Peer(host="", port=0, user="", password="")
    lost = [field.name for field in fields(Peer) if getattr(peer, field.name) == getattr(untold, field.name)]
    assert lost == []
    assert (peer.host, peer.port, peer.user) == ("ftps.bank.example", 2121, "acme")
    assert peer.trust == Trust(
        ca_file=str(tmp_path / "ca.pem"),
        fingerprints=PINS,
        client_cert=str(tmp_path / "acme.pem"),
        client_key=str(tmp_path / "acme.key"),
        tls_min="1.3",
    )
    assert peer.active_ports == (50000, 50100)
    assert peer.trust_pasv_address == ("10.0.0.0/8", "192.168.7.0/24")
    other = {key: value for key, value in said.items() if key not in ("fingerprint", "tls_min")}
    assert peer_of(Endpoint(**other, verify=False, tls_max="1.2"), "s3cret").trust == Trust(
        verify=False,
        ca_file=str(tmp_path / "ca.pem"),
        client_cert=str(tmp_path / "acme.pem"),
        client_key=str(tmp_path / "acme.key"),
        tls_max="1.2",
    )

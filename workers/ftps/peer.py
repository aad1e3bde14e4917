"""Peer: what a connection must be told before it can begin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from workers.ftps.tls import Trust


@dataclass(frozen=True, slots=True)
class Peer:
    """Everything a connection must know about the other side. Durations are seconds.

    zone: of LIST's times. connect_timeout: name, TCP, TLS and login together. trust_pasv_address: networks
    from which the address in a 227 is believed. active_ports: the server connects to us, on one of the ports
    from the first to the last; None: passive mode. noop_every: seconds between NOOPs while data moves.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: Literal["explicit", "implicit", "off"] = "explicit"
    trust: Trust = field(default_factory=Trust)
    encoding: str = "utf-8"
    zone: str = "UTC"
    connect_timeout: float = 10
    reply_timeout: float = 30
    probe_timeout: float = 3
    idle_timeout: float = 60
    trust_pasv_address: tuple[str, ...] = ()
    active_ports: tuple[int, int] | None = None
    noop_every: float | None = None

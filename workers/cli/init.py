"""`towline init`: asks what has to be known, tries it, and writes a towline.toml that works."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from workers.building import peer_of
from workers.cli.exits import REFUSED, SOME_FAILED, UNREACHABLE, WRONG
from workers.cli.foreground import Ended
from workers.cli.output import counted, local_time, status
from workers.ftps.connection import Connection
from workers.ftps.errors import CertificateRefused, LoginRefused, Refused, TlsRefused, Transient
from workers.ftps.peer import Peer
from workers.ftps.tls import TlsFacts, Trust
from workers.names import printable
from workers.settings import Endpoint
from workers.settings.config_file import Source, validated

NOBODY = "sha256:" + "0" * 64
"""A pin that no certificate has: the handshake shows the certificate, and ends before anybody logs in."""


@click.command()
@click.option("--host", prompt="The server's name or address")
@click.option("--user", prompt="User")
@click.option("--remote", prompt="The folder to fetch from", default="/", show_default=True)
@click.option("--tls", type=click.Choice(["explicit", "implicit"]), default="explicit", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), help="[default: 21; 990 with --tls implicit]")
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--endpoint", default="partner", show_default=True, help="What the server is to be called.")
@click.option("--route", default="incoming", show_default=True, help="What the route is to be called.")
@click.option("--local", default="files", show_default=True, help="Where the files are to land.")
@click.option(
    "--password-env",
    metavar="NAME",
    default="TOWLINE_PASSWORD",
    show_default=True,
    help="The environment variable that holds the password; asked for where it is not set.",
)
@click.option(
    "--trust", metavar="FINGERPRINT", help="Trust this certificate, which no authority vouches for."
)
@click.option("--file", type=click.Path(path_type=Path), default="towline.toml", show_default=True)
def init(
    host: str,
    user: str,
    remote: str,
    tls: str,
    port: int | None,
    ca_file: Path | None,
    endpoint: str,
    route: str,
    local: str,
    password_env: str,
    trust: str | None,
    file: Path,
) -> None:
    """Try a server, and write a configuration for it. The password stays outside of it."""
    if file.exists():
        raise Ended(f"{file} is there already\n  give another --file, or move it away", WRONG)
    bank: dict[str, Any] = {"host": host, "user": user, "password": {"env": password_env}, "tls": tls}
    if port is not None:
        bank["port"] = port
    if ca_file is not None:
        bank["ca_file"] = str(ca_file.resolve())
    where = {"": f"[endpoints.{endpoint}]"}
    told = validated(Endpoint, bank, Source(file.absolute()), where, name=endpoint)
    secret = os.environ.get(password_env) or click.prompt("Password", hide_input=True)
    peer = peer_of(told, secret)
    if not _is_vouched_for(peer):
        bank["fingerprint"] = [_trusted(peer, trust)]
        peer = replace(peer, trust=replace(peer.trust, fingerprints=tuple(bank["fingerprint"])))
    files = _listed(peer, remote)
    file.write_text(_toml(endpoint, bank, route, {"endpoint": endpoint, "remote": remote, "local": local}))
    click.echo(f"{host}: {printable(remote.encode())} holds {counted(files, 'file')}")
    click.echo(f"{file} is written. Next:")
    if not os.environ.get(password_env):
        click.echo(f"  export {password_env}=…    # the password; or a file, see docs/configuration.md")
    click.echo(f"  towline run {route}    # one round, here and now\n  towline up    # and from then on")


def _is_vouched_for(peer: Peer) -> bool:
    """Whether the certificate is one that an authority we know vouches for; logs in where it is."""
    try:
        with status(f"connecting to {peer.host}"):
            _opened(peer).close()
    except CertificateRefused:
        return False
    return True


def _trusted(peer: Peer, given: str | None) -> str:
    """The certificate's fingerprint, once somebody has said that it is to be trusted."""
    shown = _shown(peer)
    ends = local_time(shown.not_after) if shown.not_after is not None else "at an unknown time"
    click.echo(f"No authority that this machine knows vouches for the certificate of {peer.host}.")
    click.echo(f"  {shown.fingerprint}\n  ends {ends}, {shown.version}")
    if given is not None:
        if Trust(fingerprints=(given,)).pins(shown):
            return shown.fingerprint
        raise Ended("that is not the certificate given with --trust", REFUSED)
    click.echo("Compare it with what the server's owner has told you, by another way than this one.")
    if not click.confirm("Trust this certificate, and only this one?", default=False):
        raise Ended("not trusted: nothing is written", REFUSED)
    return shown.fingerprint


def _shown(peer: Peer) -> TlsFacts:
    """What the server's certificate is. Nobody logs in for that."""
    try:
        _opened(replace(peer, trust=replace(peer.trust, ca_file=None, fingerprints=(NOBODY,)))).close()
    except CertificateRefused as refused:
        if refused.shown is not None:
            return refused.shown
        raise Ended(f"{peer.host}: {refused}", REFUSED) from refused
    raise AssertionError("a certificate of this fingerprint would break SHA-256")


def _opened(peer: Peer) -> Connection:
    try:
        return Connection.open(peer)
    except LoginRefused as refused:
        raise Ended(f"{peer.host} refused the login of {peer.user}: {refused}", REFUSED) from refused
    except TlsRefused as refused:
        raise Ended(f"{refused}\n  try --tls implicit, or --tls explicit", REFUSED) from refused
    except Transient as away:
        raise Ended(f"no line to {peer.host} port {peer.port}: {away}", UNREACHABLE) from away


def _listed(peer: Peer, remote: str) -> int:
    """How many files the folder holds."""
    with closing(_opened(peer)) as line:
        try:
            with line.listing(remote.encode()) as listing:
                return sum(entry.kind == "file" for entry in listing)
        except (Refused, Transient) as failure:
            raise Ended(
                f"{remote} can't be listed: {failure}\n  give another --remote", SOME_FAILED
            ) from failure


def _toml(endpoint: str, bank: dict[str, Any], route: str, way: dict[str, Any]) -> str:
    return "\n".join(
        [
            "# All keys and their defaults: docs/configuration.md, and `towline config show`.",
            f"[endpoints.{json.dumps(endpoint)}]",
            *(f"{key} = {_value(value)}" for key, value in bank.items()),
            "",
            f"[routes.{json.dumps(route)}]",
            *(f"{key} = {_value(value)}" for key, value in way.items()),
            'every = "10m"',
            "",
        ]
    )


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_value(one)}' for key, one in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)

"""`towline sessions`: the lines held now, over the whole fleet."""

from __future__ import annotations

from dataclasses import asdict

import click

from workers.cli.foreground import foreground
from workers.cli.output import json_option, print_json, print_table
from workers.ledger import HeldLine


@click.command()
@json_option
def sessions(as_json: bool) -> None:
    """The lines held now, by all processes on all hosts; as each process has told the ledger last."""
    with foreground() as process:
        lines, full = process.ledger.permits.lines(), process.ledger.permits.full()
    if as_json:
        print_json({"sessions": [_as_json(line) for line in lines], "full": [asdict(one) for one in full]})
        return
    columns = ("endpoint", "host", "pid", "age", "idle", "TLS", "reconnects")
    rows = [
        (
            line.endpoint,
            line.host,
            line.pid,
            _time(line.age_s),
            _time(line.idle_s),
            line.tls,
            ", ".join(f"{reason} {count}" for reason, count in line.reconnects.items()) or None,
        )
        for line in lines
    ]
    print_table(columns, rows, right=("pid", "age", "idle"))
    for line in lines:
        # Below, since an error is a sentence, and no terminal is as wide as table and sentence together.
        if line.last_error is not None:
            click.echo(f"{line.endpoint}, {line.host} {line.pid}: last error: {line.last_error}")
    for one in full:
        click.echo(f"{one.endpoint}: its server was full; at most {one.room} for {_time(one.for_s)} more")


def _time(seconds: float) -> str:
    """A duration for people: the two units that matter."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"


def _as_json(line: HeldLine) -> dict[str, object]:
    return {
        "endpoint": line.endpoint,
        "host": line.host,
        "pid": line.pid,
        "age_s": round(line.age_s, 1),
        "idle_s": round(line.idle_s, 1),
        "tls": line.tls,
        "reconnects": dict(line.reconnects),
        "last_error": line.last_error,
    }

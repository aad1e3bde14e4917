"""`towline adopt`: after a deliberate move to another ledger, make this one the broker's."""

from __future__ import annotations

import click
from redis import RedisError

from workers import broker, pairing
from workers.cli.exits import UNREACHABLE
from workers.cli.foreground import Ended, foreground
from workers.errors import ConfigurationError


@click.command()
def adopt() -> None:
    """Make this configuration's ledger that of the broker's fleet, whatever it was before.

    Stop every worker and beat first: those that work on with the old ledger fetch what this one does, too.
    """
    with foreground() as process:
        url = pairing.place(process.settings, broker.find(process.settings))
        if url is None:
            raise ConfigurationError(
                "[towline] broker",
                "neither the broker nor the result store is a Redis, so neither keeps the ledger's id",
                "nothing has to be adopted; make sure yourself that all workers have the same ledger",
            )
        ours = pairing.Mark.of(process.ledger, process.settings)
        try:
            before = pairing.adopt(url, ours)
        except RedisError as away:
            raise Ended(f"the broker could not be told: {away}", UNREACHABLE) from away
    click.echo(f"the broker's fleet works with {ours} from now on")
    if before is not None and before.id != ours.id:
        click.echo(f"  before: {before}")

"""towline.fetch: bring one batch of a route's files in and publish them."""

from __future__ import annotations

from typing import Any

from tasks.announcing import announce
from tasks.hints import once, when_free
from workers import rounds
from workers.app import app
from workers.errors import ConfigurationError, FilesFailed
from workers.names import printable
from workers.process import here
from workers.session import Tally
from workers.stopping import STOP

MOST_PATHS = 1_000
SHOWN = 20  # files named in a result; all of them where `paths` was given


@app.task(name="towline.fetch")
def fetch(route: str, paths: list[str] | None = None) -> dict[str, Any]:
    """Fetch a batch, or just `paths`. Returns counts and files (contract §4).

    Fails with FilesFailed when some files failed and the others were published; with ReconnectFailed,
    LoginRefused, … when the batch could not be begun or gone on with.
    """
    _check(paths)
    process, tally = here(app.towline), Tally(heeds_breaker=True)
    the_route = process.settings.route(route)
    try:
        done = rounds.fetch(process, the_route, tally, paths=paths)
    finally:
        # Also what was published before the line was lost.
        if the_route.then is not None:
            announce(app, process, route)
    if isinstance(done, rounds.Skipped):
        # Whoever is fetching this route hints for the next batch; another look would only join the queue.
        if done.why == "busy":
            if paths is None and not process.ledger.polls.counts(route).claimed:
                when_free(process, the_route)
            else:
                process.session(the_route.endpoint).permit.forgo()
        return {"route": route, "skipped": done.why}
    if done.more or STOP.begun:
        # Told to stop, we take no other message: the rest is for whoever comes next, not for the next tick.
        once(the_route)
    outcome = done.outcome
    if outcome.failed:
        raise FilesFailed(route, outcome.failed, outcome.published, tally.reconnects, outcome.first_error)
    shown = outcome.files if paths is not None else outcome.files[:SHOWN]
    return {
        "route": route,
        "published": outcome.published,
        "bytes": outcome.bytes,
        "already": outcome.already,
        "vanished": outcome.vanished,
        "changed": outcome.changed,
        "kept": outcome.kept,
        "reconnects": tally.reconnects,
        "seconds": tally.elapsed_s,
        "files": [
            {
                "path": printable(file.path),
                "bytes": file.bytes,
                "sha256": file.sha256,
                "local": printable(file.local),
            }
            for file in shown
        ],
    }


def _check(paths: Any) -> None:
    """Raises ConfigurationError for a `paths` that no batch can be made of."""
    if paths is None:
        return
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ConfigurationError(
            "towline.fetch", "paths is no list of strings", 'send paths=["/outgoing/a.xml"]'
        )
    if len(paths) > MOST_PATHS:
        raise ConfigurationError("towline.fetch", f"{len(paths)} paths", f"at most {MOST_PATHS} in one task")

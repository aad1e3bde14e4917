"""One batch of a route as a task: what `towline.fetch` and `towline.push` have in common."""

from __future__ import annotations

from typing import Any, Literal

from celery.app.task import Context

from tasks.announcing import announce
from tasks.hints import once, when_free
from tasks.watching import Watch
from workers import rounds
from workers.app import app
from workers.batch import Outcome
from workers.errors import ConfigurationError, FilesFailed
from workers.names import printable
from workers.process import here
from workers.session import Tally
from workers.stopping import STOP

MOST_PATHS = 1_000
SHOWN = 20  # files named in a result; all of them where `paths` was given

_WAY = {"pull": ("towline.fetch", "local"), "push": ("towline.push", "remote")}
"""The task that moves a route's files, and what its result calls the place where one landed."""


def batch(
    direction: Literal["pull", "push"], request: Context, route: str, paths: list[str] | None
) -> dict[str, Any]:
    """Move a batch of a route's files, or just `paths`. Returns counts and files (contract §4).

    Cancelled, it ends between two blocks, with what it has done and `"skipped": "cancelled"`.
    Raises FilesFailed when some files failed and the others were published; ReconnectFailed, LoginRefused, …
    when the batch could not be begun or gone on with.
    """
    name, place = _WAY[direction]
    _check(name, paths)
    process, tally = here(app.towline), Tally(heeds_breaker=True)
    the_route = process.settings.route(route)
    if the_route.direction != direction:
        wanted, _ = _WAY[the_route.direction]
        raise ConfigurationError(name, f"route {route} is a {the_route.direction}", f"send {wanted}")
    try:
        with Watch(request, route, tally) as watch:
            if watch.cancelled:
                return _result(route, place, Outcome(), tally) | _CANCELLED
            done = rounds.fetch(process, the_route, tally, paths=paths, stop=watch.stop)
    finally:
        # Also what was published before the line was lost.
        if the_route.then is not None:
            announce(app, process, route)
    if isinstance(done, rounds.Skipped):
        # Whoever works on this route hints for the next batch; another look would only join the queue.
        if done.why == "busy":
            if paths is None and not process.ledger.polls.work(route).claimed:
                when_free(process, the_route)
            else:
                process.session(the_route.endpoint).permit.forgo()
        return {"route": route, "skipped": done.why}
    if STOP.begun or (done.more and not watch.cancelled):
        # Told to stop, we take no other message: the rest is for whoever comes next, not for the next tick.
        once(the_route)
    outcome = done.outcome
    if outcome.failed:
        raise FilesFailed(route, outcome.failed, outcome.published, tally.reconnects, outcome.first_error)
    told = _result(route, place, outcome, tally, shown=SHOWN if paths is None else MOST_PATHS)
    return told | _CANCELLED if watch.cancelled else told


def _result(route: str, place: str, outcome: Outcome, tally: Tally, *, shown: int = SHOWN) -> dict[str, Any]:
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
                place: printable(file.local),
            }
            for file in outcome.files[:shown]
        ],
    }


_CANCELLED = {"skipped": "cancelled"}


def _check(task: str, paths: Any) -> None:
    """Raises ConfigurationError for a `paths` that no batch can be made of."""
    if paths is None:
        return
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ConfigurationError(task, "paths is no list of strings", 'send paths=["/outgoing/a.xml"]')
    if len(paths) > MOST_PATHS:
        raise ConfigurationError(task, f"{len(paths)} paths", f"at most {MOST_PATHS} in one task")

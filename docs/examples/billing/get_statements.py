"""Have files of a route fetched now, and wait for them: python get_statements.py ROUTE PATH…

Exit codes: 0 they are here, 1 some are not, 3 the partner can't be reached, 75 come again later.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from billing import app
from celery.exceptions import TaskRevokedError

LOOK_EVERY_S = 0.5
TAKEN_WITHIN_S = 300  # a task that no worker has taken by then is dropped by whoever takes it


def main(route: str, paths: list[str]) -> int:
    """Submit one fetch, show how far it is, and say how it ended."""
    sent = app.send_task(
        "towline.fetch",
        kwargs={"route": route, "paths": paths},
        queue="towline.transfers",  # without it, the message lands in our own queue
        expires=TAKEN_WITHIN_S,
    )
    while not sent.ready():
        if sent.state == "PROGRESS":
            print(f"{sent.info['bytes']} bytes so far, {sent.info['rate']} a second", file=sys.stderr)
        time.sleep(LOOK_EVERY_S)
    outcome = sent.get(propagate=False)
    if isinstance(outcome, TaskRevokedError):
        print(f"cancelled, or taken by nobody in {TAKEN_WITHIN_S} s: {outcome}", file=sys.stderr)
        return 75
    return explain(outcome) if isinstance(outcome, Exception) else report(outcome)


def explain(failure: Exception) -> int:
    """What a failed task failed of. Its class has Towline's name, whether its module is there or not."""
    if type(failure).__name__ == "ReconnectFailed":
        endpoint, attempts, in_a_row, reconnects, elapsed_s, last_error = failure.args
        print(
            f"{endpoint} can't be reached: {attempts} attempts in {elapsed_s:.0f} s, {in_a_row} in a row, "
            f"after {reconnects} lines were rebuilt; the last: {last_error}",
            file=sys.stderr,
        )
        return 3
    print(f"{type(failure).__name__}: {failure.args}", file=sys.stderr)
    return 1


def report(done: dict[str, Any]) -> int:
    """What a fetch that ended well has done; nothing, perhaps."""
    if "skipped" in done:
        print(f"not now: {done['skipped']}", file=sys.stderr)
        return 75
    for file in done["files"]:
        print(f"{file['local']} {file['bytes']} {file['sha256']}")
    print(f"{done['published']} fetched, {done['already']} were here already", file=sys.stderr)
    return 1 if done["vanished"] or done["changed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

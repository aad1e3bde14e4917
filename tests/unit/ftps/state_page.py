"""Draws `docs/states.md` from the tables in the code: `python -m tests.unit.ftps.state_page`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from workers.ftps import states as connection
from workers.ledger import states as version

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

PAGE = Path(__file__).parents[3] / "docs" / "states.md"

_CONNECTION = """\
## A connection

From `workers/ftps/states.py`; [0009](decisions/0009-states-of-a-connection.md) says why there are these and
no others. `died` leads from every state to DEAD, and is left out of the drawing.
"""
_VERSION = """\
## A version of a file

From `workers/ledger/states.py`. CLAIMED, which the reading verbs show, is no state: it is the claim on the
version's path.
"""


def page() -> str:
    """The whole page, as the tables are now."""
    return "\n".join(
        [
            "# The states\n",
            "Made from the tables in the code by `python -m tests.unit.ftps.state_page`; tested.\n",
            _CONNECTION,
            drawing(connection.TRANSITIONS, first=connection.State.NEW),
            table(connection.TRANSITIONS),
            _VERSION,
            drawing(version.STEPS, first=version.State.WAITING),
            table(version.STEPS),
        ]
    )


def drawing(steps: Mapping[S, Mapping[E, S]], *, first: S) -> str:
    """A Mermaid diagram: an arrow for each pair of states, with all that leads from the one to the other."""
    arrows: dict[tuple[S, S], list[str]] = {}
    for state, following in steps.items():
        for event, then in following.items():
            arrows.setdefault((state, then), []).append(event.value)
    rows = [f"    [*] --> {first.name}"]
    rows += [f"    {a.name} --> {b.name}: {', '.join(events)}" for (a, b), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *rows, "```", ""])


def table(steps: Mapping[S, Mapping[E, S]]) -> str:
    """The same as text: a row for each state."""
    rows = []
    for state, following in steps.items():
        told = "; ".join(f"{event.value} → {then.name}" for event, then in following.items())
        rows.append(f"| {state.name} | {told or '–'} |")
    return "\n".join(["| in | what may happen → what it leads to |", "|---|---|", *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""How often everybody has a turn, how long a slow one is waited for, and how given minutes are shared out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """The patience for one item.

    rounds: turns of each contestant, at most. until: the monotonic instant by which a round has to end if it
    is to begin; a second one begins all the same, unless the first took longer than all should. slow: who
    takes so many times as long as the fastest of the others is not asked again. hopeless: who takes so many
    times as long as the fastest so far is stopped. once: who has one turn, as no bar is about it.
    """

    rounds: int
    until: float = math.inf
    slow: float = 5.0
    hopeless: float = 15.0
    least_limit_s: float = 30.0
    once: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a run. seconds: about how long it takes. run: given the instant by which it should end."""

    name: str
    seconds: float
    run: Callable[[float], None]
    skip: Callable[[str], None]


def within(minutes: float, steps: Sequence[Step]) -> None:
    """Run each step with its share of the time that is left, by the seconds they ask for.

    What a step leaves over goes to all that follow. A step that is due when the time is over is skipped.
    """
    end = time.monotonic() + minutes * 60
    for number, step in enumerate(steps):
        now = time.monotonic()
        if now >= end:
            step.skip(f"the {minutes:g} minutes of this run were over")
            continue
        ahead = sum(one.seconds for one in steps[number:])
        step.run(now + (end - now) * step.seconds / ahead)

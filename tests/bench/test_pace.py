"""How given minutes are shared out among the steps of a run."""

from __future__ import annotations

import time
from functools import partial

from tests.bench.pace import Step, within


def ignore(_: object) -> None:
    """What a step does with what it is told, where nobody looks."""


def test_each_step_has_its_share_and_what_one_leaves_goes_to_those_that_follow() -> None:
    """Three steps that take no time: the last has all that the others left over."""
    told: dict[str, float] = {}

    def run(name: str, until: float) -> None:
        told[name] = until - time.monotonic()

    steps = [
        Step(name, seconds, partial(run, name), ignore) for name, seconds in {"a": 1, "b": 1, "c": 2}.items()
    ]
    within(10, steps)
    assert 140 < told["a"] <= 150  # a quarter of ten minutes
    assert 190 < told["b"] <= 200  # a third of what is left
    assert 590 < told["c"] <= 600


def test_a_step_that_is_due_when_the_time_is_over_is_skipped_with_a_word() -> None:
    """Not silently: each is told why."""
    ran: list[float] = []
    skipped: list[str] = []
    within(0, [Step("a", 1, ran.append, skipped.append), Step("b", 1, ran.append, skipped.append)])
    assert not ran
    assert skipped == ["the 0 minutes of this run were over"] * 2

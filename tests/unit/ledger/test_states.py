"""The table of states, held against the essay above it."""

from __future__ import annotations

import pytest

from workers.ledger import IllegalStep, State
from workers.ledger.states import STEPS, Step, after, allows, at_rest


def test_every_state_has_its_row() -> None:
    """A state that is missing from the table would fail only when a file gets there."""
    assert set(STEPS) == set(State)


def test_an_illegal_step_names_state_and_step() -> None:
    """The error says what was asked of which state."""
    with pytest.raises(IllegalStep, match="FINISHED cannot be intended"):
        after(State.FINISHED, Step.INTENDED)


@pytest.mark.parametrize("state", [State.PUBLISHED, State.FINISHED])
def test_what_is_published_stays_published(state: State) -> None:
    """No step leads from a durable copy back to fetching it."""
    reachable, seen = {state}, set()
    while reachable:
        one = reachable.pop()
        seen.add(one)
        reachable |= set(STEPS[one].values()) - seen
    assert seen <= {State.PUBLISHED, State.FINISHED}


@pytest.mark.parametrize("step", [Step.GONE, Step.REPLACED, Step.USED_UP, Step.UNSETTLED])
def test_an_open_intent_is_only_left_by_those_who_know_its_end(step: Step) -> None:
    """While a rename may have happened, no listing and no failure decides about the version."""
    assert not allows(State.PUBLISHING, step)


def test_a_version_at_rest_takes_the_step_that_waited_for_its_claim() -> None:
    """Replaced goes before vanished: a newer version is the better news."""
    assert at_rest(State.READY, latest=False, listed=False) is State.SUPERSEDED
    assert at_rest(State.READY, latest=True, listed=False) is State.VANISHED
    assert at_rest(State.READY, latest=True, listed=True) is State.READY
    assert at_rest(State.PUBLISHING, latest=False, listed=False) is State.PUBLISHING

"""The transition table: complete, one-way, and strict."""

from __future__ import annotations

import pytest

from workers.ftps.states import TRANSITIONS, Event, IllegalStep, Machine, State

IMPLICIT = [Event.CONNECTED, Event.SECURED, Event.GREETED]
EXPLICIT = [Event.CONNECTED, Event.GREETED, Event.SECURED]
CLEAR = [Event.CONNECTED, Event.GREETED, Event.STAYED_CLEAR]
LOGIN_TO_READY = [Event.LOGGED_IN, Event.PROTECTED, Event.PREPARED]
TRANSFER = [Event.PORT_WANTED, Event.SENT, Event.BEGUN, Event.DATA_SECURED, Event.MOVED, Event.SETTLED]
AHEAD = [Event.PORT_WANTED, Event.SENT, Event.DATA_SECURED, Event.BEGUN, Event.MOVED, Event.SETTLED]


def run(*events: Event) -> Machine:
    machine = Machine()
    for event in events:
        machine.step(event)
    return machine


@pytest.mark.parametrize("way", [IMPLICIT, EXPLICIT, CLEAR])
def test_three_ways_lead_to_login(way: list[Event]) -> None:
    """Implicit, explicit and no TLS meet at LOGIN."""
    assert run(*way).state is State.LOGIN


@pytest.mark.parametrize("way", [TRANSFER, AHEAD])
def test_a_transfer_comes_back_to_ready(way: list[Event]) -> None:
    """Through all its stages, whether the 1xx or the handshake is over first."""
    assert run(*EXPLICIT, *LOGIN_TO_READY, *way).state is State.READY


@pytest.mark.parametrize("way", [TRANSFER, AHEAD])
@pytest.mark.parametrize("stage", range(1, len(TRANSFER)))
def test_a_refusal_settles_a_transfer_at_any_stage(way: list[Event], stage: int) -> None:
    """A final reply may come at any time, and makes the line READY."""
    machine = run(*EXPLICIT, *LOGIN_TO_READY, *way[:stage])
    assert machine.step(Event.SETTLED) is State.READY


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    """No state is forgotten, none is an island."""
    assert set(TRANSITIONS) == set(State)
    reached = {State.NEW, State.DEAD} | {to for steps in TRANSITIONS.values() for to in steps.values()}
    assert reached == set(State)


def test_nothing_leads_back_to_new_and_nothing_out_of_dead() -> None:
    """A connection lives once."""
    assert all(to is not State.NEW for steps in TRANSITIONS.values() for to in steps.values())
    assert TRANSITIONS[State.DEAD] == {}


def test_no_way_to_login_leaves_tls_out_by_omission() -> None:
    """After a clear-text greeting, LOGIN is reached by securing, or by the event that says otherwise."""
    assert set(TRANSITIONS[State.BANNER]) == {Event.SECURED, Event.STAYED_CLEAR}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_what_the_table_does_not_have_is_illegal(state: State, event: Event) -> None:
    """The error names state and event, and nothing has moved; dying is legal everywhere."""
    machine = Machine()
    machine.state = state
    if event is Event.DIED:
        assert machine.step(event) is State.DEAD
    elif event not in TRANSITIONS[state]:
        with pytest.raises(IllegalStep) as told:
            machine.step(event)
        assert (told.value.state, told.value.event) == (state, event)
        assert state.name in str(told.value)
        assert event.value in str(told.value)
        assert machine.state is state

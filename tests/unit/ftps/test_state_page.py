"""The states as they are drawn in the documents are those of the code."""

from __future__ import annotations

from tests.unit.ftps.state_page import PAGE, drawing, page, table
from workers.ftps.states import TRANSITIONS, Event, State


def test_the_page_is_what_the_tables_are() -> None:
    """Whoever changes a table draws the page anew: `python -m tests.unit.ftps.state_page`."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_step_is_drawn_and_told() -> None:
    """Steps between the same two states share an arrow; a state without steps has its row all the same."""
    drawn, told = drawing(TRANSITIONS, first=State.NEW), table(TRANSITIONS)
    for state, following in TRANSITIONS.items():
        for event, then in following.items():
            assert f"{event.value} → {then.name}" in told
            [arrow] = [
                row for row in drawn.splitlines() if row.startswith(f"    {state.name} --> {then.name}:")
            ]
            assert event.value in arrow
    assert "| DEAD | – |" in told
    one = {State.TCP: {Event.SECURED: State.LOGIN, Event.GREETED: State.LOGIN}}
    assert "    TCP --> LOGIN: secured, greeted\n" in drawing(one, first=State.TCP)

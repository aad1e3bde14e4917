"""A partner without room, of whom one reply is known: whose fault it is, and what becomes of the rest."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.faults.acts import answer, receive
from tests.faults.push import temps
from tests.faults.scripted import ScriptedServer
from tests.servers.pushing import Pushing
from workers.errors import StoreRefused

Open = Callable[..., Pushing]

CONTENT = os.urandom(400_000)


@pytest.mark.parametrize("when", ["before", "after"], ids="{} its bytes".format)
def test_a_partner_whose_disk_is_full_stops_the_batch_and_no_file_is_charged(
    scripted: ScriptedServer, pushing: Open, when: str
) -> None:
    """452: nothing is under its name, everything stays here, and all goes once there is room."""
    full = answer("452 No space left.") if when == "before" else receive(final="452 No space left.")
    scripted.when("STOR", full, times=1)
    one = pushing(max_attempts=1)
    one.ready(a=CONTENT, b=CONTENT)
    with pytest.raises(StoreRefused, match="is not taken: STOR: 452 No space left"):
        one.push()
    assert set(one.states().values()) == {"READY"}
    assert scripted.count("STOR") == 1, "the second would meet the same"
    assert scripted.files.keys() - temps(scripted) == set()
    assert one.push().published == 2
    assert scripted.files == {b"/in/a": CONTENT, b"/in/b": CONTENT}


def test_a_file_too_large_for_its_partner_is_its_own_fault(scripted: ScriptedServer, pushing: Open) -> None:
    """552 to one: it is quarantined with the server's words, the others are sent."""
    scripted.when("STOR", receive(final="552 Too large."), times=1)
    one = pushing(max_attempts=1)
    one.ready(a=CONTENT, b=CONTENT)
    outcome = one.push()
    assert (outcome.published, outcome.failed) == (1, 1)
    assert "552 Too large." in (outcome.first_error or "")
    states = {state: name for name, state in one.states().items()}
    assert scripted.files.keys() - temps(scripted) == {f"/in/{states['FINISHED']}".encode()}
    assert (one.source / states["QUARANTINED"]).read_bytes() == CONTENT


def test_a_partner_whose_quota_is_used_up_costs_no_file_an_attempt(
    scripted: ScriptedServer, pushing: Open
) -> None:
    """552 to one after the other is not theirs: the batch ends, for as many ticks as it takes."""
    scripted.when("STOR", receive(final="552 Quota exceeded."))
    one = pushing(max_attempts=1)
    one.ready(**dict.fromkeys("abcd", CONTENT))
    for _ in range(3):
        with pytest.raises(StoreRefused, match="552"):
            one.push()
    assert scripted.count("STOR") == 3 * 2
    assert scripted.files == {}, "what it took of a file only fills it"
    assert set(one.states().values()) == {"READY"}
    assert {row.attempts for row in one.ledger.history.rows("orders", limit=10)} == {0}
    scripted.forget("STOR")
    assert one.push().published == 4


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_server_that_cannot_write_is_asked_twice_and_not_as_often_as_lines_are_built(
    scripted: ScriptedServer, pushing: Open, attempts: int
) -> None:
    """451, which a full disk says: each try would send as much as there is room for."""
    scripted.when("STOR", receive(final="451 Failure writing to local file."))
    one = pushing(max_attempts=1)
    budget = one.session.endpoint.reconnect.model_copy(update={"attempts": attempts})
    one.session.endpoint = one.session.endpoint.model_copy(update={"reconnect": budget})
    one.ready(a=CONTENT)
    with pytest.raises(StoreRefused, match="451 Failure writing"):
        one.push()
    assert scripted.count("STOR") == min(attempts, 2)
    assert one.states() == {"a": "READY"}


def test_files_that_arrived_get_their_names_though_the_batch_stops(
    scripted: ScriptedServer, pushing: Open
) -> None:
    """Else what comes before a file there is no room for would be sent at each tick, and never named."""
    scripted.when("STOR", answer("452 No space left."), skip=2)
    one = pushing()
    for name in "abc":
        one.put(name, CONTENT)
        one.poll()
    with pytest.raises(StoreRefused):
        one.push()
    assert scripted.files == {b"/in/a": CONTENT, b"/in/b": CONTENT}
    assert one.states() == {"a": "FINISHED", "b": "FINISHED", "c": "READY"}


def test_a_marker_there_is_no_room_for_is_sent_once_there_is(scripted: ScriptedServer, pushing: Open) -> None:
    """The file has its name by then, and is not sent again, nor under a second one."""
    scripted.when("STOR", answer("452 No space left."), skip=1, times=1)
    one = pushing(done_file="{name}.done", on_exists="version", max_attempts=1)
    one.ready(a=CONTENT)
    with pytest.raises(StoreRefused, match=r"/in/a.done is not taken"):
        one.push()
    assert scripted.files == {b"/in/a": CONTENT}
    assert one.states() == {"a": "PUBLISHING"}
    assert one.push().published == 1
    assert scripted.files == {b"/in/a": CONTENT, b"/in/a.done": b""}

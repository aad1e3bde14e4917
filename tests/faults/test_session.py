"""A session under trouble: what it tries again, what it never does, and what it counts."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults import acts
from tests.faults.scripted import ScriptedServer
from tests.faults.sessions import Make, names
from tests.waiting import wait_until
from workers import errors
from workers.ftps.connection import Connection
from workers.ftps.errors import Refused
from workers.janitor import Janitor
from workers.ledger import Ledger
from workers.session import Reason, Session, Tally


def test_a_server_that_is_gone_is_reported_with_exact_counts(
    server: ScriptedServer, session: Make, ledger: Ledger
) -> None:
    """attempts: connects of this task; consecutive_failures: of all tasks; reconnects: rebuilt lines."""
    one, tally = session(), Tally()
    one.run(names, name="list", tally=tally)
    server.close()
    for task in (1, 2, 3):
        tally = Tally()
        with pytest.raises(errors.ReconnectFailed) as failure:
            one.run(names, name="list", tally=tally)
        endpoint, attempts, in_a_row, reconnects, elapsed_s, last_error = failure.value.args
        # The first attempt of the first task found the held line dead; that was no connect.
        connects = 3 if task == 1 else 4
        assert (endpoint, attempts, reconnects) == ("bank", connects, 0)
        assert in_a_row == ledger.endpoints.get("bank").consecutive_failures
        assert in_a_row == (3, 7, 11)[task - 1]
        assert 0 <= elapsed_s < 60
        assert last_error.startswith("ConnectFailed: ")
        assert failure.value.__cause__ is not None
    assert one.counters.failures == {"ConnectFailed": 11}


def test_an_operation_that_dies_on_every_line_is_its_own_failure(
    server: ScriptedServer, session: Make
) -> None:
    """Lines are built all the time: it is the operation's fault, not the endpoint's."""
    server.when("MLSD", acts.reset_line)
    one, tally = session(), Tally()
    with pytest.raises(errors.OperationFailed) as failure:
        one.run(names, name="list", tally=tally)
    endpoint, operation, attempts, reconnects, _, last_error = failure.value.args
    assert (endpoint, operation, attempts, reconnects) == ("bank", "list", 4, 3)
    assert last_error.startswith("RaggedEnd: ")
    assert server.count("MLSD") == server.logins == 4


def test_progress_starts_the_count_of_attempts_anew(server: ScriptedServer, session: Make) -> None:
    """A transfer that moves bytes before each loss goes on for as long as it takes."""
    server.when("RETR", acts.transfer(share=0.5, end="reset"), times=9)
    one, tally = session(), Tally()
    tries = 0

    def receive(line: Connection) -> int:
        nonlocal tries
        tries += 1
        return line.retrieve(b"/a.bin", lambda _block: one.progress(), size=200_000)

    assert one.run(receive, name="receive", tally=tally) == 200_000
    assert tries == 10, "nine losses, though only four attempts without progress are allowed"


def test_a_refusal_leaves_the_line_as_it_is(server: ScriptedServer, session: Make) -> None:
    """550 is an answer: no rebuild, no second try."""
    one, tally = session(), Tally()

    def refused(line: Connection) -> None:
        line.delete(b"/nothing-here")

    with pytest.raises(Refused):
        one.run(refused, name="delete", tally=tally)
    assert one.run(names, name="list", tally=tally) == {b"a.bin"}
    assert (tally.connects, tally.reconnects, server.logins) == (1, 0, 1)


def test_an_exception_of_the_caller_ends_the_line_and_is_not_tried_again(
    server: ScriptedServer, session: Make
) -> None:
    """A full disk in the sink leaves a reply unread: the next operation gets another line."""
    one, tally = session(), Tally()

    def full(_block: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        one.run(lambda line: line.retrieve(b"/a.bin", full, size=200_000), name="receive", tally=tally)
    assert server.count("RETR") == 1
    assert one.run(names, name="list", tally=tally) == {b"a.bin"}
    assert tally.reconnects == 1


def test_a_wrong_password_is_tried_once_however_many_sessions_there_are(
    server: ScriptedServer, session: Make, ledger: Ledger, tmp_path: Path
) -> None:
    """Eight sessions of eight owners start together; the server sees one attempt, and nobody tries again."""
    server.when("PASS", acts.answer("530 Login incorrect."))
    ledgers = [Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3", state_dir=tmp_path) for _ in range(8)]
    sessions = [session(ledger=one, password="hunter2-wrong") for one in ledgers]
    together = threading.Barrier(len(sessions))
    outcomes: list[BaseException] = []

    def tick(one: Session) -> None:
        together.wait()
        for _ in range(3):
            try:
                one.run(names, name="list", tally=Tally())
            except errors.TowlineError as failure:
                outcomes.append(failure)

    threads = [threading.Thread(target=tick, args=(one,)) for one in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.count("PASS") == 1
    kinds = [type(outcome).__name__ for outcome in outcomes]
    assert kinds.count("LoginRefused") == 1
    assert kinds.count("EndpointClosed") + kinds.count("ReconnectFailed") == len(kinds) - 1
    assert not any("hunter2" in repr(outcome) for outcome in outcomes)

    ledger.endpoints.open_again("bank")
    server.forget("PASS")
    assert session().run(names, name="list", tally=Tally()) == {b"a.bin"}
    for one in ledgers:
        one.close()


def test_a_line_is_rebuilt_when_it_is_too_old(server: ScriptedServer, session: Make) -> None:
    """Before TLS tickets end; the old one is left with QUIT."""
    one, tally = session(max_age=1e-6), Tally()
    one.run(names, name="list", tally=tally)
    one.run(names, name="list", tally=tally)
    assert one.counters.builds == {Reason.FIRST_USE: 1, Reason.ROTATION: 1}
    wait_until(lambda: server.count("QUIT") == 1)


def test_a_line_is_rebuilt_before_its_tls_session_ends(
    server: ScriptedServer, session: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data channels would be refused then. OpenSSL's live for two hours; a tenth is spared."""
    one, tally = session(), Tally()
    one.run(Connection.noop, name="noop", tally=tally)
    assert one.run(lambda line: line.session_ends_at, name="look", tally=tally) is None, "never looked at"
    one.run(names, name="list", tally=tally)
    ends_at = one.run(lambda line: line.session_ends_at, name="look", tally=tally)
    assert ends_at is not None
    assert 0 < ends_at - time.monotonic() <= 7200 * 0.9
    with monkeypatch.context() as later:
        later.setattr(Connection, "session_ends_at", time.monotonic() + 600)
        one.run(names, name="list", tally=tally)
        assert one.counters.builds == {Reason.FIRST_USE: 1}
        later.setattr(Connection, "session_ends_at", time.monotonic())
        one.run(names, name="list", tally=tally)
    assert one.counters.builds == {Reason.FIRST_USE: 1, Reason.ROTATION: 1}


def test_a_refused_resumption_on_a_line_that_resumed_costs_a_line_and_a_replay(
    server: ScriptedServer, session: Make
) -> None:
    """Its ticket has ended sooner than it said. A line on which nothing ever resumed is refused for good."""
    one, tally = session(), Tally()
    assert one.run(names, name="list", tally=tally) == {b"a.bin"}
    refuses = acts.answer("522 SSL connection failed: session reuse required")
    server.when("MLSD", refuses, times=1)
    assert one.run(names, name="list", tally=tally) == {b"a.bin"}
    assert (tally.reconnects, server.count("MLSD")) == (1, 3)
    assert one.counters.builds == {Reason.FIRST_USE: 1, Reason.SERVER_CLOSED: 1}
    server.when("MLSD", refuses)
    with pytest.raises(Refused):
        session().run(names, name="list", tally=Tally())


def test_a_line_is_asked_before_use_only_after_an_idle_time(server: ScriptedServer, session: Make) -> None:
    """No NOOP between operations that follow each other; one after `probe_after`."""
    one, tally = session(probe_after=3600.0), Tally()
    one.run(names, name="list", tally=tally)
    one.run(names, name="list", tally=tally)
    assert server.count("NOOP") == 0
    other = session(probe_after=0.0)
    other.run(names, name="list", tally=tally)
    other.run(names, name="list", tally=tally)
    assert server.count("NOOP") == 1


def test_a_stale_reply_is_never_taken_for_the_answer(server: ScriptedServer, session: Make) -> None:
    """A second 226 would make every later answer the one before it: a new line instead."""
    server.when("MLSD", acts.stale("226 Transfer complete, again."), times=1)
    one, tally = session(probe_after=0.0), Tally()
    assert one.run(names, name="list", tally=tally) == {b"a.bin"}
    assert one.run(names, name="list", tally=tally) == {b"a.bin"}
    assert one.counters.builds == {Reason.FIRST_USE: 1, Reason.PROTOCOL: 1}


def test_a_keep_alive_finds_a_dead_line_before_anybody_needs_it(
    server: ScriptedServer, session: Make
) -> None:
    """The janitor's NOOP meets the 421; the next operation builds at once, and no attempt is wasted."""
    one, tally = session(), Tally()
    one.run(names, name="list", tally=tally)
    one.keep_alive(every=0.0)
    assert server.count("NOOP") == 1
    assert server.to_idle_lines(acts.farewell()) == 1
    one.keep_alive(every=0.0)
    assert one.run(names, name="list", tally=tally) == {b"a.bin"}
    assert one.counters.builds == {Reason.FIRST_USE: 1, Reason.SERVER_CLOSED: 1}


def test_an_idle_line_is_asked_again_and_again_where_keepalive_is_set(
    server: ScriptedServer, session: Make, ledger: Ledger
) -> None:
    """By the janitor, at that pace, and not at all without the key."""
    one, quiet, tally = session(keepalive=0.05), session(), Tally()
    for each in (one, quiet):
        each.run(names, name="list", tally=tally)
    with closing(Janitor(ledger, 60.0, lambda: [quiet, one])):
        wait_until(lambda: server.count("NOOP") >= 3, 60)
    asked = server.count("NOOP")
    with closing(Janitor(ledger, 60.0, lambda: [quiet])) as janitor:
        janitor.wake()
    assert server.count("NOOP") == asked


def test_a_line_is_tried_for_no_longer_than_within(server: ScriptedServer, session: Make) -> None:
    """However many attempts are left."""
    one, tally = session(reconnect={"attempts": 9_999, "within": 0.5, "max_wait": 0.5}), Tally()
    server.close()
    with pytest.raises(errors.ReconnectFailed) as failure:
        one.run(names, name="list", tally=tally)
    assert failure.value.args[4] < 30, "left out, a minute"


def test_waits_between_attempts_are_drawn_from_what_grows_from_first_wait_to_max_wait(
    server: ScriptedServer, session: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each up to twice as long as the one before, and at random, so that a fleet does not come at once."""
    longest: list[float] = []

    def drawn(_shortest: float, high: float) -> float:
        longest.append(high)
        return 0.0

    monkeypatch.setattr("random.uniform", drawn)
    one = session(reconnect={"attempts": 5, "within": 600.0, "first_wait": 0.125, "max_wait": 0.6})
    server.close()
    with pytest.raises(errors.ReconnectFailed):
        one.run(names, name="list", tally=Tally())
    assert longest[:4] == [0.125, 0.25, 0.5, 0.6]


def test_a_paused_endpoint_gets_no_line(server: ScriptedServer, session: Make, ledger: Ledger) -> None:
    """`towline pause bank`, until `towline resume bank`."""
    ledger.endpoints.pause("bank")
    with pytest.raises(errors.EndpointClosed) as closed:
        session().run(names, name="list", tally=Tally())
    assert closed.value.args[2] == "paused"
    assert server.connections == 0
    ledger.endpoints.resume("bank")
    assert session().run(names, name="list", tally=Tally()) == {b"a.bin"}


def test_a_forked_child_drops_its_parents_line_without_touching_its_tls(
    server: ScriptedServer, session: Make, ledger: Ledger
) -> None:
    """The child builds a line of its own, counted as such; the parent's goes on as if nothing had been."""
    one, tally = session(), Tally()
    one.run(names, name="list", tally=tally)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = one.run(names, name="list", tally=Tally())
            os.write(tell, f"{found == {b'a.bin'}} {dict(one.counters.builds)[Reason.FORK]}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(tell)
    with os.fdopen(told, "rb") as answer:
        assert answer.read() == b"True 1"
    assert one.run(names, name="list", tally=tally) == {b"a.bin"}
    assert one.counters.builds == {Reason.FIRST_USE: 1}
    assert (tally.connects, server.logins) == (1, 2)
    assert not server.troubles, "the parent's TLS stream was not disturbed"


def test_what_one_line_learns_of_the_server_the_next_one_knows(server: ScriptedServer, session: Make) -> None:
    """A refused EPSV is not tried again on every new line."""
    server.when("EPSV", acts.answer("500 What?"))
    first, tally = session(), Tally()
    assert first.run(names, name="list", tally=tally) == {b"a.bin"}
    assert server.count("EPSV") == 1
    first.close()
    assert session().run(names, name="list", tally=tally) == {b"a.bin"}
    assert server.count("EPSV") == 1


def test_a_task_that_ends_without_a_line_tells_how_often_it_had_rebuilt_it(
    server: ScriptedServer, session: Make
) -> None:
    """Two rebuilt lines, then nobody there: connects and rebuilds of this task, each counted for itself."""
    one, tally = session(), Tally()
    one.run(names, name="list", tally=tally)
    server.when("MLSD", acts.reset_line, times=2)
    assert one.run(names, name="list", tally=tally) == {b"a.bin"}
    server.close()
    with pytest.raises(errors.ReconnectFailed) as failure:
        one.run(names, name="list", tally=tally)
    _, attempts, in_a_row, reconnects, _, _ = failure.value.args
    assert (attempts, in_a_row, reconnects) == (6, 3, 2), "one, two rebuilt, three in vain"

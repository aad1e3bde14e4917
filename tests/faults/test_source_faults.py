"""Deleting and moving at the source, with kills and lost replies in between."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.acts import Act, answer, in_turn, reset_line
from tests.faults.dialogue import Talk
from tests.faults.nursery import Nursery
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.fetching import Fetching
from tests.servers.server import FtpServer
from tests.unit.ledger.scene import Clock
from workers.errors import ReconnectFailed

HOLD_S = 60.0  # longer than any machine takes to come to the crash


def there(server: FtpServer) -> dict[str, bytes]:
    found = (path for path in server.root.rglob("*") if path.is_file())
    return {str(path.relative_to(server.root)): path.read_bytes() for path in found}


@pytest.mark.parametrize("at", ["source-asked", "marker-removed", "marker-removed:2", "source-removed"])
def test_a_kill_beside_a_marker_leaves_no_marker_without_its_file(
    start_server: Callable[..., FtpServer], tmp_path: Path, nursery: Nursery, at: str
) -> None:
    """The marker goes first: a file without one may be left behind, and is removed by the next try."""
    server = start_server("pyftpdlib")
    for name in ("a", "b"):
        for file in (name, f"{name}.done"):
            (server.root / file).write_bytes(b"<a/>")
            os.utime(server.root / file, (1_600_000_000, 1_600_000_000))
    keys = {"after": "delete", "done_file": "{name}.done"}
    later_s = 0.0
    with closing(Fetching(server, tmp_path / "towline", clock=lambda: time.time() + later_s, **keys)) as one:
        assert one.poll() == 2
        nursery.dies_of_fetching(one, at, lease_s=HOLD_S)
        left = there(server).keys()
        assert {name.removesuffix(".done") for name in left if name.endswith(".done")} <= left
        one.poll()
        later_s = HOLD_S
        one.clear()
        assert one.states() == {"/a": "FINISHED", "/b": "FINISHED"}
        assert there(server) == {}


# -- replies that never come


@pytest.fixture
def scripted(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates, files={b"/out/a": b"<a/>"}) as server:
        yield server


@pytest.fixture
def fetched(scripted: ScriptedServer, tmp_path: Path) -> Iterator[Callable[..., Fetching]]:
    """fetched(after=…) → a Fetching that has published /out/a, and not touched its source."""
    made: list[Fetching] = []

    def make(**keys: Any) -> Fetching:
        made.append(Fetching(scripted, tmp_path / "towline", remote=b"/out", **keys))  # type: ignore[arg-type]
        made[-1].poll()
        assert made[-1].fetch().published == 1
        return made[-1]

    yield make
    for one in made:
        one.close()


def unseen(act: Callable[[Talk, bytes], object]) -> Act:
    """It is done, and the line breaks before the reply."""

    def done(talk: Talk, argument: bytes) -> None:
        act(talk, argument)

    return in_turn(done, reset_line)


def rename(talk: Talk, new: bytes) -> None:
    talk.server.files[new] = talk.server.files.pop(talk.renaming)


def delete(talk: Talk, path: bytes) -> None:
    talk.server.files.pop(path)


def test_a_move_whose_reply_was_lost_is_settled_by_looking_at_both_names(
    scripted: ScriptedServer, fetched: Callable[..., Fetching]
) -> None:
    """The source is gone and the copy lies in the folder: it was moved, once (field note 38)."""
    scripted.when("RNTO", unseen(rename), times=1)
    one = fetched(after="move:/archive")
    one.clear()
    assert scripted.files == {b"/archive/a": b"<a/>"}
    assert one.became() == {"/out/a": "moved:/archive/a"}
    assert (scripted.count("RNTO"), one.tally.reconnects) == (1, 1)


@pytest.mark.parametrize(("after", "verb"), [("delete", "DELE"), ("move:/archive", "RNFR")])
def test_the_marker_goes_before_its_file(
    scripted: ScriptedServer, fetched: Callable[..., Fetching], after: str, verb: str
) -> None:
    """Whatever breaks between the two commands, no marker is left to vouch for the next file of that name."""
    scripted.files[b"/out/a.done"] = b""
    fetched(after=after, done_file="{name}.done").clear()
    removing = [command for command in scripted.commands if command.startswith(("DELE", "RNFR"))]
    assert removing == ["DELE /out/a.done", f"{verb} /out/a"]


def test_a_move_that_was_lost_before_it_was_done_is_tried_again(
    scripted: ScriptedServer, fetched: Callable[..., Fetching]
) -> None:
    """The source is still there, and still that version."""
    scripted.when("RNTO", reset_line, times=1)
    one = fetched(after="move:/archive")
    one.clear()
    assert scripted.files == {b"/archive/a": b"<a/>"}
    assert scripted.count("RNTO") == 2


@pytest.mark.parametrize("verb", ["DELE", "RNTO"])
def test_a_newer_version_that_came_while_the_reply_was_lost_stays(
    scripted: ScriptedServer, fetched: Callable[..., Fetching], verb: str
) -> None:
    """Done, reply lost, and the partner writes the next one: asked again, it is not what was fetched."""
    first = delete if verb == "DELE" else rename

    def and_a_new_one(talk: Talk, argument: bytes) -> None:
        first(talk, argument)
        talk.server.files[b"/out/a"] = b"the next one"

    scripted.when(verb, unseen(and_a_new_one), times=1)
    one = fetched(after="delete" if verb == "DELE" else "move:/archive")
    one.clear()
    assert scripted.files[b"/out/a"] == b"the next one"
    assert scripted.count(verb) == 1
    assert one.states() == {"/out/a": "FINISHED"}


def test_a_deletion_whose_reply_was_lost_is_done(
    scripted: ScriptedServer, fetched: Callable[..., Fetching]
) -> None:
    """It is gone: asked again, not deleted again."""
    scripted.when("DELE", unseen(delete), times=1)
    one = fetched(after="delete")
    one.clear()
    assert one.became() == {"/out/a": "deleted"}
    assert scripted.count("DELE") == 1


def test_a_line_that_dies_of_each_try_is_tried_later_and_hides_no_success(
    scripted: ScriptedServer, fetched: Callable[..., Fetching]
) -> None:
    """The file was published; its deletion is what failed, and is spaced."""
    scripted.when("DELE", reset_line)
    one = fetched(after="delete")
    one.clear()
    [row] = one.ledger.history.rows()
    assert (row.state, row.after_attempts) == ("PUBLISHED", 1)
    assert "OperationFailed" in (row.after_error or "")
    assert scripted.files == {b"/out/a": b"<a/>"}


def test_a_server_that_is_away_uses_up_nothing(
    scripted: ScriptedServer, fetched: Callable[..., Fetching]
) -> None:
    """No line: a failure of the task, with its counts; the source is due again at once."""
    one = fetched(after="delete")
    one.session.close()
    scripted.when("CONNECT", reset_line)
    with pytest.raises(ReconnectFailed):
        one.clear()
    [row] = one.ledger.history.rows()
    assert (row.state, row.after_attempts, row.after_error) == ("PUBLISHED", 0, None)
    scripted.forget("CONNECT")
    one.clear()
    assert one.states() == {"/out/a": "FINISHED"}


def test_what_cannot_be_told_from_a_newer_version_stays(
    scripted: ScriptedServer, fetched: Callable[..., Fetching]
) -> None:
    """Neither SIZE nor MDTM nor a listing any more: nothing is removed on trust."""
    one = fetched(after="delete")
    for verb in ("SIZE", "MDTM", "MLSD", "LIST"):
        scripted.when(verb, answer("502 Not any more."))
    one.clear()
    [row] = one.ledger.history.rows()
    assert (row.state, row.after_attempts) == ("PUBLISHED", 1)
    assert "does not tell" in (row.after_error or "")
    assert scripted.files == {b"/out/a": b"<a/>"}


def test_550_to_size_is_not_gone_while_the_listing_has_it(
    scripted: ScriptedServer, fetched: Callable[..., Fetching]
) -> None:
    """A file that may no longer be read is no file that was removed: DELE is tried, and its reply told."""
    one = fetched(after="delete")
    scripted.when("SIZE", answer("550 Permission denied."))
    scripted.when("DELE", answer("550 Permission denied."))
    one.clear()
    [row] = one.ledger.history.rows()
    assert (row.state, row.after_error) == ("PUBLISHED", "DELE: 550 Permission denied.")


def test_two_who_clear_do_not_take_the_same_source(
    scripted: ScriptedServer, fetched: Callable[..., Fetching]
) -> None:
    """Taken by one, it is due for others only when that time is over; then either may say how it went."""
    clock = Clock()
    one = fetched(after="delete", clock=clock)
    [source] = one.ledger.sources.take("statements", files=9, hold_s=60)
    clock.pass_(59)
    assert one.ledger.sources.take("statements", files=9, hold_s=60) == []
    clock.pass_(1)
    again = one.ledger.sources.take("statements", files=9, hold_s=60)
    one.ledger.sources.failed({source: "too late: somebody else has it"})
    [row] = one.ledger.history.rows()
    assert (row.after_attempts, row.after_next_at) == (0, again[0].held_until)
    one.ledger.sources.done({source: "deleted"})
    assert one.states() == {"/out/a": "FINISHED"}
    one.ledger.sources.failed({again[0]: "DELE: 550"})
    assert one.states() == {"/out/a": "FINISHED"}

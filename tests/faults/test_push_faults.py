"""Lines that break while files are sent, partners that lie: what has its name there is whole, and newest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.acts import answer, in_turn, receive, reset_line
from tests.faults.dialogue import Talk
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.pushing import LONG_AGO, Pushing
from workers.depositing import sweep
from workers.errors import OperationFailed, StoreRefused
from workers.stores.naming import TEMP_PREFIX

Open = Callable[..., Pushing]

CONTENT = os.urandom(400_000)

# Before a process's first renames to a server it is asked how it does them: by one RNFR, and two RNTO.
ASKED_RNFR, ASKED_RNTO = 1, 2


@pytest.fixture
def scripted(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates) as server:
        yield server


@pytest.fixture
def pushing(scripted: ScriptedServer, tmp_path: Path) -> Iterator[Open]:
    """pushing(…) → a Pushing to the scripted server; all those of one test share a ledger and a folder."""
    with ExitStack() as opened:

        def open_one(**keys: Any) -> Pushing:
            one = Pushing(scripted, tmp_path / "towline", **keys)
            opened.callback(one.close)
            return one

        yield open_one


def ready(one: Pushing, **content: bytes) -> None:
    """Files that are to be sent now."""
    for name, body in content.items():
        one.put(name, body)
    assert one.poll() == len(content)


def temps(server: ScriptedServer) -> list[bytes]:
    return [path for path in server.files if path.rpartition(b"/")[2].startswith(TEMP_PREFIX)]


def rename_without_a_word(talk: Talk, path: bytes) -> None:
    """RNTO is done, and the line is reset before its reply."""
    talk.server.files[path] = talk.server.files.pop(talk.renaming)
    talk.reset()


def test_all_bytes_went_and_the_reply_never_came(scripted: ScriptedServer, pushing: Open) -> None:
    """R10: the temp's size is asked on a new line, and the file is not sent again."""
    one = pushing()
    ready(one, a=CONTENT)
    scripted.when("STOR", in_turn(receive(final=None), reset_line), times=1)
    assert one.push().published == 1
    assert scripted.count("STOR") == 1
    assert scripted.files == {b"/in/a": CONTENT}


def test_all_bytes_and_a_final_reply_that_refuses_are_sent_again(
    scripted: ScriptedServer, pushing: Open
) -> None:
    """As many bytes as were due lie there, and the server has said that they are no file."""
    one = pushing()
    ready(one, a=CONTENT)
    scripted.when("STOR", receive(final="451 Write error on the disk."), times=1)
    assert one.push().published == 1
    assert scripted.count("STOR") == 2


def test_a_broken_upload_begins_anew(scripted: ScriptedServer, pushing: Open) -> None:
    """Without resume_uploads: the temp is written from its beginning."""
    one = pushing()
    ready(one, a=CONTENT)
    scripted.when("STOR", in_turn(receive(stop_after=200_000, end="reset", final=None), reset_line), times=1)
    assert one.push().published == 1
    assert (scripted.count("STOR"), scripted.count("APPE")) == (2, 0)
    assert scripted.files == {b"/in/a": CONTENT}


def test_a_broken_upload_goes_on_where_that_is_asked_for(scripted: ScriptedServer, pushing: Open) -> None:
    """`resume_uploads`: SIZE, then APPE of what is missing; the digest is of the whole."""
    one = pushing(resume_uploads=True)
    ready(one, a=CONTENT)
    scripted.when("STOR", in_turn(receive(stop_after=200_000, end="reset", final=None), reset_line), times=1)
    outcome = one.push()
    assert (outcome.published, outcome.bytes) == (1, len(CONTENT))
    assert (scripted.count("STOR"), scripted.count("APPE")) == (1, 1)
    assert scripted.files == {b"/in/a": CONTENT}


def test_the_next_worker_goes_on_where_that_is_asked_for(scripted: ScriptedServer, pushing: Open) -> None:
    """What a lower fence left is renamed to the new fence's temp, and continued."""
    first = pushing(resume_uploads=True)
    ready(first, a=CONTENT)
    broken = in_turn(receive(stop_after=200_000, end="reset", final=None), reset_line)
    scripted.when("STOR", broken, times=1)
    scripted.when("APPE", reset_line, times=3)
    assert first.push().failed == 1
    [left] = temps(scripted)
    assert first.ledger.claims.retry("orders", first.folder_path(b"a"))
    assert pushing(resume_uploads=True).push().published == 1
    assert f"RNFR {left.decode()}" in scripted.commands
    assert scripted.count("STOR") == 1
    assert scripted.files == {b"/in/a": CONTENT}


@pytest.mark.parametrize("resume", [False, True])
def test_a_partner_who_keeps_half_of_it_gets_no_name_for_it(
    scripted: ScriptedServer, pushing: Open, resume: bool
) -> None:
    """`226` after all bytes, SIZE tells of fewer: the file's own fault, counted; its neighbour arrives."""

    def keep_half(talk: Talk, path: bytes) -> None:
        receive()(talk, path)
        if len(talk.server.files[path]) > 10:
            talk.server.files[path] = talk.server.files[path][:1000]

    one = pushing(resume_uploads=resume)
    ready(one, a=CONTENT, b=b"small")
    scripted.when("STOR", keep_half)
    scripted.when("APPE", keep_half)
    outcome = one.push()
    assert (outcome.published, outcome.failed) == (1, 1)
    assert {path for path in scripted.files if path not in temps(scripted)} == {b"/in/b"}


def test_a_rename_whose_reply_never_came_is_done_once(scripted: ScriptedServer, pushing: Open) -> None:
    """The temp is gone, so it was done: not sent again, published once."""
    one = pushing()
    ready(one, a=CONTENT, b=b"small")
    scripted.when("RNTO", rename_without_a_word, skip=ASKED_RNTO, times=1)
    assert one.push().published == 2
    assert scripted.count("STOR") == 2
    assert scripted.files == {b"/in/a": CONTENT, b"/in/b": b"small"}
    assert one.states() == {"a": "FINISHED", "b": "FINISHED"}


@pytest.mark.parametrize("done", [1, 3, 5])
def test_a_line_that_dies_among_the_renames_of_a_group(
    scripted: ScriptedServer, pushing: Open, done: int
) -> None:
    """Nobody knows which of them were done: each is there once in the end, none is sent again."""
    one = pushing()
    sent = {f"{number}": b"%d" % number for number in range(6)}
    ready(one, **sent)
    # Each file's second RNTO is for what can't be done, and the file that the line dies with is done.
    scripted.when("RNTO", rename_without_a_word, skip=ASKED_RNTO + 2 * (done - 1), times=1)
    assert one.push().published == 6
    assert scripted.count("STOR") == 6
    assert scripted.files == {f"/in/{name}".encode(): content for name, content in sent.items()}
    assert set(one.states().values()) == {"FINISHED"}


def test_a_refused_rename_among_others_is_that_files_alone(scripted: ScriptedServer, pushing: Open) -> None:
    """The server still remembers the refused file when the next one's temp is gone: that one gets no name."""

    def refuse_unseen(talk: Talk, _: bytes) -> None:
        following = next(temp for temp in temps(talk.server) if temp != talk.renaming)
        del talk.server.files[following]
        talk.reply("553 Not that name.")

    one = pushing(max_attempts=1)
    scripted.when("RNTO", refuse_unseen, skip=ASKED_RNTO, times=1)
    sent = {"a": b"first", "b": b"second", "c": b"third"}
    ready(one, **sent)
    outcome = one.push()
    assert (outcome.published, outcome.failed) == (1, 1), "whose temp is gone has not failed"
    [(path, content)] = scripted.files.items()
    assert content == sent[path.decode().removeprefix("/in/")]


@pytest.mark.parametrize("does", ["renames all the same", "remembers for ever"])
def test_a_server_that_is_not_sure_to_forget_is_asked_one_by_one(
    scripted: ScriptedServer, pushing: Open, does: str
) -> None:
    """RNTO leaves once RNFR is answered, and never behind one that was refused; what was tried is undone."""

    def rename_anyhow(talk: Talk, path: bytes) -> None:
        old, talk.renaming = talk.renaming, b""
        if old:
            talk.server.files[path] = talk.server.files.pop(old)
        talk.reply("250 Renamed." if old else "503 What?")

    def remember(talk: Talk, path: bytes) -> None:
        old = talk.renaming
        talk.perform("RNTO", path)
        talk.renaming = old

    scripted.when("RNTO", rename_anyhow if does == "renames all the same" else remember)
    one = pushing()
    ready(one, a=b"first", b=b"second")
    assert one.push().published == 2
    assert scripted.files == {b"/in/a": b"first", b"/in/b": b"second"}
    last = [command.split()[0] for command in scripted.commands if command.startswith("RN")][-4:]
    assert last == ["RNFR", "RNTO"] * 2


def test_a_server_that_renames_onto_nothing_has_the_old_file_deleted_first(
    scripted: ScriptedServer, pushing: Open
) -> None:
    """As IIS does: `on_exists = "replace"` holds, and a file that is not in the way is not deleted."""

    def refuse_if_there(talk: Talk, path: bytes) -> None:
        if path in talk.server.files:
            talk.reply("553 File exists.")
        else:
            talk.perform("RNTO", path)

    one = pushing()
    scripted.files[b"/in/a"] = b"of yesterday"
    scripted.when("RNTO", refuse_if_there)
    ready(one, a=CONTENT, b=b"small")
    assert one.push().published == 2
    assert scripted.files == {b"/in/a": CONTENT, b"/in/b": b"small"}
    assert [command for command in scripted.commands if command.startswith("DELE")] == ["DELE /in/a"]


def test_what_a_worker_left_before_the_rename_is_finished_and_not_sent_again(
    scripted: ScriptedServer, pushing: Open
) -> None:
    """The intent is open and the temp is there: whoever claims the path next renames it."""
    first = pushing()
    ready(first, a=CONTENT)
    scripted.when("RNFR", reset_line, skip=ASKED_RNFR)
    with pytest.raises(OperationFailed):
        first.push()
    assert first.states() == {"a": "PUBLISHING"}
    scripted.forget("RNFR")
    assert pushing().push().published == 1
    assert scripted.count("STOR") == 1
    assert scripted.files == {b"/in/a": CONTENT}
    assert first.states() == {"a": "FINISHED"}


def test_what_a_worker_left_after_the_rename_is_not_sent_again(
    scripted: ScriptedServer, pushing: Open
) -> None:
    """The intent is open, the temp is gone: it was done, even where the partner has taken the file away."""
    first = pushing()
    ready(first, a=CONTENT)
    scripted.when("RNTO", rename_without_a_word, skip=ASKED_RNTO, times=1)
    scripted.when("RNFR", reset_line, skip=ASKED_RNFR + 1)
    with pytest.raises(OperationFailed):
        first.push()
    assert first.states() == {"a": "PUBLISHING"}
    scripted.forget("RNFR")
    del scripted.files[b"/in/a"]
    assert pushing().push().published == 1
    assert scripted.count("STOR") == 1
    assert scripted.files == {}


def test_a_frozen_worker_that_thaws_overwrites_nothing(scripted: ScriptedServer, pushing: Open) -> None:
    """Its claim was taken over: its temp is gone, its intent is not accepted, the newer version stays."""
    frozen = pushing()
    ready(frozen, a=b"older")
    claims = frozen.ledger.claims.claim("orders", frozen.route.target, files=9, bytes=1 << 40, lease_s=0.0)
    other = pushing()

    def meanwhile(talk: Talk, path: bytes) -> None:
        """While the first one's bytes are on their way, another sends the newer version."""
        receive()(talk, path)
        other.put("a", b"the newer", LONG_AGO + 60)
        other.poll()
        assert other.push().published == 1

    scripted.when("STOR", meanwhile, times=1)
    outcome = frozen.push(claims)
    assert outcome.published == 0
    assert scripted.files == {b"/in/a": b"the newer"}


def test_a_source_that_is_replaced_once_it_is_sent_gets_no_name(
    scripted: ScriptedServer, pushing: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked about once more when its group is named: it became another version while the others were sent."""
    monkeypatch.setattr("workers.batch.GROUP_SECONDS", float("inf"))  # both in one group, on any machine
    one = pushing()
    for name in "ab":
        one.put(name, CONTENT)
        one.poll()

    def meanwhile(talk: Talk, path: bytes) -> None:
        one.put("a", b"the newer", LONG_AGO + 60)
        receive()(talk, path)

    scripted.when("STOR", meanwhile, skip=1, times=1)
    outcome = one.push()
    assert (outcome.published, outcome.changed) == (1, 1)
    assert scripted.files == {b"/in/b": CONTENT}


def test_a_digest_that_differs_gets_no_name(scripted: ScriptedServer, pushing: Open) -> None:
    """`verify = "hash"`: counted against the file, the temp removed."""
    scripted.when("FEAT", "211-Features:\r\n SIZE\r\n MDTM\r\n XSHA256\r\n211 End")
    scripted.when("XSHA256", answer(f"250 {'0' * 64}"))
    one = pushing(verify="hash")
    ready(one, a=CONTENT)
    assert one.push().failed == 1
    assert scripted.files == {}


def test_a_marker_whose_reply_never_came_is_sent_again(scripted: ScriptedServer, pushing: Open) -> None:
    """The file has its name by then; nothing but the marker is repeated."""
    one = pushing(done_file="{name}.done")
    ready(one, a=CONTENT)
    scripted.when("STOR", in_turn(receive(final=None), reset_line), skip=1, times=1)
    assert one.push().published == 1
    assert scripted.files == {b"/in/a": CONTENT, b"/in/a.done": b""}
    assert scripted.count("STOR") == 3


def test_what_a_given_up_file_left_at_the_partner_is_removed(scripted: ScriptedServer, pushing: Open) -> None:
    """Its temp goes once nobody will go on with it; that of a file which is to be tried again stays."""
    one = pushing(resume_uploads=True, max_attempts=1)
    ready(one, a=CONTENT, b=CONTENT)
    broken = in_turn(receive(stop_after=200_000, end="reset", final=None), reset_line)
    scripted.when("STOR", broken)
    scripted.when("APPE", reset_line)
    with pytest.raises(OperationFailed):
        one.push()
    assert set(one.states().values()) == {"QUARANTINED"}
    assert len(temps(scripted)) == 2
    assert one.ledger.claims.retry("orders", one.folder_path(b"b"))
    sweep(one.route, one.session, one.ledger, one.tally)
    assert len(temps(scripted)) == 1
    scripted.forget("STOR")
    scripted.forget("APPE")
    assert one.push().published == 1
    assert scripted.files == {b"/in/b": CONTENT}
    assert not one.ledger.claims.orphans("orders", one.route.target)


def test_what_another_source_folder_left_does_not_stop_the_route(
    scripted: ScriptedServer, pushing: Open, tmp_path: Path
) -> None:
    """`local` was changed, and nobody can say any more where those temps lie: they are told of, once."""
    one = pushing(resume_uploads=True, max_attempts=1)
    ready(one, a=CONTENT)
    scripted.when("STOR", in_turn(receive(stop_after=200_000, end="reset", final=None), reset_line))
    scripted.when("APPE", reset_line)
    assert one.push().failed == 1
    moved = one.route.model_copy(update={"local": tmp_path / "elsewhere"})
    sweep(moved, one.session, one.ledger, one.tally)
    assert not one.ledger.claims.orphans("orders", moved.target)
    assert len(temps(scripted)) == 1


@pytest.mark.parametrize("when", ["before", "after"], ids="{} its bytes".format)
def test_a_partner_whose_disk_is_full_stops_the_batch_and_no_file_is_charged(
    scripted: ScriptedServer, pushing: Open, when: str
) -> None:
    """452: nothing is under its name, everything stays here, and all goes once there is room."""
    full = answer("452 No space left.") if when == "before" else receive(final="452 No space left.")
    scripted.when("STOR", full, times=1)
    one = pushing(max_attempts=1)
    ready(one, a=CONTENT, b=CONTENT)
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
    ready(one, a=CONTENT, b=CONTENT)
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
    ready(one, **dict.fromkeys("abcd", CONTENT))
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
    ready(one, a=CONTENT)
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
    ready(one, a=CONTENT)
    with pytest.raises(StoreRefused, match=r"/in/a.done is not taken"):
        one.push()
    assert scripted.files == {b"/in/a": CONTENT}
    assert one.states() == {"a": "PUBLISHING"}
    assert one.push().published == 1
    assert scripted.files == {b"/in/a": CONTENT, b"/in/a.done": b""}

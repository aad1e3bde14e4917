"""Lines that break while files are sent, partners that lie: what has its name there is whole, and newest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.acts import answer, in_turn, ordinary, receive, reset_line
from tests.faults.dialogue import Talk
from tests.faults.push import ASKED_RNFR, ASKED_RNTO, temps
from tests.faults.scripted import ScriptedServer
from tests.servers.pushing import LONG_AGO, Pushing
from workers.depositing import sweep
from workers.errors import OperationFailed

Open = Callable[..., Pushing]

CONTENT = os.urandom(400_000)


def rename_without_a_word(talk: Talk, path: bytes) -> None:
    """RNTO is done, and the line is reset before its reply."""
    talk.server.files[path] = talk.server.files.pop(talk.renaming)
    talk.reset()


def test_all_bytes_went_and_the_reply_never_came(scripted: ScriptedServer, pushing: Open) -> None:
    """R10: the temp's size is asked on a new line, and the file is not sent again."""
    one = pushing()
    one.ready(a=CONTENT)
    scripted.when("STOR", in_turn(receive(final=None), reset_line), times=1)
    assert one.push().published == 1
    assert scripted.count("STOR") == 1
    assert scripted.files == {b"/in/a": CONTENT}


def test_all_bytes_and_a_final_reply_that_refuses_are_sent_again(
    scripted: ScriptedServer, pushing: Open
) -> None:
    """As many bytes as were due lie there, and the server has said that they are no file."""
    one = pushing()
    one.ready(a=CONTENT)
    scripted.when("STOR", receive(final="451 Write error on the disk."), times=1)
    assert one.push().published == 1
    assert scripted.count("STOR") == 2


def test_what_is_sent_again_asks_for_nothing_ahead(scripted: ScriptedServer, pushing: Open) -> None:
    """The next file's port, asked for behind STOR, may be what the line died of."""
    one = pushing()
    one.ready(a=CONTENT, b=CONTENT, c=CONTENT)
    ahead: list[bool] = []

    def stor(talk: Talk, path: bytes) -> None:
        ahead.append(talk.has_read(b"EPSV"))
        broken = len(ahead) == 2
        (in_turn(receive(final=None), reset_line) if broken else ordinary)(talk, path)

    scripted.when("STOR", stor)
    scripted.when("SIZE", answer("550 Not now."), times=1)
    assert one.push().published == 3
    assert ahead[:3] == [True, True, False]


def test_a_broken_upload_begins_anew(scripted: ScriptedServer, pushing: Open) -> None:
    """Without resume_uploads: the temp is written from its beginning."""
    one = pushing()
    one.ready(a=CONTENT)
    scripted.when("STOR", in_turn(receive(stop_after=200_000, end="reset", final=None), reset_line), times=1)
    assert one.push().published == 1
    assert (scripted.count("STOR"), scripted.count("APPE")) == (2, 0)
    assert scripted.files == {b"/in/a": CONTENT}


def test_a_broken_upload_goes_on_where_that_is_asked_for(scripted: ScriptedServer, pushing: Open) -> None:
    """`resume_uploads`: SIZE, then APPE of what is missing; the digest is of the whole."""
    one = pushing(resume_uploads=True)
    one.ready(a=CONTENT)
    scripted.when("STOR", in_turn(receive(stop_after=200_000, end="reset", final=None), reset_line), times=1)
    outcome = one.push()
    assert (outcome.published, outcome.bytes) == (1, len(CONTENT))
    assert (scripted.count("STOR"), scripted.count("APPE")) == (1, 1)
    assert scripted.files == {b"/in/a": CONTENT}


def test_the_next_worker_goes_on_where_that_is_asked_for(scripted: ScriptedServer, pushing: Open) -> None:
    """What a lower fence left is renamed to the new fence's temp, and continued."""
    first = pushing(resume_uploads=True)
    first.ready(a=CONTENT)
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
    one.ready(a=CONTENT, b=b"small")
    scripted.when("STOR", keep_half)
    scripted.when("APPE", keep_half)
    outcome = one.push()
    assert (outcome.published, outcome.failed) == (1, 1)
    assert {path for path in scripted.files if path not in temps(scripted)} == {b"/in/b"}


def test_a_rename_whose_reply_never_came_is_done_once(scripted: ScriptedServer, pushing: Open) -> None:
    """The temp is gone, so it was done: not sent again, published once."""
    one = pushing()
    one.ready(a=CONTENT, b=b"small")
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
    one.ready(**sent)
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
    one.ready(**sent)
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
    one.ready(a=b"first", b=b"second")
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
    one.ready(a=CONTENT, b=b"small")
    assert one.push().published == 2
    assert scripted.files == {b"/in/a": CONTENT, b"/in/b": b"small"}
    assert [command for command in scripted.commands if command.startswith("DELE")] == ["DELE /in/a"]


def test_what_a_worker_left_before_the_rename_is_finished_and_not_sent_again(
    scripted: ScriptedServer, pushing: Open
) -> None:
    """The intent is open and the temp is there: whoever claims the path next renames it."""
    first = pushing()
    first.ready(a=CONTENT)
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
    first.ready(a=CONTENT)
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
    frozen.ready(a=b"older")
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
    one.ready(a=CONTENT)
    assert one.push().failed == 1
    assert scripted.files == {}


def test_a_marker_whose_reply_never_came_is_sent_again(scripted: ScriptedServer, pushing: Open) -> None:
    """The file has its name by then; nothing but the marker is repeated."""
    one = pushing(done_file="{name}.done")
    one.ready(a=CONTENT)
    scripted.when("STOR", in_turn(receive(final=None), reset_line), skip=1, times=1)
    assert one.push().published == 1
    assert scripted.files == {b"/in/a": CONTENT, b"/in/a.done": b""}
    assert scripted.count("STOR") == 3


def test_what_a_given_up_file_left_at_the_partner_is_removed(scripted: ScriptedServer, pushing: Open) -> None:
    """Its temp goes once nobody will go on with it; that of a file which is to be tried again stays."""
    one = pushing(resume_uploads=True, max_attempts=1)
    one.ready(a=CONTENT, b=CONTENT)
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
    one.ready(a=CONTENT)
    scripted.when("STOR", in_turn(receive(stop_after=200_000, end="reset", final=None), reset_line))
    scripted.when("APPE", reset_line)
    assert one.push().failed == 1
    moved = one.route.model_copy(update={"local": tmp_path / "elsewhere"})
    sweep(moved, one.session, one.ledger, one.tally)
    assert not one.ledger.claims.orphans("orders", moved.target)
    assert len(temps(scripted)) == 1

"""Names for a group of pushed files: what one file, or one lost line, must not cost the others."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.faults.acts import answer, reset_line
from tests.faults.dialogue import Talk
from tests.faults.push import ASKED_RNFR, ASKED_RNTO
from tests.faults.scripted import ScriptedServer
from tests.servers.pushing import Pushing
from workers.errors import OperationFailed

Open = Callable[..., Pushing]

CONTENT = os.urandom(400_000)


def test_two_files_of_a_group_get_no_name_twice(scripted: ScriptedServer, pushing: Open) -> None:
    """`on_exists = "version"`: the number that one file would get is another file's own name."""
    scripted.files[b"/in/a.csv"] = b"theirs"
    one = pushing(on_exists="version")
    sent = {"a.csv": b"first", "a.2.csv": b"second"}
    one.ready(**sent)
    assert one.push().published == 2
    assert scripted.files == {
        b"/in/a.csv": b"theirs",
        b"/in/a.2.csv": b"second",
        b"/in/a.3.csv": b"first",
    }


def test_what_the_lost_line_still_renames_is_not_deleted(scripted: ScriptedServer, pushing: Open) -> None:
    """The server comes to it between our RNFR and our RNTO: the file has its name, and keeps it."""

    def late(talk: Talk, path: bytes) -> None:
        talk.server.files[path] = talk.server.files.pop(talk.renaming)
        talk.reply("550 No such file.")

    one = pushing()
    one.ready(a=CONTENT)
    scripted.when("RNTO", reset_line, skip=ASKED_RNTO, times=1)
    scripted.when("RNTO", late, skip=ASKED_RNTO, times=1)
    assert one.push().published == 1
    assert scripted.files == {b"/in/a": CONTENT}
    assert (scripted.count("STOR"), scripted.count("DELE")) == (1, 0)


def test_a_name_refused_to_an_interrupted_push_stops_no_other_file(
    scripted: ScriptedServer, pushing: Open
) -> None:
    """The intent is open, and the server won't have the name: that file's failure, and the others arrive."""

    def refuse_a(talk: Talk, path: bytes) -> None:
        if path == b"/in/a":
            talk.reply("553 Not that name.")
        else:
            talk.perform("RNTO", path)

    first = pushing()
    first.ready(a=b"first")
    scripted.when("RNFR", reset_line, skip=ASKED_RNFR)
    with pytest.raises(OperationFailed):
        first.push()
    assert first.states() == {"a": "PUBLISHING"}
    scripted.forget("RNFR")
    scripted.when("RNTO", refuse_a)
    second = pushing()
    second.put("b", b"second")
    second.poll()
    outcome = second.push()
    assert (outcome.published, outcome.failed) == (1, 1)
    assert scripted.files[b"/in/b"] == b"second"
    assert b"/in/a" not in scripted.files
    assert second.states()["a"] != "PUBLISHING"


def test_a_size_refused_for_one_file_is_that_files_alone(scripted: ScriptedServer, pushing: Open) -> None:
    """450 to SIZE of one temp: the other files of its group get their names."""

    def look_through(talk: Talk, path: bytes) -> None:
        if talk.server.files.get(path) == b"first":
            talk.reply("450 It is being looked through.")
        else:
            talk.perform("SIZE", path)

    one = pushing()
    one.ready(a=b"first", b=b"second")
    scripted.when("SIZE", look_through)
    outcome = one.push()
    assert (outcome.published, outcome.failed) == (1, 1)
    assert scripted.files[b"/in/b"] == b"second"
    assert b"/in/a" not in scripted.files


def test_a_server_that_dies_of_an_rnto_too_many_is_asked_once(
    scripted: ScriptedServer, pushing: Open
) -> None:
    """It hangs up where nothing is to be renamed: the next line renames one by one, and the files arrive."""

    def hang_up(talk: Talk, path: bytes) -> None:
        old, talk.renaming = talk.renaming, b""
        if not old:
            talk.reset()
        elif old + b"/" in path:
            talk.reply("550 No such folder.")
        else:
            talk.renaming = old
            talk.perform("RNTO", path)

    scripted.when("RNTO", hang_up)
    one = pushing()
    one.ready(a=b"first", b=b"second")
    assert one.push().published == 2
    assert scripted.files == {b"/in/a": b"first", b"/in/b": b"second"}


@pytest.mark.parametrize("reply", ["550 Not yours to say.", "501 What time?"])
def test_a_time_that_the_server_refuses_keeps_no_file_back(
    scripted: ScriptedServer, pushing: Open, reply: str
) -> None:
    """It offers MFMT and won't: the files arrive, with the times that it gives them."""
    scripted.when("FEAT", answer("211-F\r\n SIZE\r\n MDTM\r\n MFMT\r\n211 End"))
    scripted.when("MFMT", answer(reply))
    one = pushing()
    one.ready(a=b"first", b=b"second")
    assert one.push().published == 2
    assert scripted.count("MFMT") == 2
    assert scripted.files == {b"/in/a": b"first", b"/in/b": b"second"}

"""The way of a file to a partner, on real servers: what arrives, under which name, what is left."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers.kinds import NAMES, OFFERS
from tests.servers.pushing import LONG_AGO, Pushing
from tests.servers.server import FtpServer, TlsMode, TlsVersion
from workers.batch import GROUP_FILES, Outcome
from workers.ftps.errors import Refused

StartServer = Callable[..., FtpServer]
Open = Callable[..., Pushing]


@pytest.fixture
def pushing(tmp_path: Path) -> Iterator[Open]:
    """pushing(server, …) → a Pushing; all those of one test share a ledger and a folder."""
    with ExitStack() as opened:

        def open_one(server: FtpServer, **keys: Any) -> Pushing:
            one = Pushing(server, tmp_path / "towline", **keys)
            opened.callback(one.close)
            return one

        yield open_one


def counts(outcome: Outcome) -> dict[str, int]:
    """The counts that aren't zero."""
    names = ("published", "already", "vanished", "changed", "kept", "failed")
    return {name: getattr(outcome, name) for name in names if getattr(outcome, name)}


@pytest.mark.parametrize(("name", "tls", "version"), OFFERS)
def test_a_batch_arrives_whole_at_every_server(
    start_server: StartServer, pushing: Open, name: str, tls: TlsMode, version: TlsVersion
) -> None:
    """Empty, small and large files land under their names, with their time; each goes once, no temp stays."""
    one = pushing(start_server(name, tls=tls, tls_version=version))
    sent = {
        f"{number}.bin": os.urandom(size) for number, size in enumerate((0, 1, 16384, 100_000, 3_000_000))
    }
    for file, content in sent.items():
        one.put(file, content)
    assert one.poll() == 5
    outcome = one.push()
    assert counts(outcome) == {"published": 5}
    assert one.files() == sent
    assert {(r.path, r.local, r.sha256, r.bytes) for r in outcome.files} == {
        (
            os.fsencode(one.source / file),
            b"/in/" + file.encode(),
            hashlib.sha256(content).hexdigest(),
            len(content),
        )
        for file, content in sent.items()
    }
    if one.session.facts() is not None and name != "pyftpdlib":
        assert {path.stat().st_mtime for path in one.landed.iterdir()} == {LONG_AGO}
    assert one.poll() == 0
    assert counts(one.push()) == {}
    assert set(one.states().values()) == {"FINISHED"}


@pytest.mark.parametrize("name", NAMES)
def test_a_newer_version_takes_the_place_of_the_older(
    start_server: StartServer, pushing: Open, name: str
) -> None:
    """`on_exists = "replace"`, also where the server's rename replaces nothing by itself."""
    one = pushing(start_server(name))
    one.put("a.csv", b"first")
    one.poll()
    one.push()
    one.put("a.csv", b"the second", LONG_AGO + 60)
    one.poll()
    assert counts(one.push()) == {"published": 1}
    assert one.files() == {"a.csv": b"the second"}


@pytest.mark.parametrize(
    ("on_exists", "there", "told"),
    [
        ("keep", {"a.csv": b"theirs"}, {"kept": 1}),
        ("version", {"a.csv": b"theirs", "a.2.csv": b"ours"}, {"published": 1}),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_what_the_partner_has_under_that_name_may_stay(
    start_server: StartServer,
    pushing: Open,
    name: str,
    on_exists: str,
    there: dict[str, bytes],
    told: dict[str, int],
) -> None:
    """`on_exists = "keep"` sends nothing, "version" takes the first free name."""
    one = pushing(start_server(name), on_exists=on_exists, after="keep")
    (one.landed / "a.csv").write_bytes(b"theirs")
    one.put("a.csv", b"ours")
    one.poll()
    assert counts(one.push()) == told
    assert one.files() == there


def test_more_files_than_a_group_holds_arrive(start_server: StartServer, pushing: Open) -> None:
    """Each group is named as it fills."""
    one = pushing(start_server("vsftpd"))
    for number in range(GROUP_FILES + 3):
        one.put(f"{number}", b"%d" % number)
    one.poll()
    assert counts(one.push()) == {"published": GROUP_FILES + 3}
    assert len(one.files()) == GROUP_FILES + 3


@pytest.mark.parametrize("name", NAMES)
def test_the_marker_comes_after_its_file_and_goes_before_the_next(
    start_server: StartServer, pushing: Open, name: str
) -> None:
    """`done_file` of a push is made at the partner, empty."""
    one = pushing(start_server(name), done_file="{name}.done")
    one.put("a.csv", b"first")
    one.poll()
    one.push()
    assert one.files() == {"a.csv": b"first", "a.csv.done": b""}
    one.put("a.csv", b"second", LONG_AGO + 60)
    one.poll()
    one.push()
    assert one.files() == {"a.csv": b"second", "a.csv.done": b""}


def test_sources_go_as_configured_once_the_partner_has_them(
    start_server: StartServer, pushing: Open, tmp_path: Path
) -> None:
    """`after = "move:…"`; a name that is taken there gets a number, and what was replaced meanwhile stays."""
    sent = tmp_path / "sent"
    sent.mkdir()
    (sent / "a.csv").write_bytes(b"of yesterday")
    one = pushing(start_server("proftpd"), after=f"move:{sent}")
    one.put("a.csv", b"today")
    one.put("b.csv", b"old")
    one.poll()
    one.push()
    one.put("b.csv", b"newer", LONG_AGO + 60)
    one.clear()
    assert {path.name: path.read_bytes() for path in sent.iterdir()} == {
        "a.csv": b"of yesterday",
        "a.2.csv": b"today",
    }
    assert {path.name: path.read_bytes() for path in one.source.iterdir()} == {"b.csv": b"newer"}


@pytest.mark.parametrize("name", NAMES)
def test_folders_below_are_made_at_the_partner(start_server: StartServer, pushing: Open, name: str) -> None:
    """`recursive = true`: a file keeps its path below the route's folder."""
    one = pushing(start_server(name), recursive=True)
    for path in ("a.csv", "north/b.csv", "north/east/c.csv"):
        one.put(path, path.encode())
    assert one.poll() == 3
    assert counts(one.push()) == {"published": 3}
    assert one.files() == {path: path.encode() for path in ("a.csv", "north/b.csv", "north/east/c.csv")}


def test_what_is_linked_into_the_folder_is_not_sent(
    start_server: StartServer, pushing: Open, tmp_path: Path
) -> None:
    """Neither a linked file nor what lies in a linked folder."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.pem").write_bytes(b"secret")
    one = pushing(start_server("vsftpd"), recursive=True)
    (one.source / "key.pem").symlink_to(tmp_path / "secret" / "key.pem")
    (one.source / "folder").symlink_to(tmp_path / "secret")
    one.put("a.csv", b"ours")
    assert one.poll() == 1
    one.push()
    assert one.files() == {"a.csv": b"ours"}


def test_a_source_that_goes_or_changes_before_it_is_sent_is_an_outcome(
    start_server: StartServer, pushing: Open
) -> None:
    """Vanished, or changed and looked at again; nothing of either comes to the partner."""
    one = pushing(start_server("vsftpd"))
    one.put("gone.csv", b"gone")
    one.put("grown.csv", b"short")
    one.poll()
    claims = one.claim()
    (one.source / "gone.csv").unlink()
    one.put("grown.csv", b"longer", LONG_AGO + 60)
    assert counts(one.push(claims)) == {"vanished": 1, "changed": 1}
    assert one.files() == {}
    one.poll()
    assert counts(one.push()) == {"published": 1}
    assert one.files() == {"grown.csv": b"longer"}


def test_a_source_that_is_written_to_while_it_is_sent_is_not_named(
    start_server: StartServer, pushing: Open
) -> None:
    """The temp goes; the next look takes it anew."""
    one = pushing(start_server("proftpd"))
    path = one.put("a.csv", b"x" * 5_000_000)
    one.poll()
    asked = 0

    def holds(_: int) -> bool:
        """Between two blocks somebody appends."""
        nonlocal asked
        asked += 1
        if asked == 5:
            with path.open("ab") as file:
                file.write(b"more")
        return True

    assert counts(one.push(holds=holds)) == {"changed": 1}
    assert one.files() == {}
    assert one.states() == {"a.csv": "WAITING"}


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_takes_nothing_fails_the_batch_and_no_file(
    start_server: StartServer, pushing: Open, name: str
) -> None:
    """A refused temp is not the fault of a file: nothing is counted, and all go once it is mended."""
    one = pushing(start_server(name), remote=b"/in/coming", max_attempts=1)
    one.put("a.csv", b"ours")
    one.poll()
    for _ in range(2):
        with pytest.raises(Refused):
            one.push()
    assert one.states() == {"a.csv": "READY"}
    (one.landed / "coming").mkdir(mode=0o777)
    assert counts(one.push()) == {"published": 1}


def test_a_name_that_the_server_refuses_is_the_file_s_own_fault(
    start_server: StartServer, pushing: Open
) -> None:
    """A folder is called so at the partner: that one fails and its temp goes, the others are sent."""
    one = pushing(start_server("proftpd"), max_attempts=1)
    (one.landed / "a.csv").mkdir()
    one.put("a.csv", b"ours")
    one.put("b.csv", b"ours too")
    one.poll()
    assert counts(one.push()) == {"published": 1, "failed": 1}
    assert one.states() == {"a.csv": "QUARANTINED", "b.csv": "FINISHED"}
    assert one.files() == {"b.csv": b"ours too"}


def test_a_name_that_no_file_may_have_there_is_quarantined_and_the_rest_goes_on(
    start_server: StartServer, pushing: Open
) -> None:
    """Pure-FTPd takes no backslash: its words are told, nothing is left there, and the file stays here."""
    one = pushing(start_server("pure-ftpd"), max_attempts=1)
    odd = one.put(r"a\b.csv", b"ours")
    one.put("c.csv", b"ours too")
    one.poll()
    outcome = one.push()
    assert counts(outcome) == {"published": 1, "failed": 1}
    assert "Prohibited file name" in (outcome.first_error or "")
    assert one.states() == {r"a\\b.csv": "QUARANTINED", "c.csv": "FINISHED"}
    assert one.files() == {"c.csv": b"ours too"}
    assert odd.read_bytes() == b"ours"

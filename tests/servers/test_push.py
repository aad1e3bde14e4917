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
from workers.transfer import GROUP_FILES, Outcome

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

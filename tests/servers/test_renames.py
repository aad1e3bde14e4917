"""Renames in flights, on servers that each forget in their own way what RNFR has named."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer
from tests.servers.test_connection import peer_of
from workers.ftps.connection import Connection
from workers.ftps.states import State

StartServer = Callable[..., FtpServer]

# Names that a server refuses before it looks for what is to be renamed, and then still remembers it.
REFUSED_UNSEEN = {"pure-ftpd": b"/back\\slash", "pyftpdlib": b"/out/x"}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_refused_to_one_file_becomes_no_other_file(
    start_server: StartServer, tmp_path: Path, name: str
) -> None:
    """The first can't have its name, the second is gone: nothing gets the second's, the third its own."""
    server = start_server(name)
    (tmp_path / "outside").mkdir()
    (server.root / "out").symlink_to(tmp_path / "outside")
    (server.root / "folder").mkdir()
    sent: list[str] = []
    with closing(Connection.open(peer_of(server), wire=sent.append)) as line:
        for file in (b"/.a", b"/.c", b"/.d"):
            line.store(file, [file])
        line.learn_renames(b"/.a")
        assert line.features.rename_flights
        sent.clear()
        for odd in (b"/none/a", b"/folder", REFUSED_UNSEEN.get(name, b"/none/b")):
            a, b, c = line.rename_all([(b"/.a", odd), (b"/.missing", b"/b"), (b"/.c", b"/c")])
            assert (a and a.verb, b and b.verb, c) == ("RNTO", "RNFR", None), odd
            assert not (server.root / "b").exists(), odd
            assert (server.root / "c").read_bytes() == b"/.c"
            line.rename(b"/c", b"/.c")
        assert line.rename_all([(b"/.a", b"/a"), (b"/.d", b"/d")]) == [None, None]
        assert {file: (server.root / file).read_bytes() for file in ("a", "d")} == {"a": b"/.a", "d": b"/.d"}
        assert line.state is State.READY
    first = [told[0] for told in sent[: 3 * 3 + 1]]
    assert first == [">"] * 10, "all of them leave before a reply is read"


@pytest.mark.parametrize("name", NAMES)
def test_asking_how_renames_go_changes_nothing(start_server: StartServer, name: str) -> None:
    """The file that is asked by stays as it is; one that isn't there tells nothing; it is asked once."""
    server = start_server(name)
    sent: list[str] = []
    with closing(Connection.open(peer_of(server), wire=sent.append)) as line:
        line.store(b"/.a", [b"bytes"])
        line.learn_renames(b"/.missing")
        assert line.features.rename_flights is None
        line.learn_renames(b"/.a")
        assert line.features.rename_flights
        assert [one.name for one in server.root.iterdir() if one.is_file()] == [".a"]
        asked = len(sent)
        line.learn_renames(b"/.a")
        assert len(sent) == asked

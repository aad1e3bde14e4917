"""An empty folder, a missing one and a forbidden one: three things, on every real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.servers.command import Site
from tests.servers.fetching import Fetching
from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer
from workers.ftps.connection import Connection
from workers.ftps.errors import Forbidden, Missing, Refused
from workers.looking import look
from workers.session import Session, Tally

StartServer = Callable[..., FtpServer]

# vsftpd's and pyftpdlib's accounts may do all that root may, unless told otherwise.
LIMITED: dict[str, dict[str, Any]] = {
    "vsftpd": {"uid": 65533},
    "pyftpdlib": {"forbidden": ["forbidden", "out/sub"]},
}


@pytest.fixture
def limited(start_server: StartServer) -> Iterator[Callable[[str], FtpServer]]:
    """limited(name) → a server with the folders /empty, /forbidden and /out with a forbidden /out/sub."""
    closed: list[Path] = []

    def start(name: str) -> FtpServer:
        server = start_server(name, **LIMITED.get(name, {}))
        for folder in ("empty", "forbidden", "out/sub"):
            (server.root / folder).mkdir(parents=True, exist_ok=True)
        for folder in ("forbidden", "out", "out/sub"):
            (server.root / folder / "a.xml").write_bytes(b"<a/>")
        for folder in ("forbidden", "out/sub"):
            (server.root / folder).chmod(0)
            closed.append(server.root / folder)
        return server

    yield start
    for folder in closed:
        folder.chmod(0o755)


def outcome(session: Session, folder: bytes) -> Any:
    try:
        return look(session, folder, tally=Tally())
    except Refused as refused:
        return type(refused)


@pytest.mark.parametrize("mlsd", [True, False], ids=["mlsd", "list"])
@pytest.mark.parametrize("name", NAMES)
def test_a_look_tells_them_apart(
    limited: Callable[[str], FtpServer], fetching_from: Any, name: str, mlsd: bool
) -> None:
    """By what the server says, or else by what the folder above shows; by MLSD, and by LIST."""
    session = fetching_from(limited(name)).session
    if not mlsd:
        session.run(without_mlsd, name="forget", tally=Tally())
    empty = outcome(session, b"/empty")
    assert (empty.entries, empty.complete) == ([], True)
    assert outcome(session, b"/missing") is Missing
    assert outcome(session, b"/out/missing") is Missing
    assert outcome(session, b"/forbidden") is Forbidden
    assert outcome(session, b"/out/sub") is Forbidden
    assert outcome(session, b"/missing/folder") is not Forbidden


def without_mlsd(line: Connection) -> None:
    line._line.features = replace(line.features, mlsd=False)


@pytest.fixture
def fetching_from(tmp_path: Path) -> Iterator[Callable[[FtpServer], Any]]:
    """fetching_from(server) → a Fetching, closed at the end."""
    opened: list[Fetching] = []

    def begin(server: FtpServer, **keys: Any) -> Fetching:
        opened.append(Fetching(server, tmp_path / "towline", **keys))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_forbidden_folder_on_the_way_takes_nothing_away(
    limited: Callable[[str], FtpServer], fetching_from: Any, name: str
) -> None:
    """The walk is incomplete and names it; what is new elsewhere is added, what is missing stays known."""
    server = limited(name)
    (server.root / "out" / "b.xml").write_bytes(b"<b/>")
    one = fetching_from(server, remote=b"/out", recursive=True, settle=3600.0)
    one.poll()
    (server.root / "out" / "a.xml").unlink()
    (server.root / "out" / "new.xml").write_bytes(b"<n/>")
    one.poll()
    assert one.states() == {f"/out/{file}.xml": "WAITING" for file in ("a", "b", "new")}
    told = one.ledger.routes.get("statements")
    assert told.complete_at is None
    assert (told.last_error or "").startswith("/out/sub: ")


@pytest.mark.parametrize(
    "name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.long) for name in NAMES[1:])]
)
def test_the_command_tells_them_apart(limited: Callable[[str], FtpServer], tmp_path: Path, name: str) -> None:
    """Forbidden is 4 (refused for good), missing 5 (nothing came; `ls`: 1), empty 0."""
    server = limited(name)
    codes: dict[str, tuple[int, ...]] = {}
    for folder in ("empty", "missing", "forbidden"):
        site = Site(tmp_path / folder, server, route={"remote": f"/{folder}"})
        verbs = (("ls", "bank", f"/{folder}"), ("check", "statements"), ("run", "statements"))
        ended = [site.towline(*verb) for verb in verbs]
        codes[folder] = tuple(one.returncode for one in ended)
        if codes[folder][0]:
            assert all(f"/{folder}" in one.stdout + one.stderr for one in ended)
    assert codes == {"empty": (0, 0, 0), "missing": (1, 5, 5), "forbidden": (4, 4, 4)}
    told = json.loads(
        Site(tmp_path / "check", server, route={"remote": "/empty"}).towline("check", "--json").stdout
    )
    assert told["endpoints"][0]["routes"] == [
        {"route": "statements", "files": 0, "match": 0, "complete": True}
    ]

"""What the verbs say and do when a server refuses, can't be trusted or isn't there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.certificates import Certificates
from tests.servers.command import Site
from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer
from tests.waiting import wait_until

StartServer = Callable[..., FtpServer]

WRONG = "hunter2-is-not-it"

VERBS = {
    "ls": ("ls", "bank", "/out"),
    "get": ("get", "bank", "/out/a.xml", "a.xml"),
    "check": ("check",),
    "run": ("run", "statements"),
    "dry run": ("run", "statements", "--dry-run"),
}


@pytest.mark.parametrize(
    "name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.long) for name in NAMES[1:])]
)
def test_a_wrong_password_is_tried_once(start_server: StartServer, name: str, tmp_path: Path) -> None:
    """Whichever verbs follow, each ends with 4, the server sees one attempt, and nobody the password."""
    server = start_server(name)
    site = Site(tmp_path, server)
    for verb in ("ls", "run") if name != "pyftpdlib" else VERBS:
        ended = site.towline(*VERBS[verb], "-vv", password=WRONG)
        told = ended.stdout + ended.stderr
        assert ended.returncode == 4, told
        assert "bank" in told
        assert "towline resume bank" in told
        assert WRONG not in told
        assert "Traceback" not in told
    wait_until(lambda: server.refused_logins() == 1)
    assert WRONG not in site.towline("routes").stdout + site.towline("explain", "statements", "a.xml").stdout


def test_resume_opens_a_closed_endpoint(start_server: StartServer, tmp_path: Path) -> None:
    """After `towline resume` the same credentials are tried once more; other ones need no resume."""
    server = start_server("pyftpdlib")
    site = Site(tmp_path, server)
    for _ in range(2):
        assert site.towline("ls", "bank", "/", password=WRONG).returncode == 4
    wait_until(lambda: server.refused_logins() == 1)
    assert site.towline("resume", "bank").returncode == 0
    assert site.towline("ls", "bank", "/", password=WRONG).returncode == 4
    wait_until(lambda: server.refused_logins() == 2)
    assert site.towline("ls", "bank", "/").returncode == 0


def test_the_right_password_is_nowhere_in_the_words(start_server: StartServer, tmp_path: Path) -> None:
    """Not in what -vv tells of a round that goes well, nor in what any reading verb shows."""
    site = Site(tmp_path, start_server("pyftpdlib"))
    site.put("a.xml")
    told = ""
    for verb in (*VERBS.values(), ("routes",), ("history",), ("explain", "statements", "a.xml")):
        options = ["-vv"] if verb in VERBS.values() else ["--json"]
        ended = site.towline(*verb, *options)
        assert ended.returncode == 0, ended.stderr
        told += ended.stdout + ended.stderr
    assert "line built" in told
    assert site.password not in told


@pytest.mark.parametrize(
    "endpoint",
    [{"ca_file": "other.pem"}, {"fingerprint": [f"sha256:{'ab' * 32}"]}],
    ids=["unknown CA", "wrong fingerprint"],
)
def test_an_untrusted_certificate_ends_with_4(
    start_server: StartServer, endpoint: dict[str, object], tmp_path: Path
) -> None:
    """Nothing is sent to a server that can't be trusted, and the words name it."""
    server = start_server("pyftpdlib")
    site = Site(tmp_path, server, endpoint=endpoint)
    (tmp_path / "other.pem").write_text(Certificates.make(tmp_path / "other").ca_file.read_text())
    ended = site.towline("ls", "bank", "/out")
    assert ended.returncode == 4
    assert "bank's certificate is not trusted" in ended.stderr
    assert server.logins() + server.refused_logins() == 0


def test_a_server_that_is_away_ends_with_3(start_server: StartServer, tmp_path: Path) -> None:
    """The words hold the counts: attempts of this command, and failures in a row over all of them."""
    server = start_server("pyftpdlib")
    site = Site(tmp_path, server)
    server.stop()
    first, second = site.towline("ls", "bank", "/out"), site.towline("run", "statements")
    assert (first.returncode, second.returncode) == (3, 3)
    assert re.search(r"bank could not be reached: 3 attempts in \d+\.\d s", first.stderr)
    assert "3 failures in a row" in first.stderr
    assert "6 failures in a row" in second.stderr
    [checked] = site.json("check", code=3)["endpoints"]
    assert checked["failure"].startswith(
        "ReconnectFailed(endpoint='bank', attempts=3, consecutive_failures=9,"
    )


def test_a_paused_endpoint_ends_with_4_until_it_is_resumed(start_server: StartServer, tmp_path: Path) -> None:
    """Foreground verbs don't pass a pause, and say how it ends."""
    server = start_server("pyftpdlib")
    site = Site(tmp_path, server)
    assert site.towline("pause", "bank").returncode == 0
    ended = site.towline("ls", "bank", "/out")
    assert ended.returncode == 4
    assert re.search(
        r"bank is closed since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: paused\n  `towline resume bank`", ended.stderr
    )
    assert server.connections() == 0
    site.towline("resume", "bank")
    assert site.towline("ls", "bank", "/out").returncode == 0


@pytest.mark.parametrize("name", ["proftpd", "pure-ftpd"])
def test_a_forbidden_file_ends_with_4(start_server: StartServer, name: str, tmp_path: Path) -> None:
    """What the account may see and not read is a matter of permission, in the server's own words."""
    site = Site(tmp_path, start_server(name))
    site.put("secret.xml")
    (site.out / "secret.xml").chmod(0)
    ended = site.towline("get", "bank", "/out/secret.xml", "secret.xml")
    assert ended.returncode == 4, ended.stderr
    assert "/out/secret.xml" in ended.stderr
    assert not (tmp_path / "secret.xml").exists()
    assert not list(tmp_path.glob(".towline-*")), "nothing came, so nothing is kept"


WRONG_USAGE: list[tuple[tuple[str, ...], str]] = [
    (("ls", "bnak", "/"), "no endpoint is called 'bnak'; did you mean 'bank'?"),
    (("run", "statement"), "no route is called 'statement'; did you mean 'statements'?"),
    (("check", "banc"), "no route or endpoint is called 'banc'; did you mean 'bank'?"),
    (("history", "--route", "other"), "no route is called 'other'"),
    (("ls", "bank", "/a\\q"), "lone backslash"),
    (("ls", "bank", "/a\\x0ab"), "no command can carry this name"),
    (("get", "bank", "/out/a", "no/such/place"), "no/such is no folder"),
    (("run", "statements", "--sessions", "0"), "--sessions"),
]


def test_wrong_usage_ends_with_2(start_server: StartServer, tmp_path: Path) -> None:
    """In words that name what is wrong, and what was meant where that can be guessed."""
    site = Site(tmp_path, start_server("pyftpdlib"))
    for arguments, told in WRONG_USAGE:
        ended = site.towline(*arguments)
        assert ended.returncode == 2, arguments
        assert told in ended.stderr
        assert "Traceback" not in ended.stderr

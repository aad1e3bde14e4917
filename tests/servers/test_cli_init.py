"""`towline init`: from a host, a user and a folder to a configuration that works."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.server import FtpServer
from tests.waiting import wait_until

StartServer = Callable[..., FtpServer]


def towline(
    folder: Path, *arguments: str, said: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """The command in a folder of its own, with `said` on its standard input."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TOWLINE_")}
    return subprocess.run(
        [sys.executable, "-m", "workers.cli", *arguments],
        cwd=folder,
        env=kept | {"XDG_STATE_HOME": str(folder / "state")} | environ,
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def options(server: FtpServer) -> list[str]:
    return ["--host", server.host, "--user", server.user, "--port", str(server.port), "--remote", "/"]


@pytest.fixture
def server(start_server: StartServer) -> FtpServer:
    server = start_server("proftpd")
    (server.root / "a.csv").write_bytes(b"a,b\n")
    return server


def test_what_it_writes_works(server: FtpServer, tmp_path: Path) -> None:
    """With the authority given; `run` then fetches the file, and the password is nowhere in it."""
    secret = {"TOWLINE_PASSWORD": server.password}
    ended = towline(tmp_path, "init", *options(server), "--ca-file", str(server.ca_file), **secret)
    assert ended.returncode == 0, ended.stderr
    assert "1 file" in ended.stdout
    written = (tmp_path / "towline.toml").read_text()
    assert server.password not in written + ended.stdout
    ended = towline(tmp_path, "run", "incoming", **secret)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "files" / "a.csv").read_bytes() == b"a,b\n"


@pytest.mark.long
def test_what_no_option_says_is_asked_for(server: FtpServer, tmp_path: Path) -> None:
    """Host, user and folder, in this order; what was answered is what is written."""
    given = ["--port", str(server.port), "--ca-file", str(server.ca_file)]
    said = f"{server.host}\n{server.user}\n/\n"
    ended = towline(tmp_path, "init", *given, said=said, TOWLINE_PASSWORD=server.password)
    assert ended.returncode == 0, ended.stderr
    asked = [ended.stdout.find(word) for word in ("name or address", "User", "folder to fetch from")]
    assert asked == sorted(asked)
    assert -1 not in asked
    written = tomllib.loads((tmp_path / "towline.toml").read_text())
    assert (written["endpoints"]["partner"]["host"], written["endpoints"]["partner"]["user"]) == (
        server.host,
        server.user,
    )
    assert written["routes"]["incoming"]["remote"] == "/"


@pytest.mark.long
def test_a_folder_that_cannot_be_listed_writes_nothing(server: FtpServer, tmp_path: Path) -> None:
    """It is named, with the server's words, and another one asked for."""
    secret = {"TOWLINE_PASSWORD": server.password}
    given = [*options(server), "--remote", "/nowhere", "--ca-file", str(server.ca_file)]
    ended = towline(tmp_path, "init", *given, **secret)
    assert ended.returncode == 1
    assert "/nowhere can't be listed: " in ended.stderr
    assert "--remote" in ended.stderr
    assert not (tmp_path / "towline.toml").exists()


def test_a_certificate_that_nobody_vouches_for_is_shown_and_asked_about(
    server: FtpServer, tmp_path: Path
) -> None:
    """Nothing is written when it isn't trusted, and nobody has logged in; trusted, it is pinned."""
    secret = {"TOWLINE_PASSWORD": server.password}
    ended = towline(tmp_path, "init", *options(server), said="n\n", **secret)
    assert ended.returncode == 4
    assert "sha256:" in ended.stdout
    assert not (tmp_path / "towline.toml").exists()
    assert server.logins() == 0
    ended = towline(tmp_path, "init", *options(server), said="y\n", **secret)
    assert ended.returncode == 0, ended.stderr
    assert 'fingerprint = ["sha256:' in (tmp_path / "towline.toml").read_text()
    assert towline(tmp_path, "check", **secret).returncode == 0


def test_another_certificate_than_the_one_given_is_refused(server: FtpServer, tmp_path: Path) -> None:
    """`--trust` for scripts: it has to be the very one."""
    secret = {"TOWLINE_PASSWORD": server.password}
    other = "sha256:" + "ab" * 32
    ended = towline(tmp_path, "init", *options(server), "--trust", other, **secret)
    assert ended.returncode == 4
    assert "not the certificate given" in ended.stderr
    assert server.logins() == 0


def test_a_wrong_password_writes_nothing(server: FtpServer, tmp_path: Path) -> None:
    """One attempt, the exit code of a refusal, no password in sight."""
    wrong = {"TOWLINE_PASSWORD": "wrong-horse"}
    ended = towline(tmp_path, "init", *options(server), "--ca-file", str(server.ca_file), **wrong)
    assert ended.returncode == 4
    assert "wrong-horse" not in ended.stdout + ended.stderr
    assert not (tmp_path / "towline.toml").exists()
    wait_until(lambda: server.refused_logins() == 1)


def test_a_file_that_is_there_is_left_alone(server: FtpServer, tmp_path: Path) -> None:
    """Before anything is asked of the server."""
    (tmp_path / "towline.toml").write_text("# mine\n")
    ended = towline(tmp_path, "init", *options(server), TOWLINE_PASSWORD="x")
    assert ended.returncode == 2
    assert (tmp_path / "towline.toml").read_text() == "# mine\n"

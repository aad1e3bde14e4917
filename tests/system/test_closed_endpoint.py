"""Refusals, as a whole deployment meets them: a wrong password, untrusted servers, a wrong configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.certificates import Certificates
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import READY_WITHIN, Stack, endpoint
from tests.waiting import wait_until
from workers.errors import CertificateRefused, EndpointClosed, UnknownName

StartServer = Callable[..., FtpServer]

WRONG, WRONG_AGAIN = "hunter2-is-not-it", "hunter3-is-not-it"


def test_a_wrong_password_is_tried_once_by_the_whole_fleet(
    start_server: StartServer, valkey: Valkey, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """However many ticks, routes and processes on both nodes; `resume` is worth one more; other credentials
    open it by themselves; and no password is in any output."""
    server = start_server("vsftpd")
    (server.root / "file").write_bytes(b"content")
    password = tmp_path / "password"
    password.write_text(WRONG)
    routes = ["one", "two", "three"]
    with Stack(
        tmp_path / "stack",
        valkey.url(),
        endpoints={"bank": endpoint(server, password={"file": str(password)})},
        routes={name: {"endpoint": "bank", "remote": "/", "every": "500ms"} for name in routes},
        polls=2,
        transfers=2,
        flower_port=free_port(),
    ) as stack:

        def failures() -> list[str]:
            tasks = [*stack.tasks("towline.poll", "FAILURE"), *stack.tasks("towline.fetch", "FAILURE")]
            return [task["exception"] for task in tasks]

        stack.start("polls", "transfers", "flower")
        # Both nodes at once, before anybody knows.
        asked = [stack.send("fetch", "transfers", route=name, paths=["/file"]) for name in routes]
        stack.start("beat")
        wait_until(lambda: len(failures()) >= 15, what="fifteen failures")
        with stack.paused("beat"):
            stack.wait_until_idle()
            # Others may have dialled by then; who waits for his turn to log in finds the endpoint closed.
            wait_until(lambda: server.refused_logins() >= 1, what="the server's log")
            assert server.refused_logins() == 1
            told = failures()
            assert sum(one.startswith("LoginRefused(endpoint='bank', reply=") for one in told) == 1
            # Who came while the first one was at the door has waited for it in vain.
            expected = (
                "LoginRefused(",
                "EndpointClosed(endpoint='bank', ",
                "ReconnectFailed(endpoint='bank', attempts=0, ",
            )
            assert all(one.startswith(expected) for one in told), told
            assert not any(one.successful() for one in asked)
        with pytest.raises(EndpointClosed, match="530"):
            stack.send("fetch", "transfers", route="one", paths=["/file"]).get(timeout=READY_WITHIN)

        said = [stack.towline("routes"), stack.towline("check"), stack.towline("run", "one")]
        assert [one.returncode for one in said] == [0, 4, 4]
        assert server.refused_logins() == 1

        said.append(stack.towline("resume", "bank"))
        assert said[-1].returncode == 0
        wait_until(lambda: server.refused_logins() == 2, what="one more attempt")
        before = len(failures())
        wait_until(lambda: len(failures()) >= before + 10, what="ten failures more")
        assert server.refused_logins() == 2

        # At one moment: half a password would be one more that is wrong.
        changed = tmp_path / "changed"
        changed.write_text(server.password)
        changed.replace(password)
        wait_until(lambda: all(stack.landed(name) == {b"file"} for name in routes), what="the files")
        assert server.refused_logins() == 2

        shown = json.dumps(
            [stack.flower.get("/api/tasks?limit=5000"), stack.flower.get("/api/workers?refresh=1")]
        )
        everything = shown + stack.said() + "".join(one.stdout + one.stderr for one in said)
        for secret in (WRONG, server.password, valkey.password):
            assert secret not in everything


def test_untrusted_servers_and_unknown_names_are_told_apart(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """Unknown CA, wrong fingerprint, missing route: each a failure of its own class, with exit codes to
    match; the server sees neither user nor password."""
    server = start_server("pyftpdlib", tls="implicit")
    (server.root / "file").write_bytes(b"content")
    other = Certificates.make(tmp_path / "other")
    trusts: dict[str, dict[str, object]] = {
        "ca": {"ca_file": str(other.ca_file)},
        "pin": {"fingerprint": [other.fingerprint]},
    }
    with Stack(
        tmp_path / "stack",
        valkey.url(),
        endpoints={name: endpoint(server, **trust) for name, trust in trusts.items()},
        routes={name: {"endpoint": name, "remote": "/", "every": "1h"} for name in trusts},
    ) as stack:
        stack.start("polls", "transfers")
        for name in trusts:
            with pytest.raises(CertificateRefused) as refused:
                stack.send("poll", "polls", route=name).get(timeout=READY_WITHIN)
            assert refused.value.args[0] == name
            ended = stack.towline("check", name)
            assert ended.returncode == 4
            assert name in ended.stdout + ended.stderr
        for task, queue in (("poll", "polls"), ("fetch", "transfers")):
            with pytest.raises(UnknownName) as unknown:
                stack.send(task, queue, route="pni").get(timeout=READY_WITHIN)
            assert unknown.value.args == ("route", "pni", "pin")
        ended = stack.towline("submit", "poll", "pni", "--wait")
        assert ended.returncode == 2
        assert "no route is called 'pni'; did you mean 'pin'?" in ended.stderr
        assert server.logins() + server.refused_logins() == 0
        assert server.password not in stack.said()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("passwrod = 'seen-by-nobody-5'", ["endpoints.bank", "passwrod", "password"]),
        ("password = ['seen-by-nobody-5']", ["endpoints.bank", "password"]),
    ],
    ids=["unknown key", "wrong value"],
)
def test_no_program_starts_with_a_wrong_configuration(tmp_path: Path, written: str, told: list[str]) -> None:
    """Plain celery commands and the towline command end with 2, and name file, table and key; a secret that
    stands at the wrong place is not repeated."""
    config = tmp_path / "towline.toml"
    config.write_text(
        f'[towline]\nbroker = "redis://localhost:1/0"\nstate_dir = "{tmp_path}/state"\n'
        f'[endpoints.bank]\nhost = "localhost"\nuser = "acme"\n{written}\n'
    )
    for program in (
        ["celery", "-A", "workers.app", "worker", "-Q", "towline.polls"],
        ["celery", "-A", "workers.app", "beat"],
        ["workers.cli", "routes"],
    ):
        ended = subprocess.run(
            [
                sys.executable,
                "-m",
                *program,
                *(["--config", str(config)] if program[0] == "workers.cli" else []),
            ],
            env={"TOWLINE_CONFIG": str(config)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=READY_WITHIN,
        )
        assert ended.returncode == 2, program
        for words in (str(config), *told):
            assert words in ended.stderr, program
        assert "Traceback" not in ended.stderr
        assert "seen-by-nobody-5" not in ended.stdout + ended.stderr
    assert not (tmp_path / "state").exists()

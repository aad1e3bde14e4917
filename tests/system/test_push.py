"""A push route under beat's tasks, broker and worker: what lies in the folder comes to the partner."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, endpoint
from tests.system.test_follow_on import THEN, Foreign
from tests.waiting import wait_until
from workers.errors import ConfigurationError

StartServer = Callable[..., FtpServer]

WITHIN = 60.0  # seconds, on a busy machine


def test_what_lies_in_the_folder_comes_to_the_partner(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """By beat's poll and a hint; its source goes, another program is told, and a push by name sends one."""
    server = start_server("proftpd")
    (server.root / "in").mkdir(mode=0o777)
    out = tmp_path / "out"
    out.mkdir()
    route = {
        "endpoint": "bank",
        "direction": "push",
        "local": str(out),
        "remote": "/in",
        "after": "delete",
        "then": THEN,
        "every": "1h",
    }
    (out / "one").write_bytes(b"first")
    with Stack(
        tmp_path,
        valkey.url(),
        endpoints={"bank": endpoint(server)},
        routes={"orders": route},
    ) as stack:
        foreign = Foreign(tmp_path, valkey.url())
        with foreign.running():
            stack.start("polls", "transfers", "beat")
            arrived = server.root / "in" / "one"
            wait_until(arrived.exists, WITHIN, what="the file is at the partner")
            wait_until(foreign.told, WITHIN, what="another program is told of it")
            [told] = foreign.told()
            assert (told["path"], told["local"]) == ("/in/one", str(out / "one"))
            assert told["sha256"] == hashlib.sha256(b"first").hexdigest()
            wait_until(lambda: not (out / "one").exists(), WITHIN, what="its source is deleted")

        (out / "two").write_bytes(b"second")
        result = stack.send("push", "transfers", route="orders", paths=["two"]).get(timeout=WITHIN)
        assert result["published"] == 1
        assert [(file["path"], file["remote"]) for file in result["files"]] == [(str(out / "two"), "/in/two")]
        assert (server.root / "in" / "two").read_bytes() == b"second"
        with pytest.raises(ConfigurationError, match=r"towline\.push"):
            stack.send("fetch", "transfers", route="orders").get(timeout=WITHIN)

"""Names of a server that are long, odd or hostile, all the way to the folder where files land."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.faults import acts
from tests.faults.proxy import CuttingProxy
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, digests, endpoint
from tests.waiting import wait_until

ARRIVE_WITHIN = 60.0  # seconds, on a busy machine

FINE = (
    b"n" * 250,
    "é".encode() * 125,  # 250 bytes too
    b"caf\xe9.xml",  # Latin-1
    b"\xfe\x80",  # no encoding at all; 0xFF would be Telnet's IAC to ProFTPD
    b" leading and trailing ",
    b"semicolon;equals=.xml",
    b"back\\slash \\x41",
    b"dots...",
)
# No command can carry them, or they lead elsewhere.
HOSTILE = (b"../x", b"../../x", b"..", b"deeper/x", b"/absolute-x", b"cr\rx", b"nul\0x", b"\0")


def content(name: bytes) -> bytes:
    return b"content of " + name


def other_files(folder: Path) -> set[Path]:
    """What lies below a folder, but for what belongs there: state, logs, and where the routes land."""
    own = {"state", "logs", "celerybeat.pid"}
    return {
        path
        for path in folder.rglob("*")
        if (first := path.relative_to(folder).parts[0]) not in own and not first.startswith("in-")
    }


def test_long_and_odd_names_of_real_servers_arrive_as_they_are(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path
) -> None:
    """Byte for byte; those with CR or LF, which a listing can't even tell, do no harm to the others."""
    servers = {name: start_server(name) for name in ("vsftpd", "proftpd")}
    for server in servers.values():
        for name in (*FINE, b"cr\rx", b"lf\nx"):
            with open(os.path.join(os.fsencode(server.root), name), "wb") as file:  # noqa: PTH118, PTH123
                file.write(content(name))
    with ExitStack() as running:
        proxies = {
            name: running.enter_context(CuttingProxy.before(server)) for name, server in servers.items()
        }
        stack = running.enter_context(
            Stack(
                tmp_path,
                valkey.url(),
                endpoints={
                    name: endpoint(server, host=proxies[name].address) for name, server in servers.items()
                },
                routes={name: {"endpoint": name, "remote": "/", "every": "1s"} for name in servers},
            )
        )
        before = other_files(tmp_path)
        stack.start("polls", "transfers", "beat")

        def there(name: str) -> None:
            wait_until(lambda: stack.landed(name) >= set(FINE), ARRIVE_WITHIN, what=f"{name}'s names")
            said = proxies[name].control.bytes_down
            wait_until(
                lambda: proxies[name].control.bytes_down > said + 500, ARRIVE_WITHIN, what="more polls"
            )
            sent = digests(servers[name].root)
            assert digests(stack.landing(name)) == {one: sent[one] for one in FINE}, name

        there("vsftpd")
        there("proftpd")
        assert other_files(tmp_path) == before


def test_hostile_names_are_refused_and_recorded(
    certificates: Certificates, valkey: Valkey, tmp_path: Path
) -> None:
    """None is asked for, nothing is written outside the folder, and the ledger says which and why."""
    lines = [b"type=file;size=%d;modify=20200101000000; %s\r\n" % (len(content(name)), name) for name in FINE]
    lines[3:3] = [b"type=file;size=1;modify=20200101000000; %s\r\n" % name for name in HOSTILE]
    with (
        ScriptedServer(certificates, files={b"/" + name: content(name) for name in FINE}) as server,
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": endpoint(server)},
            routes={"in": {"endpoint": "bank", "remote": "/", "every": "1s"}},
        ) as stack,
    ):
        server.when("MLSD", acts.transfer(content=[b"".join(lines)]))
        before = other_files(tmp_path)
        stack.start("polls", "transfers", "beat")
        wait_until(lambda: stack.landed("in") >= set(FINE), ARRIVE_WITHIN, what="the other names")
        listings = server.count("MLSD")
        wait_until(lambda: server.count("MLSD") >= listings + 2, ARRIVE_WITHIN, what="two more listings")

        assert stack.landed("in") == set(FINE)
        for name in FINE:
            landed = os.path.join(os.fsencode(stack.landing("in")), name)  # noqa: PTH118
            with open(landed, "rb") as file:  # noqa: PTH123
                assert file.read() == content(name)
        assert server.count("RETR") == len(FINE)
        assert other_files(tmp_path) == before
        assert not Path("/absolute-x").exists()

        refused = {row.path: row.reason for row in stack.rows("in") if row.state == "QUARANTINED"}
        assert set(refused) == {b"/" + name for name in HOSTILE}
        assert all(refused.values())
        shown = json.loads(stack.towline("history", "--state", "quarantined", "--json").stdout)
        assert {"/../x", "/cr\\x0dx", "/nul\\x00x"} <= {one["path"] for one in shown["files"]}
        explained = stack.towline("explain", "in", "/../x")
        assert "it leads into another folder" in explained.stdout

"""Which files are fetched, and how often: counted in servers' logs and by the proxy, not in the ledger."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.faults.proxy import CuttingProxy
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, digests, endpoint
from tests.system.watching import Watch
from tests.waiting import wait_until

StartServer = Callable[..., FtpServer]

OLD = 1_600_000_000.0
DAYS = 3 * 86_400.0
ARRIVES_WITHIN = 60.0  # seconds, on a busy machine
PIECE = 700  # bytes by which a file grows


def put(path: Path, content: bytes, modified: float) -> None:
    """A file that appears whole, with a time of its own."""
    aside = path.with_name(f".{path.name}")
    aside.write_bytes(content)
    os.utime(aside, (modified, modified))
    aside.rename(path)


def test_a_replaced_file_is_fetched_again_and_nothing_twice(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """Another size with the same time, or another time with the same size: both servers that tell seconds
    and those that tell days. All over one line of the polls and one of the transfers."""
    servers = {"seconds": start_server("proftpd", tls="implicit"), "days": start_server("vsftpd")}
    for server in servers.values():
        for name in ("same", "size", "time"):
            put(server.root / name, b"first version of " + name.encode(), OLD)
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
                routes={
                    name: {"endpoint": name, "remote": "/", "every": "500ms", "exclude": [".*"]}
                    for name in servers
                },
            )
        )

        def looked_at(times: int) -> None:
            """So many more listings: each takes a data line."""
            for proxy in proxies.values():
                made = proxy.data.made
                wait_until(
                    lambda proxy=proxy, made=made: proxy.data.made >= made + times,  # type: ignore[misc]
                    ARRIVES_WITHIN,
                    what=f"{times} listings",
                )

        def all_there() -> bool:
            return all(
                len(stack.landed(name)) == 3 and digests(stack.landing(name)) == digests(server.root)
                for name, server in servers.items()
            )

        stack.start("polls", "transfers", "beat")
        wait_until(all_there, ARRIVES_WITHIN, what="the first versions")
        looked_at(4)
        with stack.paused("beat"):
            stack.wait_until_idle()
            for server in servers.values():
                put(server.root / "size", b"second version, longer than the first", OLD)
                put(server.root / "time", b"other version of time", OLD + DAYS)
            assert not all_there()
        wait_until(all_there, ARRIVES_WITHIN, what="the second versions")
        looked_at(4)
        for name, server in servers.items():
            wait_until(lambda server=server: len(server.retrieved()) >= 5, what="the server's log")  # type: ignore[misc]
            assert Counter(server.retrieved()) == {"/same": 1, "/size": 2, "/time": 2}, name
            assert (server.logins(), server.connections(), proxies[name].control.made) == (2, 2, 2), name


def test_a_file_that_grows_is_left_alone_until_it_has_settled(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """It is listed many times while it grows, and sent once: whole, and `settle` after its last byte."""
    server = start_server("proftpd")
    growing = server.root / "growing"
    with (
        CuttingProxy.before(server) as proxy,
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": endpoint(server, host=proxy.address)},
            routes={"in": {"endpoint": "bank", "remote": "/", "every": "500ms", "settle": "3s"}},
        ) as stack,
    ):
        stack.start("polls", "transfers", "beat")
        with growing.open("ab", buffering=0) as file:
            began = ended = time.monotonic()
            while ended - began < 4.0:  # longer than it has to rest
                listed = proxy.data.made
                ended = time.monotonic()
                file.write(os.urandom(PIECE))
                # However long it takes to come, the next one tells another size.
                wait_until(
                    lambda: proxy.data.made > listed and not proxy.data.open,  # noqa: B023
                    ARRIVES_WITHIN,
                    what="a listing",
                )
        assert server.retrieved() == []
        with Watch(stack.landing("in"), digests(server.root).values()) as watch:
            wait_until(lambda: stack.landed("in") == {b"growing"}, ARRIVES_WITHIN, what="the settled file")
            assert time.monotonic() - ended >= 3.0
            listed = proxy.data.made
            wait_until(lambda: proxy.data.made >= listed + 3, ARRIVES_WITHIN, what="three more listings")
        assert digests(stack.landing("in")) == digests(server.root)
        assert watch.halves == []
        wait_until(server.retrieved, what="the server's log")
        assert server.retrieved() == ["/growing"]


def test_two_polls_50_ms_apart_do_not_make_a_file_settled(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """Two looks count when `settle` is between them; the second comes after `settle`, not after `every`."""
    server = start_server("vsftpd")
    with Stack(
        tmp_path,
        valkey.url(),
        endpoints={"bank": endpoint(server)},
        routes={"in": {"endpoint": "bank", "remote": "/", "every": "1h", "settle": "10s"}},
    ) as stack:
        stack.start("polls", "transfers")
        # The first of all takes its time: a line has to be built.
        assert stack.send("poll", "polls", route="in").get(timeout=ARRIVES_WITHIN)["listed"] == 0
        put(server.root / "file", b"content", OLD)
        began = time.monotonic()
        for _ in range(2):
            found = stack.send("poll", "polls", route="in").get(timeout=ARRIVES_WITHIN)
            assert (found["listed"], found["ready"], found["waiting"], found["hinted"]) == (1, 0, 1, 0)
            time.sleep(0.05)
        assert time.monotonic() - began < 10.0, "too slow a machine to say anything"
        assert server.retrieved() == []
        wait_until(lambda: server.retrieved() == ["/file"], ARRIVES_WITHIN, what="the look after `settle`")
        assert time.monotonic() - began >= 10.0
        wait_until(lambda: stack.landed("in") == {b"file"}, what="the file")

"""The cutting proxy does to a line what it is told, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.proxy import CuttingProxy
from tests.servers.ftplib_client import FtplibClient
from tests.servers.server import FtpServer
from tests.waiting import wait_until


class Echo:
    """Sends back what it gets, and says how each line of it ended."""

    def __init__(self, port: int) -> None:
        self.endings: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(line,), daemon=True).start()

    def _echo(self, line: socket.socket) -> None:
        with line:
            try:
                while block := line.recv(65536):
                    line.sendall(block)
                self.endings.append("FIN")
            except OSError:
                self.endings.append("RST")


@pytest.fixture
def echo(free_port: Callable[[], int]) -> Iterator[tuple[Echo, CuttingProxy]]:
    control, data = free_port(), free_port()
    server = Echo(control)
    second = Echo(data)
    second.endings = server.endings
    with CuttingProxy(control, [data]) as proxy:
        yield server, proxy
    server.close()
    second.close()


def connect(proxy: CuttingProxy) -> socket.socket:
    return socket.create_connection((proxy.address, proxy.port), timeout=60)


def said(line: socket.socket, text: bytes) -> bytes:
    line.sendall(text)
    return line.recv(65536)


def test_passes_bytes_and_ends_untouched(echo: tuple[Echo, CuttingProxy]) -> None:
    """Half-closing works, all bytes come, and the counts are right."""
    server, proxy = echo
    payload = bytes(range(256)) * 8_000
    with connect(proxy) as line:

        def send() -> None:
            line.sendall(payload)
            line.shutdown(socket.SHUT_WR)

        threading.Thread(target=send).start()
        got = b""
        while block := line.recv(65536):
            got += block
    assert got == payload
    assert (proxy.control.made, proxy.control.bytes_up, proxy.control.bytes_down) == (
        1,
        len(payload),
        len(payload),
    )
    wait_until(lambda: proxy.control.open == 0)
    assert server.endings == ["FIN"]
    assert proxy.data.made == 0


def test_cut_is_fin_for_both_ends(echo: tuple[Echo, CuttingProxy]) -> None:
    """After cut() the client reads the end of the stream, and its next write succeeds (field note 1)."""
    server, proxy = echo
    with connect(proxy) as line:
        assert said(line, b"hello") == b"hello"
        assert proxy.cut_control() == 1
        assert line.recv(1) == b""
        line.sendall(b"into the void")
    wait_until(lambda: server.endings == ["FIN"])
    with connect(proxy) as line:
        assert said(line, b"again") == b"again"


def test_reset_is_rst_for_both_ends(echo: tuple[Echo, CuttingProxy]) -> None:
    """After reset() both ends read ECONNRESET."""
    server, proxy = echo
    with connect(proxy) as line:
        assert said(line, b"hello") == b"hello"
        assert proxy.reset_control() == 1
        with pytest.raises(ConnectionResetError):
            line.recv(1)
    wait_until(lambda: server.endings == ["RST"])
    with connect(proxy) as line:
        assert said(line, b"again") == b"again"


def test_swallowed_line_stays_open_and_silent(echo: tuple[Echo, CuttingProxy]) -> None:
    """Writes succeed, nothing comes back, and not even the client's FIN gets through."""
    server, proxy = echo
    with connect(proxy) as line:
        assert said(line, b"hello") == b"hello"
        assert proxy.swallow_control() == 1
        line.sendall(b"anybody?")
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
    time.sleep(0.1)  # nothing is expected to happen, which no event tells
    assert server.endings == []
    assert (proxy.control.bytes_up, proxy.control.open) == (5, 0)
    with connect(proxy) as line:
        assert said(line, b"again") == b"again"
        assert proxy.cut_control() == 1  # the black hole was lost already; now its other end goes as well
    wait_until(lambda: server.endings == ["FIN", "FIN"])


@pytest.mark.parametrize("after", [0, 1, 777, 65_536, 100_001])
@pytest.mark.parametrize("kind", ["cut", "swallow"])
def test_planned_fault_strikes_at_exactly_this_byte(
    echo: tuple[Echo, CuttingProxy], kind: str, after: int
) -> None:
    """Exactly `after` bytes come through; the line after it works."""
    _, proxy = echo
    proxy.control.fault_next(kind, after=after)  # type: ignore[arg-type]
    with connect(proxy) as line:
        with contextlib.suppress(ConnectionError):  # we were still sending when the line was cut
            line.sendall(bytes(200_000))
        got = 0
        try:
            while got < after and (block := line.recv(65536)):
                got += len(block)
            line.settimeout(0.3 if kind == "swallow" else 60)
            got += len(line.recv(65536))
            ended = "cut"
        except TimeoutError:
            ended = "swallow"
        except ConnectionResetError:
            ended = "cut"
        if after < 65_536:
            assert got == after
        assert ended == kind
        assert proxy.control.bytes_down == after
    with connect(proxy) as line:
        assert said(line, b"again") == b"again"


def test_planned_reset_counts_what_goes_up(echo: tuple[Echo, CuttingProxy]) -> None:
    """A fault can count the client's bytes."""
    _, proxy = echo
    proxy.control.fault_next("reset", after=10, counting="up")
    with connect(proxy) as line:
        assert said(line, b"123456789") == b"123456789"
        line.sendall(b"0")
        with pytest.raises(ConnectionResetError):
            line.recv(1)


def test_limited_rate_spreads_bytes_over_time(echo: tuple[Echo, CuttingProxy]) -> None:
    """20,000 bytes at 100,000 a second take a fifth of a second, whichever way, but for the last of them."""
    _, proxy = echo
    proxy.control.rate = 100_000
    began = time.monotonic()
    with connect(proxy) as line:
        line.sendall(bytes(20_000))
        got = 0
        while got < 20_000:
            got += len(line.recv(65536))
    assert time.monotonic() - began > 0.15


def test_nobody_behind_it_is_a_reset(free_port: Callable[[], int]) -> None:
    """A server that is down shows as a line that ends at once."""
    with CuttingProxy(free_port(), []) as proxy, pytest.raises(ConnectionResetError):
        connect(proxy).recv(1)


@pytest.mark.parametrize("name", ["vsftpd", "pyftpdlib"])
def test_data_channels_pass_too(start_server: Callable[..., FtpServer], name: str) -> None:
    """A real server's transfer through the proxy is whole; a fault on data leaves the control line alone."""
    server = start_server(name)
    content = bytes(range(256)) * 4_000
    (server.root / "big.bin").write_bytes(content)
    with CuttingProxy.before(server) as proxy:
        client = FtplibClient(server.ca_file)
        client.connect(proxy.address, server.port)
        client.login(server.user, server.password)
        client.prot_p()
        assert client.fetch("big.bin") == content
        assert (proxy.control.made, proxy.data.made) == (1, 1)
        proxy.data.fault_next("reset", after=100_000)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.fetch("big.bin")
        assert client.getmultiline()[:1] in "24"  # how the server saw it end
        assert client.fetch("big.bin") == content
        client.close()

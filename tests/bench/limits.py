"""What no client could exceed here: TLS over loopback without FTP, handshakes, and the disk's fsync."""

from __future__ import annotations

import multiprocessing
import os
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.items import KIB, MIB, Scale
from tests.servers.certificates import Certificates
from tests.servers.server import TlsVersion

BLOCK = 64 * KIB  # what a client of ours reads at most at a time
THREADS = 16
VERSIONS: dict[TlsVersion, ssl.TLSVersion] = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def limits(folder: Path, certificates: Certificates, scale: Scale) -> dict[str, float]:
    """Each limit by its name, which tells the unit."""
    folder.mkdir(parents=True)
    few = scale.name == "quick"
    found: dict[str, float] = {}
    for version, number in VERSIONS.items():
        size, count = (64 * MIB, 100) if few else (512 * MIB, 1000)
        with _Server(certificates, number, size, count) as server:
            found[f"TLS {version} over loopback, Python at both ends, MiB/s"] = server.throughput() / MIB
            found[f"TLS {version}, resumed handshakes a second, one after the other"] = server.handshakes()
    count = 200 if few else 1000
    found["fsyncs of 10 KiB files a second, one after the other"] = _fsyncs(folder, count, 1)
    found[f"fsyncs of 10 KiB files a second, {THREADS} side by side"] = _fsyncs(folder, count, THREADS)
    return found


class _Server:
    """A process that takes one connection of `size` bytes, and then `count` of one byte."""

    def __init__(self, certificates: Certificates, version: ssl.TLSVersion, size: int, count: int) -> None:
        self._size, self._count = size, count
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.chain, certificates.key)
        context.minimum_version = context.maximum_version = version
        self._client = ssl.create_default_context(cafile=str(certificates.ca_file))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(self._listener, context, size, count), daemon=True
        )
        self._session: ssl.SSLSession | None = None

    def throughput(self) -> float:
        """Bytes a second."""
        buffer, came = bytearray(BLOCK), 0
        with self._dialled() as line:
            began = time.perf_counter()
            while came < self._size:
                came += line.recv_into(buffer)
            took = time.perf_counter() - began
            self._session = line.session
        return came / took

    def handshakes(self) -> float:
        """Connections a second, from the connect to the first byte."""
        began = time.perf_counter()
        for _ in range(self._count):
            with self._dialled() as line:
                line.recv(1)
                assert line.session_reused
        return self._count / (time.perf_counter() - began)

    def _dialled(self) -> ssl.SSLSocket:
        plain = socket.create_connection(self._listener.getsockname())
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._client.wrap_socket(plain, server_hostname="127.0.0.1", session=self._session)

    def __enter__(self) -> _Server:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._listener.close()


def _serve(listener: socket.socket, context: ssl.SSLContext, size: int, count: int) -> None:
    block = os.urandom(256 * KIB)
    for number in range(count + 1):
        plain, _ = listener.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_side=True) as line:
            if number:
                line.send(b"1")
                continue
            for _ in range(size // len(block)):
                line.sendall(block)


def _fsyncs(folder: Path, count: int, threads: int) -> float:
    content = os.urandom(10 * KIB)

    def write(number: int) -> None:
        path = folder / str(number)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.unlink()

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(count)))
    return count / (time.perf_counter() - began)

"""Debian's Redis server with TLS and a password, as a broker that isn't on the same machine would be."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path
from typing import Self

import redis

from tests.servers import packages
from tests.servers.certificates import Certificates
from tests.waiting import wait_until

START_LIMIT_S = 60.0

CONFIGURATION = """
bind 127.0.0.1
port 0
tls-port {port}
tls-cert-file {chain}
tls-key-file {key}
tls-ca-cert-file {ca_file}
tls-auth-clients no
requirepass {password}
dir {folder}
save ""
logfile {folder}/log
"""


class RedisTls:
    """One server that listens with TLS only, on 127.0.0.1. Raises Unavailable where Debian's isn't to be had.

    The wheel that brings our Valkey is built without TLS.
    """

    def __init__(self, folder: Path, certificates: Certificates, port: int) -> None:
        tree = packages.tree("redis")
        self.folder = folder
        self.port = port
        self.password = secrets.token_urlsafe(12)
        self.process: subprocess.Popen[bytes] | None = None
        self._certificates = certificates
        self._program = packages.program(tree, "usr/bin/redis-server")
        self._environment = packages.environment(tree)
        folder.mkdir(parents=True, exist_ok=True)
        self._configuration = folder / "redis.conf"
        self._configuration.touch(0o600)
        self._configuration.write_text(
            CONFIGURATION.format(
                port=port,
                chain=certificates.chain,
                key=certificates.key,
                ca_file=certificates.ca_file,
                password=self.password,
                folder=folder,
            )
        )

    def url(self, *, ca_file: Path | None = None) -> str:
        """The address with the password in it; the server is trusted on `ca_file`, its own by default."""
        trusted = ca_file or self._certificates.ca_file
        query = f"ssl_cert_reqs=required&ssl_ca_certs={trusted}"
        return f"rediss://:{self.password}@localhost:{self.port}/0?{query}"

    def start(self) -> None:
        """Starts the server; returns once it answers."""
        self.process = subprocess.Popen(
            [self._program, self._configuration],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_until(self._answers, START_LIMIT_S, what="redis answers")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server at once. Harmless when it has ended."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"redis has ended: {(self.folder / 'log').read_text()[-2000:]}")
        try:
            with redis.Redis.from_url(self.url()) as line:
                return bool(line.ping())
        except redis.ConnectionError:
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

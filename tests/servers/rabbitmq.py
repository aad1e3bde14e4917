"""Debian's RabbitMQ as a broker, run out of its unpacked packages."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Self

from celery import Celery
from kombu.exceptions import OperationalError

from tests.servers import packages
from tests.waiting import wait_until

START_LIMIT_S = 90.0  # ten seconds on an idle machine

# A test's disk may be nearly full, which is no reason to stand still.
CONFIGURATION = """
listeners.tcp.1 = 127.0.0.1:{port}
default_user = towline
default_pass = {password}
disk_free_limit.absolute = 1MB
"""


class RabbitMq:
    """One node on 127.0.0.1 with a home, a cookie and a port mapper (epmd) of its own; its queues survive
    `stop` and `start`. Raises Unavailable where Debian's packages are not to be had.
    """

    def __init__(self, folder: Path, free_port: Callable[[], int]) -> None:
        tree = packages.tree("rabbitmq")
        self.folder = folder
        self.port = free_port()
        self.password = secrets.token_hex(8)
        self._programs = packages.program(tree, "usr/lib/erlang/erts-*/bin")
        self._processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        configuration = folder / "rabbitmq.conf"
        configuration.touch(0o600)
        configuration.write_text(CONFIGURATION.format(port=self.port, password=self.password))
        (folder / "plugins").write_text("[].\n")
        home = packages.program(tree, "usr/lib/rabbitmq/lib/rabbitmq_server-*")
        # What Debian's scripts `erl` and `rabbitmq-server` would set, with their paths below /usr.
        self._environment = packages.environment(tree) | {
            "HOME": str(folder),  # the cookie's
            "ROOTDIR": str(tree / "usr/lib/erlang"),
            "BINDIR": str(self._programs),
            "EMU": "beam",
            "PROGNAME": "erl",
            "ERL_LIBS": str(home / "plugins"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(free_port()),
            "RABBITMQ_HOME": str(home),
            "RABBITMQ_NODENAME": "towline@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PLUGINS_DIR": str(home / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "SYS_PREFIX": str(folder),
        }

    @property
    def url(self) -> str:
        """The address with the password in it."""
        return f"amqp://towline:{self.password}@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start the node, again on the same port if need be; returns once it lets a client in."""
        # In the foreground and before the node, which would start one that outlives it.
        self._launch("epmd")
        node = ["-noinput", "-s", "rabbit", "boot", "-boot", "start_sasl", "+W", "w", "+sbwt", "none"]
        ours = ["-kernel", "inet_dist_use_interface", "{127,0,0,1}"]
        quiet = ["-syslog", "logger", "[]", "-syslog", "syslog_error_logger", "false"]
        self._launch("erlexec", *node, *ours, *quiet)
        try:
            wait_until(self._answers, START_LIMIT_S, what="RabbitMQ answers")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """SIGKILL for the node and its port mapper. Harmless when they have ended."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _launch(self, program: str, *arguments: str) -> None:
        with (self.folder / "output").open("ab") as output:
            process = subprocess.Popen(
                [self._programs / program, *arguments],
                env=self._environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes.append(process)

    def _answers(self) -> bool:
        for process in self._processes:
            if process.poll() is not None:
                said = (self.folder / "output").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"RabbitMQ has ended: {said}")
        try:
            with Celery(broker=self.url, set_as_current=False).connection(connect_timeout=5) as line:
                line.connect()
        except (OperationalError, OSError):
            return False
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

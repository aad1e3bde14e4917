"""The `towline` command as users run it: a process, with a configuration and a state of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.servers.server import FtpServer

LIMIT_S = 120.0

SLOW = 1_000_000.0
"""Bytes a second, of a proxy's data lines: 60 MB then last as long as a test needs to interrupt them."""

# Lines that can't be built are given up within the second; tests have no time for the defaults.
QUICK = 'reconnect = { attempts = 3, within = "20s", first_wait = "10ms", max_wait = "20ms" }'


class Site:
    """A folder with a `towline.toml` for one server: endpoint `bank`, route `statements`, /out → `in/`."""

    def __init__(
        self,
        folder: Path,
        server: FtpServer,
        *,
        route: Mapping[str, Any] | None = None,
        endpoint: Mapping[str, Any] | None = None,
        towline: Mapping[str, Any] | None = None,
        more: str = "",
    ) -> None:
        """Values go over the defaults. more: TOML, at the end."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.landed = folder / "in"
        self.out = server.root / "out"
        self.out.mkdir(exist_ok=True)
        self.out.chmod(0o755)
        self.password = server.password
        bank = {
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "tls": server.tls,
            "ca_file": str(server.ca_file),
        } | dict(endpoint or {})
        statements = {"endpoint": "bank", "remote": "/out", "local": "in", "settle": "0s"} | dict(route or {})
        self.config = folder / "towline.toml"
        self.config.write_text(
            "\n".join(
                [
                    "[towline]",
                    *_lines({"state_dir": "state"} | dict(towline or {})),
                    "[endpoints.bank]",
                    *_lines(bank),
                    'password = { env = "BANK_PASSWORD" }',
                    QUICK,
                    "[routes.statements]",
                    *_lines(statements),
                    more,
                ]
            )
        )

    def put(self, name: str | bytes, content: bytes = b"hello\n") -> None:
        """A file in the folder that the route lists."""
        with open(os.path.join(os.fsencode(self.out), os.fsencode(name)), "wb") as file:  # noqa: PTH118, PTH123
            file.write(content)

    def towline(
        self, *arguments: str, password: str | None = None, limit_s: float = LIMIT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(
            _command(arguments),
            cwd=self.folder,
            env=self._environment(password),
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a reading verb with --json, and read the one document that it prints."""
        ended = self.towline(*arguments, "--json")
        assert ended.returncode == code, ended.stderr
        assert ended.stdout.count("\n") == 1
        return json.loads(ended.stdout)

    @contextlib.contextmanager
    def started(self, *arguments: str, stderr: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
        """The command while it runs; killed at the end of the block if it still does."""
        process = subprocess.Popen(
            _command(arguments),
            cwd=self.folder,
            env=self._environment(None),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
            # A shell lets its background jobs ignore Ctrl-C, and whatever they start inherits that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)

    def peak_rss(self, *arguments: str) -> int:
        """The command to its end, which has to be a good one: the most memory it had resident; bytes.

        The kernel counts what the process' parent had resident at its start, too: so that is a small one.
        """
        told = subprocess.run(
            [sys.executable, "-c", _MEASURED, *_command(arguments)],
            cwd=self.folder,
            env=self._environment(None),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return int(told.stdout) << 10

    def _environment(self, password: str | None) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TOWLINE_")}
        return kept | {"BANK_PASSWORD": password or self.password, "TOWLINE_CONFIG": str(self.config)}


_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=sys.stderr, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "workers.cli", *arguments]


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items()]


def _toml(value: Any) -> str:
    return f"{{ {', '.join(_lines(value))} }}" if isinstance(value, dict) else json.dumps(value)

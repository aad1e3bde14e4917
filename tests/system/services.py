"""Programs started the way a supervisor starts them, and what can be asked of Flower."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Self

from workers.private import write_private

ANSWERS_WITHIN = 60.0  # seconds, for Flower on a busy machine


class Service:
    """A process with the environment it is given and no other; SIGTERM goes to it alone, no child."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        folder: Path,
        logs: Path,
    ) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        surroundings = {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(folder)}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=surroundings | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, within: float) -> int:
        """Ask it to end, and give its exit code. AssertionError where it does not end in time."""
        self.process.terminate()
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not stop within {within:g} s:\n{self.output()}") from None

    def said(self) -> str:
        """All that it has said."""
        return self.log.read_text(errors="replace")

    def output(self) -> str:
        """The end of what it has said."""
        return self.said()[-4000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        print(f"--- {self.log}\n{self.output()}")  # pytest shows it when the test failed
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # also what outlived its parent
        self.process.wait()


def broker_ran_at(state_dir: Path, port: int) -> None:
    """As if the embedded broker of a `state_dir` had run at this port: nobody else is given it meanwhile."""
    (state_dir / "broker").mkdir(mode=0o700, parents=True)
    write_private(state_dir / "broker" / "address", f"redis://:{token_urlsafe()}@127.0.0.1:{port}/0")


class Flower:
    """Flower's HTTP interface."""

    def __init__(self, port: int, login: str | None) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._headers = {}
        if login is not None:
            self._headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"

    def status(self, path: str) -> int | None:
        """The HTTP status; None while nobody listens."""
        try:
            return self._get(path)[0]
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return refusal.code
        except OSError:
            return None

    def get(self, path: str) -> Any:
        """The JSON document at `path`."""
        return json.loads(self._get(path)[1])

    def nodes(self) -> set[str]:
        """The worker nodes that Flower knows, without their host; empty while it does not answer."""
        try:
            return {name.partition("@")[0] for name in self.get("/api/workers?refresh=1")}
        except OSError:
            return set()

    def heard(self) -> set[str]:
        """The worker nodes of which it has received an event, without their host: it misses no other."""
        try:
            return {name.partition("@")[0] for name in self.get("/api/workers?status=true")}
        except OSError:
            return set()

    def _get(self, path: str) -> tuple[int, bytes]:
        request = urllib.request.Request(self._base + path, headers=self._headers)
        with urllib.request.urlopen(request, timeout=ANSWERS_WITHIN) as answer:
            return answer.status, answer.read()

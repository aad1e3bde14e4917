"""A small FTPS server that does as it is told: at any command a script may take over.

    with ScriptedServer(certificates, files={b"/a.xml": b"<a/>"}) as server:
        server.when("RETR", transfer(share=0.5))           # half the data, then 226 all the same
        server.when("NOOP", silence, times=1)              # the next NOOP only
        server.when("SIZE", answer("550 No."), skip=2)     # the third one and those after it

What scripts do is in acts.py. Everything else answers as an ordinary server would, from files in memory.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Self

from tests.faults.acts import Act, receive, transfer
from tests.faults.dialogue import Talk
from tests.servers.certificates import Certificates
from tests.servers.server import TlsMode, TlsVersion

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(slots=True)
class Script:
    """After `skip` ordinary answers the act is performed `times` times (None: for ever)."""

    act: Act
    times: int | None
    skip: int


class ScriptedServer:
    """Serves `files` (absolute path → content) on 127.0.0.1, one thread a line.

    commands: all that came, of all lines, in order, without passwords. troubles: errors that ended lines at
    our side. With `demand_resumption`, data sessions of their own are refused with 522, as by vsftpd.
    """

    host = "127.0.0.1"
    user = "acme"
    password = "correct-horse-7"

    def __init__(
        self,
        certificates: Certificates,
        *,
        tls: TlsMode = "explicit",
        tls_version: TlsVersion = "1.3",
        files: dict[bytes, bytes] | None = None,
        demand_resumption: bool = False,
    ) -> None:
        self.tls: TlsMode = tls
        self.tls_version: TlsVersion = tls_version
        self.ca_file = certificates.ca_file
        self.files = dict(files or {})
        self.times: dict[bytes, str] = {}  # MDTM's answer, where it isn't the default
        self.demand_resumption = demand_resumption
        self.context = self.new_context(certificates)
        self.other_context = self.new_context(certificates)  # knows nothing of the first one's sessions
        self.ordinary: dict[str, Act] = {
            **dict.fromkeys(("RETR", "MLSD", "LIST"), transfer()),
            **dict.fromkeys(("STOR", "APPE"), receive()),
        }
        self.commands: list[str] = []
        self.connections = 0
        self.logins = 0
        self.troubles: list[BaseException] = []
        self.lines: set[Talk] = set()
        self._scripts: dict[str, list[Script]] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="scripted-accept", daemon=True)
        self._acceptor.start()

    def when(self, verb: str, act: Act, *, times: int | None = None, skip: int = 0) -> None:
        """Adds a script for a verb. "CONNECT" stands for the greeting; the first script that is due wins."""
        with self._lock:
            self._scripts.setdefault(verb, []).append(Script(act, times, skip))

    def forget(self, verb: str) -> None:
        """The verb is answered in the ordinary way again."""
        with self._lock:
            self._scripts.pop(verb, None)

    def act_for(self, verb: str) -> Act | None:
        """The script that is due now, or None for the ordinary answer."""
        with self._lock:
            for script in self._scripts.get(verb, []):
                if script.skip:
                    script.skip -= 1
                elif script.times is None:
                    return script.act
                elif script.times:
                    script.times -= 1
                    return script.act
        return None

    def to_idle_lines(self, act: Act) -> int:
        """Performs an act on every line that now waits for a command; returns their number."""
        return sum(line.interrupt(act) for line in list(self.lines))

    def count(self, verb: str) -> int:
        """How often a verb came."""
        return sum(command.split(" ")[0] == verb for command in list(self.commands))

    def close(self) -> None:
        """Ends all lines and stops listening."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(5)
        self._listener.close()
        for line in list(self.lines):
            line.give_up()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def new_context(self, certificates: Certificates) -> ssl.SSLContext:
        """A server's context for this TLS version."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.chain, certificates.key)
        context.minimum_version = context.maximum_version = VERSIONS[self.tls_version]
        return context

    def _accept(self) -> None:
        while not self._closing.is_set():
            select.select([self._listener], [], [])
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            line = Talk(self, plain)
            self.lines.add(line)
            thread = threading.Thread(target=self._serve, args=(line,), name="scripted-line", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, line: Talk) -> None:
        try:
            line.run()
        except OSError as error:  # also ssl.SSLError: the client, or a script, has ended the line
            self.troubles.append(error)
        finally:
            line.give_up()
            self.lines.discard(line)

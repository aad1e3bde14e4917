"""A small FTPS server that does as it is told: at any command a script may take over.

    with ScriptedServer(certificates, files={b"/a.xml": b"<a/>"}) as server:
        server.when("RETR", transfer(share=0.5))           # half the data, then 226 all the same
        server.when("NOOP", silence, times=1)              # the next NOOP only
        server.when("SIZE", answer("550 No."), skip=2)     # the third one and those after it

What scripts do is in acts.py. Everything else answers as an ordinary server would, from files in memory.
The protocol's own tests (tests/unit/ftps) and those of whole transfers talk to the same one.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from tests.faults.acts import Act, answer, receive, transfer
from tests.faults.dialogue import Talk, listener, reserved
from tests.servers.certificates import Certificates
from tests.servers.server import TlsMode, TlsVersion
from workers.ftps.peer import Peer
from workers.ftps.tls import Trust

PATIENCE_S = 60.0
"""A client's deadlines: a busy machine may hold up either side for seconds."""
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

Answer = str | bytes | Act


@dataclass(slots=True)
class Script:
    """After `skip` ordinary answers the act is performed `times` times (None: for ever)."""

    act: Act
    times: int | None
    skip: int


class ScriptedServer:
    """Serves `files` (absolute path → content) on a loopback address, one thread a line.

    answers: scripts from the start on, a bare reply or an act. commands: all that came, of all lines, in
    order, bytes as Latin-1. talks: all lines, ended ones too. told: where the client listens, in active mode.
    troubles: errors that ended lines at our side. With `demand_resumption`, data sessions of their own are
    refused with 522, as by vsftpd.
    """

    user = "acme"
    password = "correct-horse-7"

    def __init__(
        self,
        certificates: Certificates,
        answers: Mapping[str, Answer] | None = None,
        *,
        host: str = "127.0.0.1",
        data_host: str | None = None,
        tls: TlsMode = "explicit",
        tls_version: TlsVersion = "1.3",
        files: dict[bytes, bytes] | None = None,
        demand_resumption: bool = False,
    ) -> None:
        self.host = host
        self.data_host = data_host or host
        self.tls: TlsMode = tls
        self.ca_file = certificates.ca_file
        self.files = dict(files or {})
        self.times: dict[bytes, str] = {}  # MDTM's answer, where it isn't the default
        self.demand_resumption = demand_resumption
        self.context = server_context(certificates, tls_version)
        self.other_context = server_context(
            certificates, tls_version
        )  # knows nothing of the first one's sessions
        self.ordinary: dict[str, Act] = {
            **dict.fromkeys(("RETR", "MLSD", "LIST"), transfer()),
            **dict.fromkeys(("STOR", "APPE"), receive()),
        }
        self.commands: list[str] = []
        self.connections = 0
        self.logins = 0
        self.troubles: list[BaseException] = []
        self.talks: list[Talk] = []
        self.told: list[tuple[str, int]] = []
        self._scripts: dict[str, list[Script]] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.closing = threading.Event()
        for verb, one in (answers or {}).items():
            self.when(verb, one)
        # A test may knock where nobody listens any more: until its end the kernel gives the port to no other.
        self._place = reserved(host)
        self.port: int = self._place.getsockname()[1]
        self._listener = listener(host, self.port)
        self._acceptor = threading.Thread(target=self._accept, name="scripted-accept", daemon=True)
        self._acceptor.start()

    def when(self, verb: str, what: Answer, *, times: int | None = None, skip: int = 0) -> None:
        """Adds a script for a verb. "CONNECT" stands for the greeting; the first script that is due wins."""
        act = answer(what) if isinstance(what, str | bytes) else what
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
        return sum(talk.interrupt(act) for talk in list(self.talks) if talk.running)

    def peer(self, **changes: object) -> Peer:
        """What a connection must know of this server; `changes` are other fields of a Peer."""
        values: dict[str, object] = {
            "host": "localhost",
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "tls": self.tls,
            "trust": Trust(ca_file=str(self.ca_file)),
            # Where a test is about one of these it says so.
            "connect_timeout": PATIENCE_S,
            "reply_timeout": PATIENCE_S,
            "probe_timeout": PATIENCE_S,
            "idle_timeout": PATIENCE_S,
        }
        return Peer(**(values | changes))  # type: ignore[arg-type]

    def count(self, verb: str) -> int:
        """How often a verb came."""
        return sum(command.split(" ")[0] == verb for command in list(self.commands))

    def close(self) -> None:
        """Ends all lines and stops listening; the port stays ours until the end of the `with` block."""
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(5)
        self._listener.close()
        for talk in list(self.talks):
            talk.give_up()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._place.close()

    def _accept(self) -> None:
        while not self.closing.is_set():
            select.select([self._listener], [], [])
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            talk = Talk(self, plain)
            self.talks.append(talk)
            thread = threading.Thread(target=self._serve, args=(talk,), name="scripted-line", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, talk: Talk) -> None:
        try:
            talk.run()
        except (OSError, ValueError) as error:  # the client, or a script, has ended the line
            self.troubles.append(error)
        finally:
            talk.give_up()


def server_context(certificates: Certificates, version: TlsVersion = "1.3") -> ssl.SSLContext:
    """A server's TLS of exactly this version, with the session cache that data channels resume from."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.chain, certificates.key)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    # Python would hide a missing close_notify otherwise, and some tests are about just that.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context

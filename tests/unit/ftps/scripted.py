"""A small FTPS server whose every answer a test may replace: for faults no real server makes on demand."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Literal, Self

from tests.servers.certificates import Certificates
from workers.ftps.connection import Peer
from workers.ftps.tls import Trust

PATIENCE_S = 10.0
FEATURES = (
    b"211-Features:\r\n MLST type*;size*;modify*;\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n EPSV\r\n211 End"
)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST

Answer = bytes | Callable[["Talk", bytes], object]


class Talk:
    """One control connection, seen from the server's side."""

    def __init__(self, server: Scripted, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.commands: list[str] = []
        self.offset = 0
        self._rest = b""
        self._turn = threading.Lock()
        self._listener: socket.socket | None = None

    def say(self, reply: bytes) -> None:
        """Send one reply; the line end is added."""
        with self._turn:
            self.sock.sendall(reply + b"\r\n")

    def secure(self) -> None:
        """TLS on the control connection from here on."""
        self.sock = self.server.context.wrap_socket(self.sock, server_side=True, suppress_ragged_eofs=False)

    def reset(self) -> None:
        """End the control connection by RST."""
        raw = socket.socket(fileno=self.sock.detach())
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raw.close()

    def listen(self) -> int:
        """Open a data port."""
        if self._listener is not None:
            self._listener.close()
        self._listener = listener(self.server.data_host)
        self._listener.settimeout(PATIENCE_S)
        return int(self._listener.getsockname()[1])

    def accept(self) -> socket.socket:
        """The data connection, in clear text."""
        assert self._listener is not None
        data, _ = self._listener.accept()
        data.settimeout(PATIENCE_S)
        return data

    def secured_data(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """The data connection, over TLS."""
        return (context or self.server.context).wrap_socket(
            self.accept(), server_side=True, suppress_ragged_eofs=False
        )

    def send_file(self, content: bytes) -> None:
        """A download as it should be."""
        self.say(b"150 Here it comes")
        data = self.secured_data()
        data.sendall(content)
        with contextlib.suppress(OSError):
            data.unwrap()
        data.close()
        self.say(b"226 Done")

    def run(self) -> None:
        """Answer commands until the client goes, or the script ends the line."""
        try:
            if self.server.tls == "implicit":
                self.secure()
            self.answer("(greeting)", b"")
            while (line := self._read_line()) is not None:
                verb, _, argument = line.partition(b" ")
                self.commands.append(line.decode("latin-1"))
                self.answer(verb.decode("ascii").upper(), argument)
        except (OSError, ValueError):
            pass  # the client went away, or the test closed the socket under us
        finally:
            for sock in (self.sock, self._listener):
                if sock is not None:
                    sock.close()

    def answer(self, verb: str, argument: bytes) -> None:
        """What the script says."""
        scripted = self.server.answers.get(verb, b"500 Unknown")
        if callable(scripted):
            scripted(self, argument)
        else:
            self.say(scripted)

    def _read_line(self) -> bytes | None:
        while b"\n" not in self._rest:
            # A TLS object bears one thread at a time, and a test may say something meanwhile.
            if not (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
                select.select([self.sock], [], [], PATIENCE_S)
            with self._turn:
                got = self.sock.recv(4096)
            if not got:
                return None
            self._rest += got
        line, self._rest = self._rest.split(b"\n", 1)
        return line.removesuffix(b"\r")


class Scripted:
    """Listens on a loopback address; `answers` maps a verb to a reply, or to what is done instead of one.

    "(greeting)" is the answer to a new connection. talks: the connections so far.
    """

    def __init__(
        self,
        certificates: Certificates,
        answers: dict[str, Answer],
        *,
        tls: Literal["explicit", "implicit", "off"] = "implicit",
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        host: str = "127.0.0.1",
        data_host: str | None = None,
    ) -> None:
        self.certificates = certificates
        self.answers: dict[str, Answer] = PLAIN | answers
        self.tls = tls
        self.data_host = data_host or host
        self.context = server_context(certificates, version)
        self.talks: list[Talk] = []
        self.told: list[tuple[str, int]] = []  # in active mode: where the client listens
        self._listener = listener(host)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def peer(self, **changes: object) -> Peer:
        """What a connection must know of this server; deadlines are short."""
        values: dict[str, object] = {
            "host": "localhost",
            "port": self._listener.getsockname()[1],
            "user": "acme",
            "password": "s3cret-Wort",
            "tls": self.tls,
            "trust": Trust(ca_file=str(self.certificates.ca_file)),
            "connect_timeout": 5.0,
            "reply_timeout": 5.0,
            "probe_timeout": 5.0,
            "idle_timeout": 5.0,
        }
        return Peer(**(values | changes))  # type: ignore[arg-type]

    @property
    def commands(self) -> list[str]:
        """All commands of all connections, in order."""
        return [command for talk in self.talks for command in talk.commands]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE_S)
        for talk in self.talks:
            with contextlib.suppress(OSError):
                talk.sock.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # closed by __exit__
            sock.settimeout(PATIENCE_S)
            talk = Talk(self, sock)
            self.talks.append(talk)
            threading.Thread(target=talk.run, daemon=True).start()


def listener(host: str) -> socket.socket:
    """A socket that listens on a free port of this address."""
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def server_context(certificates: Certificates, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server's TLS of exactly this version, with the session cache that data channels resume from."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.chain, certificates.key)
    context.minimum_version = context.maximum_version = version
    # Python would hide a missing close_notify otherwise, and some tests are about just that.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context


def _port(talk: Talk, _: bytes) -> None:
    talk.say(b"229 Entering Extended Passive Mode (|||%d|)" % talk.listen())


def _begin_tls(talk: Talk, _: bytes) -> None:
    talk.say(b"234 Go ahead")
    talk.secure()


def _rest(talk: Talk, argument: bytes) -> None:
    talk.offset = int(argument)
    talk.say(b"350 Restarting")


PLAIN: dict[str, Answer] = {
    "(greeting)": b"220 Ready",
    "AUTH": _begin_tls,
    "USER": b"331 Password?",
    "PASS": b"230 Welcome",
    "PBSZ": b"200 PBSZ=0",
    "PROT": b"200 Private",
    "FEAT": FEATURES,
    "TYPE": b"200 Binary",
    "NOOP": b"200 Zzz",
    "EPSV": _port,
    "REST": _rest,
    "QUIT": b"221 Bye",
}

"""The scripted server's side of one control line, and its ordinary answers."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.acts import Act
    from tests.faults.scripted import ScriptedServer

MOST_S = 60.0  # no test waits longer for a client that does nothing
FEATURES = "\r\n ".join(
    ("211-Features:", "MLST type*;size*;modify*;", "MLSD", "SIZE", "MDTM", "REST STREAM", "UTF8", "EPSV")
)
MODIFIED = "20260102030405"
SIMPLE = {
    "NOOP": "200 Well.",
    "PBSZ": "200 PBSZ=0",
    "PROT": "200 Private it is.",
    "TYPE": "200 Type set.",
    "OPTS": "200 As you like.",
    "FEAT": f"{FEATURES}\r\n211 End",
    "SYST": "215 UNIX Type: L8",
    "PWD": '257 "/" is the current folder.',
    "MKD": "257 Made.",
    "USER": "331 And the password?",
}


class Talk:
    """One control line. Acts use reply(), raw(), open_data(), and end it by close() or reset()."""

    def __init__(self, server: ScriptedServer, plain: socket.socket) -> None:
        self.server = server
        self.socket: socket.socket = plain
        self.running = True
        self.verb = ""  # of the command being answered
        self.commands: list[str] = []
        self.in_pieces = False  # replies leave byte by byte
        self.talkative = False  # replies have many lines, with digits in them
        self.trailer = b""  # leaves in one packet with the next final reply
        self.offset = 0
        self.renaming = b""
        self.kept: list[socket.socket] = []  # data channels that nobody will end
        self._passive: socket.socket | None = None
        self._called: tuple[str, int] | None = None  # in active mode, until we have connected
        self._buffer = b""
        self._orders: deque[tuple[Act, threading.Event]] = deque()
        self._over = threading.Event()  # no order is carried out any more
        self._bell, self._ear = socket.socketpair()
        plain.settimeout(MOST_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # -- what acts use

    def reply(self, text: str | bytes) -> None:
        """One reply, or several: lines are ended by CR LF, the last one by us."""
        content = (text.encode() if isinstance(text, str) else text) + b"\r\n"
        if self.talkative:
            content = _in_many_lines(content)
        if not content.startswith(b"1"):
            content, self.trailer = content + self.trailer, b""
        self.raw(content)

    def raw(self, content: bytes) -> None:
        """Bytes inside TLS, if TLS is on."""
        pieces = [content[at : at + 1] for at in range(len(content))] if self.in_pieces else [content]
        for piece in pieces:
            self.socket.sendall(piece)

    def secure(self) -> None:
        """The server's half of a TLS handshake on the control line."""
        self.socket = self.server.context.wrap_socket(self.socket, server_side=True)

    def accept(self) -> socket.socket:
        """The data connection in clear text: one that the client opens, or in active mode we."""
        if self._called is not None:
            plain = socket.create_connection(self._called, MOST_S)
            self._called = None
        else:
            assert self._passive is not None, "no EPSV before"
            self._passive.settimeout(MOST_S)
            plain, _ = self._passive.accept()
            self._passive.close()
            self._passive = None
        plain.settimeout(MOST_S)
        return plain

    def secured(self, plain: socket.socket, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """TLS on a data connection, as the server's side, with the control line's context or another."""
        return (context or self.server.context).wrap_socket(
            plain, server_side=True, suppress_ragged_eofs=False
        )

    def secured_data(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """The data channel, after the handshake."""
        return self.secured(self.accept(), context)

    def open_data(self, *, context: ssl.SSLContext | None = None) -> socket.socket | None:
        """The data channel, as private as the control line. None, with 522 said, when it is refused."""
        if not isinstance(self.socket, ssl.SSLSocket):
            return self.accept()
        data = self.secured_data(context)
        if self.server.demand_resumption and not data.session_reused:
            data.close()
            self.reply("522 SSL connection failed: session reuse required")
            return None
        return data

    def perform(self, verb: str, argument: bytes) -> None:
        """The ordinary answer."""
        if answer := self.server.ordinary.get(verb) or ANSWERS.get(verb):
            answer(self, argument)
        elif verb in SIMPLE:
            self.reply(SIMPLE[verb])
        else:
            self.reply("500 What?")

    def has_read(self, verb: bytes) -> bool:
        """Whether this command has come together with the one being answered."""
        return self._buffer.startswith(verb)

    def close(self) -> None:
        """FIN, without a TLS farewell."""
        self.running = False
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def reset(self) -> None:
        """RST."""
        self.running = False
        reset(self.socket)

    # -- what the server uses

    def run(self) -> None:
        """Greets, and answers until either side has enough."""
        if self.server.tls == "implicit":
            self.secure()
        self._answer("CONNECT", b"")
        while self.running:
            line = self._command()
            if line is None:
                return
            verb, _, argument = line.partition(b" ")
            word = verb.decode("ascii", "replace").upper()
            self.commands.append(line.decode("latin-1"))
            self.server.commands.append(self.commands[-1])
            self._answer(word, argument)

    def interrupt(self, act: Act) -> bool:
        """Performs an act in the line's own thread (TLS objects bear only one). False: the line has ended."""
        done = threading.Event()
        self._orders.append((act, done))
        with contextlib.suppress(OSError):
            self._bell.send(b"!")
        while not done.wait(0.05):
            if self._over.is_set():
                return done.is_set()  # by this order, or by another end before it
        return True

    def give_up(self) -> None:
        """Closes whatever is open."""
        self.running = False
        self._orders.clear()
        for one in (*self.kept, self._passive, self._bell, self._ear):
            if one is not None:
                one.close()
        self.close()
        self._over.set()

    def _answer(self, verb: str, argument: bytes) -> None:
        self.verb = verb
        act = self.server.act_for(verb)
        if act is not None:
            act(self, argument)
        else:
            self.perform(verb, argument)

    def _command(self) -> bytes | None:
        """The next command without its CR LF; None at the end of the line, or when an order has ended it."""
        while b"\n" not in self._buffer:
            ready: list[socket.socket] = [self.socket]
            if not (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()):
                ready, _, _ = select.select([self.socket, self._ear], [], [])
            if self._ear in ready:
                self._ear.recv(1)
                while self._orders:
                    act, done = self._orders.popleft()
                    act(self, b"")
                    done.set()
                if not self.running:
                    return None
                continue
            block = self.socket.recv(4096)
            if not block:
                return None
            self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.removesuffix(b"\r")

    # -- ordinary answers

    def _connect(self, _: bytes) -> None:
        self.reply("220 Scripted.")

    def _auth(self, _: bytes) -> None:
        self.reply("234 Begin.")
        self.secure()

    def _pass(self, password: bytes) -> None:
        if password.decode() == self.server.password:
            self.server.logins += 1
            self.reply("230 Welcome.")
        else:
            self.reply("530 Login incorrect.")

    def _quit(self, _: bytes) -> None:
        self.reply("221 Bye.")
        self.close()

    def listen(self) -> int:
        """A port for the next data channel."""
        if self._passive is not None:
            self._passive.close()
        self._passive = listener(self.server.data_host)
        port: int = self._passive.getsockname()[1]
        return port

    def _epsv(self, _: bytes) -> None:
        self.reply(f"229 Entering Extended Passive Mode (|||{self.listen()}|)")

    def _pasv(self, _: bytes) -> None:
        high, low = divmod(self.listen(), 256)
        self.reply(f"227 Entering Passive Mode ({self.server.data_host.replace('.', ',')},{high},{low}).")

    def _eprt(self, where: bytes) -> None:
        _, _, host, port, _ = where.decode().split("|")
        self._call(host, int(port))

    def _port(self, where: bytes) -> None:
        numbers = where.decode().split(",")
        self._call(".".join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5]))

    def _call(self, host: str, port: int) -> None:
        self._called = host, port
        self.server.told.append(self._called)
        self.reply("200 I shall.")

    def _rest(self, offset: bytes) -> None:
        self.offset = int(offset)
        self.reply("350 From there.")

    def _size(self, path: bytes) -> None:
        content = self.server.files.get(path)
        self.reply("550 No such file." if content is None else f"213 {len(content)}")

    def _mdtm(self, path: bytes) -> None:
        known = path in self.server.files
        self.reply(f"213 {self.server.times.get(path, MODIFIED)}" if known else "550 No such file.")

    def _dele(self, path: bytes) -> None:
        known = self.server.files.pop(path, None) is not None
        self.reply("250 Gone." if known else "550 No such file.")

    def _rnfr(self, path: bytes) -> None:
        if path not in self.server.files:
            self.reply("550 No such file.")  # what was named before stays so, as with most servers
            return
        self.renaming = path
        self.reply("350 To what?")

    def _rnto(self, path: bytes) -> None:
        old, self.renaming = self.renaming, b""
        if not old:
            self.reply("503 What is to be renamed?")
        elif old not in self.server.files or path.rpartition(b"/")[0] in self.server.files:
            self.reply("550 It can't be done.")
        else:
            self.server.files[path] = self.server.files.pop(old)
            self.reply("250 Renamed.")


def _in_many_lines(reply: bytes) -> bytes:
    """The same reply, with lines in it that another could end with."""
    code, rest = reply[:3], reply[4:]
    if reply[3:4] == b"-":
        opening, _, rest = rest.partition(b"\r\n")
    else:
        opening, rest = b"First:", reply
    decoys = (b" 226 is no end", b"421 nor is this", b"%s0 bytes" % code, b"%s-213 7" % code)
    return b"\r\n".join((b"%s-%s" % (code, opening), *decoys, rest))


def listener(host: str, port: int = 0) -> socket.socket:
    """A socket that listens on this port of this address; 0: on a free one."""
    return socket.create_server((host, port), family=_family(host))


def reserved(host: str) -> socket.socket:
    """A socket that holds a free port and does not listen there; a `listener` may, beside it."""
    place = socket.socket(_family(host))
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind((host, 0))
    return place


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def reset(end: socket.socket) -> None:
    """Ends a connection by RST."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


ANSWERS: dict[str, Callable[[Talk, bytes], None]] = {
    "CONNECT": Talk._connect,
    "AUTH": Talk._auth,
    "PASS": Talk._pass,
    "QUIT": Talk._quit,
    "EPSV": Talk._epsv,
    "PASV": Talk._pasv,
    "EPRT": Talk._eprt,
    "PORT": Talk._port,
    "REST": Talk._rest,
    "SIZE": Talk._size,
    "MDTM": Talk._mdtm,
    "DELE": Talk._dele,
    "RNFR": Talk._rnfr,
    "RNTO": Talk._rnto,
}

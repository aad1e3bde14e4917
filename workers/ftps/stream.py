"""A TCP or TLS stream under absolute deadlines: the one edge where foreign exceptions are translated.

Nothing outside this file and `tls` knows `ssl.SSLError` or an `errno`. Every wait takes `until`, a
`time.monotonic()` instant: a per-call time-out is defeated by a peer that drips one byte a second.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any

from workers.ftps.errors import (
    CertificateRefused,
    ConnectFailed,
    FtpsError,
    LineLost,
    NoAnswer,
    ProtocolError,
    TlsRefused,
)
from workers.ftps.resuming import Resumption

# The first byte of a TLS record (RFC 8446 §5.1): change_cipher_spec, alert, handshake, application data.
# Under TLS 1.2 a server that is quicker than we are has gone on to the first of them when we look.
_TLS_RECORDS = (b"\x14", b"\x15", b"\x16", b"\x17")
# OpenSSL's reasons that no second try changes: versions, ciphers, a client certificate that is wanted.
_NO_COMMON_TLS = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "WRONG_SSL_VERSION",
        "NO_PROTOCOLS_AVAILABLE",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    }
)
# How much clear text, sent where TLS was due, is worth showing.
_SHOWN_TEXT = 300


class RaggedEnd(LineLost):
    """TCP ended, or was reset, without TLS's close_notify: an end that proves nothing."""


class ClearText(ProtocolError):
    """The peer sent clear text where TLS was due. text: what it said, as far as it can be had."""

    def __init__(self, doing: str, text: str) -> None:
        super().__init__(f"{doing}: clear text where TLS was due" + (f": {text!r}" if text else ""))
        self.text = text


class Stream:
    """A connected socket, clear or TLS, with one owner. `close()` is idempotent and never blocks.

    name: what it is, for messages ("control", "data"). host: the address of the other end.
    """

    def __init__(self, sock: socket.socket, name: str, host: str) -> None:
        self.sock = sock
        self.name = name
        self.host = host
        self._failed: FtpsError | None = None
        self._answered = False  # the peer has begun its part of the TLS handshake
        sock.setblocking(False)  # once: a time-out set for each call is a system call, and a poll, of its own
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def dial(cls, host: str, port: int, until: float, name: str) -> Stream:
        """Resolve `host` and connect to the first of its addresses that answers. Raises ConnectFailed."""
        addresses = _resolve(host, port, until)
        failure: OSError | None = None
        for tried, (family, kind, proto, _, address) in enumerate(addresses):
            # A black-holed first address must not eat the time of the others.
            share = (until - time.monotonic()) / (len(addresses) - tried)
            if share <= 0:
                break
            sock = socket.socket(family, kind, proto)
            try:
                sock.settimeout(share)
                sock.connect(address)
                return cls(sock, name, address[0])
            except OSError as error:
                failure = error
                sock.close()
            except BaseException:
                sock.close()
                raise
        reason = (
            "no answer in time" if failure is None or isinstance(failure, TimeoutError) else failure.strerror
        )
        raise ConnectFailed(f"{name}: {host} port {port}: {reason or failure}") from failure

    def keep_alive(self, user_timeout_s: float) -> None:
        """Have TCP notice a dead peer by itself, and hold the firewall's entry during a long transfer."""
        sock = self.sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(user_timeout_s * 1000))

    def secured(self, context: ssl.SSLContext, host: str, until: float) -> Stream:
        """Shake hands, and return the stream that speaks TLS; this one must not be used any more.

        Raises CertificateRefused, ClearText, NoAnswer, LineLost, ProtocolError; the socket is closed then.
        """
        stream = self.wrapped(context, host)
        try:
            while wants := stream.shake_hands():
                stream.wait(wants, until)
        except BaseException:
            stream.close()
            raise
        return stream

    def wrapped(self, context: ssl.SSLContext, host: str, *, resumption: Resumption | None = None) -> Stream:
        """The stream that speaks TLS once `shake_hands` is done; this one must not be used any more.

        Raises ConnectFailed, LineLost; the socket is closed then.
        """
        sock: socket.socket = self.sock
        try:
            # suppress_ragged_eofs would make half a file look like a whole one (field note 15).
            secure = context.wrap_socket(
                sock,
                server_hostname=host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
            sock = secure
            if resumption is not None:
                resumption.offer(secure)
            return Stream(secure, self.name, self.host)
        except (OSError, ValueError) as error:
            sock.close()
            raise translate(error, f"{self.name}: TLS handshake") from error
        except BaseException:
            sock.close()
            raise

    def shake_hands(self) -> int:
        """Go on with the handshake as far as that needs no waiting; the first call says what we say first.

        Returns what to wait for before the next call (`select.POLLIN`, `POLLOUT`), 0 when it is done. Raises
        CertificateRefused, ClearText, LineLost, ProtocolError.
        """
        secure, doing = self.tls, f"{self.name}: TLS handshake"
        assert secure is not None
        try:
            # A look at the first byte of the answer before OpenSSL eats it: a server that is spoken to in the
            # wrong mode answers in clear text, and its words are the best explanation there is.
            if not self._answered:
                self._answered = _must_be_tls(secure, doing)
            secure.do_handshake()
        except ssl.SSLWantReadError:
            return select.POLLIN
        except ssl.SSLWantWriteError:
            return select.POLLOUT
        except OSError as error:
            raise _translated(error, secure, doing) from error
        return 0

    def wait(self, what: int, until: float, *, beside: Stream | None = None) -> bool:
        """Wait until this socket is ready for `what`, or there is something to be read on that of `beside`.

        Returns whether the latter is so; it may be no more than a TLS ticket. Raises NoAnswer.
        """
        poll = select.poll()
        poll.register(self.sock.fileno(), what)
        if beside is not None:
            poll.register(beside.sock.fileno(), select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(_left(until, self.name) * 1000)}
        if not ready:
            raise NoAnswer(f"{self.name}: no answer in time")
        return beside is not None and beside.sock.fileno() in ready

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """The TLS socket, or None on a stream in clear text."""
        return self.sock if isinstance(self.sock, ssl.SSLSocket) else None

    def read_into(self, buffer: memoryview, until: float) -> int:
        """Wait for bytes, take what has come as far as it fits, and return how many; 0 is a clean end.

        TLS gives one record at a time, 16 KiB at most: several together cost fewer system calls and turns of
        the caller's loop. Raises RaggedEnd, LineLost, NoAnswer, ProtocolError.
        """
        if self._failed is not None:
            raise self._failed
        _left(until, self.name)
        got = 0
        try:
            while got < len(buffer):
                try:
                    count = self.sock.recv_into(buffer[got:])
                except (BlockingIOError, ssl.SSLWantReadError):
                    if got:
                        break
                    if not _wait(self.sock, select.POLLIN, until):
                        raise TimeoutError from None
                    continue
                if not count:
                    break
                got += count
        except OSError as error:
            failed = _translated(error, self.sock, self.name)
            if not got:
                raise failed from error
            self._failed = failed  # after the bytes that came before it
        return got

    def read_now(self, size: int) -> bytes | None:
        """What has come already, without waiting; None: nothing; b"": the peer's end.

        Takes TLS 1.3's session tickets in on the way, which are no bytes of the application.
        """
        try:
            return self.sock.recv(size)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError as error:
            raise _translated(error, self.sock, self.name) from error

    def acknowledge(self) -> None:
        """Have the kernel acknowledge at once what it was about to acknowledge later."""
        if hasattr(socket, "TCP_QUICKACK"):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def write(self, data: bytes | memoryview, until: float) -> None:
        """Hand all of `data` to the kernel, which says nothing about the peer. Raises LineLost, NoAnswer."""
        view = memoryview(data)
        while view:
            view = view[self.write_some(view, until) :]

    def write_some(self, view: memoryview, until: float) -> int:
        """Hand part of `view` to the kernel, and return how much."""
        _left(until, self.name)
        try:
            while True:
                try:
                    return self.sock.send(view)
                except (BlockingIOError, ssl.SSLWantWriteError):
                    wants = select.POLLOUT
                except ssl.SSLWantReadError:
                    wants = select.POLLIN
                if not _wait(self.sock, wants, until):
                    raise TimeoutError
        except OSError as error:
            raise _translated(error, self.sock, self.name) from error

    def say_end(self, until: float) -> None:
        """Send close_notify (TLS) and FIN. Reading further, in the raw, remains possible."""
        try:
            secure = self.tls
            if secure is not None:
                _send_close_notify(secure, until)
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise _translated(error, self.sock, self.name) from error

    def close(self) -> None:
        """Close the socket, at once and without another word on it."""
        with contextlib.suppress(OSError):
            self.sock.close()

    def abandon(self) -> None:
        """After a fork: close this process's descriptor and touch nothing of TCP or TLS (R15)."""
        descriptor = self.sock.detach()
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _translated(error: OSError | ValueError, sock: socket.socket, doing: str) -> FtpsError:
    """`translate`, and what the peer said in clear text where that is the reason."""
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        # A server's failing child may write clear text into the TLS stream (field note 20). OpenSSL has
        # eaten the first five bytes; the rest tells enough.
        text = _clear_text(sock, doing)
        return ClearText(doing, f"…{text}" if text else "")
    return translate(error, doing)


def translate(error: OSError | ValueError, doing: str) -> FtpsError:
    """Say in our words what a socket or TLS exception means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CertificateRefused(f"{doing}: {error.verify_message or error}")
    # Python says OSError 0 for some of the ends that OpenSSL reports as "syscall".
    if (
        isinstance(error, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError)
        or getattr(error, "errno", 1) == 0
    ):
        return RaggedEnd(f"{doing}: the peer ended the connection without a word ({_said(error)})")
    if isinstance(error, TimeoutError):
        return NoAnswer(f"{doing}: no answer in time")
    if isinstance(error, ssl.SSLError) and error.reason in _NO_COMMON_TLS:
        return TlsRefused(f"{doing}: {error.reason}")
    if isinstance(error, ssl.SSLError):
        return ProtocolError(f"{doing}: {error.reason or error}")
    if isinstance(error, OSError):
        return LineLost(f"{doing}: {_said(error)}")
    return ConnectFailed(f"{doing}: {error}")


def _said(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _left(until: float, doing: str) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise NoAnswer(f"{doing}: no answer in time")
    return left


def _must_be_tls(secure: ssl.SSLSocket, doing: str) -> bool:
    """Whether the answer has begun. Raises ClearText if it can't be one in TLS."""
    try:
        first = socket.socket.recv(secure, 1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    if first and first not in _TLS_RECORDS:
        raise ClearText(doing, _clear_text(secure, doing))
    return True


def _clear_text(sock: socket.socket, doing: str) -> str:
    """What lies in the kernel's buffer, as far as it is text; of a data channel, nothing."""
    if not doing.startswith("control"):
        return ""
    with contextlib.suppress(OSError):
        # Past the TLS layer: SSLSocket.recv would hand the bytes to OpenSSL.
        raw = socket.socket.recv(sock, _SHOWN_TEXT)
        return raw.decode("ascii", "backslashreplace").strip()
    return ""


def _send_close_notify(secure: ssl.SSLSocket, until: float) -> None:
    """Send close_notify without waiting for the peer's."""
    while True:
        try:
            secure.unwrap()
            return
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            if not _wait(secure, select.POLLOUT, until):
                raise TimeoutError from None


def _wait(sock: socket.socket, what: int, until: float) -> bool:
    poll = select.poll()
    poll.register(sock.fileno(), what)
    return bool(poll.poll(max(0.0, until - time.monotonic()) * 1000))


_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def _resolve(host: str, port: int, until: float) -> Sequence[_Address]:
    """All addresses of `host`. Raises ConnectFailed.

    getaddrinfo takes no deadline, and a dead name server holds it for half a minute: a name is
    looked up in a thread of its own, which is left behind when the time is over.
    """
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        pass  # not an address, so a name
    found: list[_Address] = []
    failures: list[OSError | UnicodeError] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:  # UnicodeError: a label IDNA can't encode
            failures.append(error)

    thread = threading.Thread(target=look_up, name="towline-resolve", daemon=True)
    thread.start()
    thread.join(max(0.0, until - time.monotonic()))
    if found:
        return found
    if failures:
        raise ConnectFailed(f"{host}: {_said(failures[0])}") from failures[0]
    raise ConnectFailed(f"{host}: the name was not resolved in time")

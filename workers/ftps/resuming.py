"""The control connection's TLS session, as data channels resume it: the current one, every time (design R7).

Python's way to it is `SSLSocket.session`, and on some Pythons each look at that leaks a copy of the session,
some 7 KiB: 700 MB in 100,000 files (https://github.com/python/cpython/issues/116810). 3.11 will never be
mended. There the session goes from one connection to the other inside OpenSSL, and no look is taken; 0005 in
docs/decisions tells why that may be done.
"""

from __future__ import annotations

import _ssl
import ctypes
import ssl
import sys
import time

LOOKING_LEAKS = sys.version_info < (3, 12, 8) or (3, 13) <= sys.version_info < (3, 13, 1)
# Where neither of the two ways is open, a session is looked at anew only so often; servers renew tickets far
# more rarely, if at all.
_KEPT_S = 300.0


class Resumption:
    """What the data channels of one control connection resume.

    ends_at: monotonic time after which what was offered last may be refused; None as long as nothing was.
    """

    __slots__ = ("_control", "_seen", "_seen_at", "ends_at")

    def __init__(self, control: ssl.SSLSocket) -> None:
        """control: under TLS 1.3 its session comes, and is renewed, with what is read."""
        self.ends_at: float | None = None
        self._control = control
        self._seen: ssl.SSLSession | None = None
        self._seen_at = 0.0

    def offer(self, data: ssl.SSLSocket) -> None:
        """Have `data`, of the same context and before its handshake, ask to resume the session."""
        if LOOKING_LEAKS and _OPENSSL is not None:
            ours, theirs = _openssl_of(self._control), _openssl_of(data)
            if ours and theirs:
                self._hand_over(_OPENSSL, ours, theirs)
                return
        now = time.monotonic()
        if not LOOKING_LEAKS or self._seen is None or now - self._seen_at >= _KEPT_S:
            self._seen, self._seen_at = self._control.session, now
        if self._seen is not None:
            self._ends(self._seen.time, self._seen.timeout, self._seen.ticket_lifetime_hint)
            data.session = self._seen

    def _hand_over(self, openssl: ctypes.PyDLL, ours: int, theirs: int) -> None:
        session = openssl.SSL_get_session(ours)
        if not session:
            return
        self._ends(
            openssl.SSL_SESSION_get_time(session),
            openssl.SSL_SESSION_get_timeout(session),
            openssl.SSL_SESSION_get_ticket_lifetime_hint(session),
        )
        # A copy, as Python makes one: OpenSSL spoils the session of a connection that breaks.
        copy = openssl.SSL_SESSION_dup(session)
        if copy:
            openssl.SSL_set_session(theirs, copy)
            openssl.SSL_SESSION_free(copy)

    def _ends(self, begun: int, timeout: int, hint: int) -> None:
        """With a tenth of its life to spare. Epoch seconds and seconds; hint: the server's, 0 for none."""
        life = min(timeout, hint or timeout)
        self.ends_at = time.monotonic() + begun - time.time() + life * 0.9


_POINTER = ctypes.c_void_p
_CALLS = (
    ("SSL_get_session", _POINTER, (_POINTER,)),
    ("SSL_set_session", ctypes.c_int, (_POINTER, _POINTER)),
    ("SSL_SESSION_dup", _POINTER, (_POINTER,)),
    ("SSL_SESSION_free", None, (_POINTER,)),
    ("SSL_SESSION_get_time", ctypes.c_long, (_POINTER,)),
    ("SSL_SESSION_get_timeout", ctypes.c_long, (_POINTER,)),
    ("SSL_SESSION_get_ticket_lifetime_hint", ctypes.c_ulong, (_POINTER,)),
)


def _load() -> ctypes.PyDLL | None:
    """The OpenSSL that Python's `ssl` works with; None where it is linked so that it can't be called."""
    try:
        library = ctypes.PyDLL(_ssl.__file__)  # which finds what that module itself is linked with
        for name, result, arguments in _CALLS:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (AttributeError, OSError):
        return None
    return library


_OPENSSL = _load() if LOOKING_LEAKS else None


def _openssl_of(secure: ssl.SSLSocket) -> int | None:
    """OpenSSL's own object behind a TLS socket; None where CPython does not keep it where we know it to be.

    In Modules/_ssl.c of all that leak: `PyObject_HEAD PyObject *Socket; SSL *ssl; PySSLContext *ctx;`. That
    the third is the socket's context shows that the second is what it should be.
    """
    inner = secure._sslobj  # type: ignore[attr-defined]
    if inner is None or sys.implementation.name != "cpython":
        return None
    _, openssl, context = (_POINTER * 3).from_address(id(inner) + object.__basicsize__)
    return openssl if context == id(secure.context) else None

"""A door before a real server that counts who is inside: bytes go both ways, unread.

Nothing is sampled. A line more can only come by the door, so whenever one comes, all that are inside are
counted; whose client has ended its side, as the kernel knows at that moment, is not inside any more.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Self

_ESTABLISHED = 1  # of TCP_INFO's first byte, tcp(7)
_BLOCK = 65536


class Turnstile:
    """Listens on a port of its own, for control connections; passive data goes to the server directly.

    most: so many lines were inside at the same moment. came: lines in all.
    """

    def __init__(self, host: str, port: int) -> None:
        self.most = self.came = 0
        self._server = (host, port)
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._bell, self._ear = socket.socketpair()
        self._thread = threading.Thread(target=self._work, name="turnstile", daemon=True)
        self._thread.start()

    def now(self) -> int:
        """How many are inside now."""
        return sum(_is_established(client) for client in list(self._clients))

    def forget(self) -> None:
        """Count anew, from those who are inside now."""
        self.most = self.now()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bell.send(b"!")
        self._thread.join()
        for one in (*self._peers, self._listener, self._bell, self._ear):
            one.close()

    def _work(self) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._listener, selectors.EVENT_READ)
            waiting.register(self._ear, selectors.EVENT_READ)
            while True:
                for key, _ in waiting.select():
                    end = key.fileobj
                    assert isinstance(end, socket.socket)
                    if end is self._ear:
                        return
                    if end is self._listener:
                        self._admit(waiting)
                    elif end in self._peers:
                        self._pass(end, waiting)

    def _admit(self, waiting: selectors.BaseSelector) -> None:
        client, _ = self._listener.accept()
        self.came += 1
        self._clients.add(client)
        self.most = max(self.most, self.now())
        try:
            server = socket.create_connection(self._server)
        except OSError:
            self._clients.discard(client)
            client.close()
            return
        for one, other in ((client, server), (server, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers[one] = other
            waiting.register(one, selectors.EVENT_READ)

    def _pass(self, end: socket.socket, waiting: selectors.BaseSelector) -> None:
        """What has come at one end goes out at the other; an end ends both."""
        other = self._peers[end]
        with contextlib.suppress(OSError):
            block = end.recv(_BLOCK)
            if block:
                other.sendall(block)
                return
        for one in (end, other):
            waiting.unregister(one)
            del self._peers[one]
            self._clients.discard(one)
            one.close()


def _is_established(client: socket.socket) -> bool:
    try:
        return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED
    except OSError:  # closed by the door just now
        return False

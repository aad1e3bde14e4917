"""Active mode: we listen, and the server connects. RFC 959 §3.2 (PORT), RFC 2428 §2 (EPRT).

The roles in TLS do not turn round: the client still begins the handshake (RFC 4217 §7), and resumes.
"""

from __future__ import annotations

import errno
import random
import select
import socket
import time
from typing import Any

from workers.ftps.control import Control, refusal
from workers.ftps.data import NEVER
from workers.ftps.errors import NoAnswer, TransferBroken
from workers.ftps.stream import Stream

# Once the server has said something else than that it connects, it will hardly connect any more.
_LAST_CHANCE_S = 1.0


class Door:
    """A listening socket for one data connection. It lives as long as one command; a context manager.

    It listens on the control connection's own address, and lets in nobody but the control connection's peer:
    an open port is an invitation to whoever scans for one (RFC 2577 §3).
    """

    def __init__(self, control: Control, ports: tuple[int, int]) -> None:
        """ports: the first and the last that may be used. Raises TransferBroken where none is free."""
        self._control = control
        ours = control.stream.sock.getsockname()
        self._ours: str = ours[0]
        self._theirs: str = control.stream.sock.getpeername()[0]
        self._socket = socket.socket(control.stream.sock.family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.port = self._bind(ours, range(ports[0], ports[1] + 1))
            self._socket.listen(8)
            self._socket.settimeout(0)
        except OSError as error:
            self._socket.close()
            raise TransferBroken(f"can't listen on {self._ours}: {error.strerror or error}") from error

    def _bind(self, ours: tuple[Any, ...], ports: range) -> int:
        # From a random one on: a server that always connects from port 20 can't use a pair of ports again
        # for the minute that TCP remembers it.
        first = random.randrange(len(ports))
        order: list[int] = [*ports[first:], *ports[:first]]
        for port in order:
            try:
                self._socket.bind((ours[0], port, *ours[2:]))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
        raise OSError(errno.EADDRINUSE, f"none of the ports {ports[0]} to {ports[-1]} is free")

    def tell(self, *, eprt: bool, timeout: float) -> bool:
        """Tell the server where we listen: by EPRT, or by PORT where it doesn't do that and can.

        eprt: False where it is known not to. Returns whether it took EPRT. Raises Refused, TransferBroken.
        """
        six = self._socket.family == socket.AF_INET6
        if eprt or six:
            where = f"|{2 if six else 1}|{self._ours.partition('%')[0]}|{self.port}|"
            reply = self._control.ask("EPRT", where.encode(), until=time.monotonic() + timeout)
            if not reply.refuses:
                return True
            if reply.code not in NEVER:
                raise TransferBroken(f"EPRT: {reply}")
            if six:
                raise refusal("EPRT", reply)
        numbers = [*self._ours.split("."), str(self.port // 256), str(self.port % 256)]
        reply = self._control.ask("PORT", ",".join(numbers).encode(), until=time.monotonic() + timeout)
        if reply.refuses:
            raise refusal("PORT", reply) if reply.code >= 500 else TransferBroken(f"PORT: {reply}")
        return False

    def admit(self, until: float) -> Stream:
        """The server's connection. Anybody else's is closed unread. Raises NoAnswer."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        if self._control.holds_bytes:
            until = min(until, time.monotonic() + _LAST_CHANCE_S)
        else:
            poll.register(self._control.stream.sock.fileno(), select.POLLIN)
        while (left := until - time.monotonic()) > 0:
            ready = {descriptor for descriptor, _ in poll.poll(left * 1000)}
            if ready == {self._control.stream.sock.fileno()}:
                # A refusal, the line's end, or only a TLS ticket.
                poll.unregister(self._control.stream.sock.fileno())
                until = min(until, time.monotonic() + _LAST_CHANCE_S)
                continue
            try:
                came, address = self._socket.accept()
            except OSError:
                continue  # nobody yet, or he has gone again
            if address[0] == self._theirs:
                return Stream(came, "data", address[0])
            came.close()
        raise NoAnswer(f"data: the server has not connected to us on {self._ours} port {self.port}")

    def close(self) -> None:
        """Listen no longer. Idempotent."""
        self._socket.close()

"""A proxy that doesn't look inside: every port of a loopback address leads to the same port of another.

EPSV names a port only, so a client that reaches the control port through 127.0.0.2 makes its data connections
through it as well. TLS passes untouched; the proxy knows only bytes, and on which kind of line they are.

    with CuttingProxy.before(server) as proxy:
        ...                                     # the client talks to proxy.address, server.port
        proxy.control.swallow()                 # what is open now: a black hole from here on
        proxy.data.fault_next("reset", after=100_000)   # the next data line: RST after 100,000 bytes
        proxy.data.rate = 50_000                # bytes a second, each way, lines opened from now on
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Self

from tests.faults.lines import BLOCK, Flow, Kind, Lane, Line
from tests.servers.server import FtpServer


class CuttingProxy:
    """Listens on `address`, on the control port and each data port, and passes on to `target`."""

    def __init__(
        self,
        control_port: int,
        data_ports: Iterable[int],
        *,
        address: str = "127.0.0.2",
        target: str = "127.0.0.1",
    ) -> None:
        self.address = address
        self.port = control_port
        self.target = target
        self.control = Lane(self._do)
        self.data = Lane(self._do)
        self._selector = selectors.DefaultSelector()
        self._orders: deque[tuple[Callable[[], int], list[int], threading.Event]] = deque()
        self._bell, self._ear = socket.socketpair()
        self._running = True
        self._now = time.monotonic()
        self._listeners: list[socket.socket] = []
        for lane in (self.control, self.data):
            lane.strike = lambda kind, lane=lane: self._strike(lane, kind)  # type: ignore[misc]
        try:
            for port in (control_port, *data_ports):
                self._listen(port, self.control if port == control_port else self.data)
        except BaseException:
            self._drop_everything()
            raise
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="cutting-proxy", daemon=True)
        self._thread.start()

    @classmethod
    def before(cls, server: FtpServer, *, address: str = "127.0.0.2") -> Self:
        """A proxy on `address` for all ports of a server."""
        return cls(server.port, server.passive_ports, address=address, target=server.host)

    def cut_control(self) -> int:
        """FIN on the control lines now open."""
        return self.control.cut()

    def reset_control(self) -> int:
        """RST on the control lines now open."""
        return self.control.reset()

    def swallow_control(self) -> int:
        """A black hole in the control lines now open."""
        return self.control.swallow()

    def close(self) -> None:
        """Resets what is open and stops listening."""
        if self._running:
            self._running = False
            with contextlib.suppress(OSError):  # the thread may have seen it already
                self._bell.send(b"!")
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- in the proxy's thread

    def _run(self) -> None:
        try:
            while self._running:
                for key, events in self._selector.select(self._patience()):
                    if key.fileobj is self._ear:
                        self._ear.recv(4096)
                    elif isinstance(key.data, Lane):
                        self._accept(key.fileobj, key.data)  # type: ignore[arg-type]
                    elif key.data in key.data.lane.lines:  # else an event of this round has ended it
                        self._pass_on(key.data, key.fileobj, events)  # type: ignore[arg-type]
                while self._orders:
                    order, answer, done = self._orders.popleft()
                    answer.append(order())
                    done.set()
                self._now = time.monotonic()
                for line in self._resting():
                    self._watch(line)
        finally:
            self._drop_everything()

    def _do(self, order: Callable[[], int]) -> int:
        """Carries out an order in the proxy's thread; returns when it is done."""
        answer: list[int] = []
        done = threading.Event()
        self._orders.append((order, answer, done))
        self._bell.send(b"!")
        if not done.wait(60):
            raise RuntimeError("the proxy's thread doesn't answer")
        return answer[0]

    def _listen(self, port: int, lane: Lane) -> None:
        listener = socket.socket()
        self._listeners.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address, port))
        listener.listen(64)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, lane)

    def _accept(self, listener: socket.socket, lane: Lane) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        lane.made += 1
        try:
            server = socket.create_connection((self.target, listener.getsockname()[1]), timeout=30)
        except OSError:
            _reset(client)  # nobody is there
            return
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = Line(lane, client, server)
        lane.lines.add(line)
        if not self._strike_if_due(line):
            self._watch(line)

    def _pass_on(self, line: Line, end: socket.socket, events: int) -> None:
        for flow in line.flows:
            if events & selectors.EVENT_READ and flow.source is end and not flow.waiting:
                self._read(line, flow)
            if line in line.lane.lines and flow.waiting and (flow.sink is end or flow.source is end):
                self._write(line, flow)
        if line not in line.lane.lines or self._strike_if_due(line):
            return
        for flow in line.flows:
            if flow.ended and not flow.waiting and not flow.closed and not line.swallowing:
                flow.closed = True
                with contextlib.suppress(OSError):
                    flow.sink.shutdown(socket.SHUT_WR)
        if all(flow.closed for flow in line.flows):
            self._drop(line)
        else:
            self._watch(line)

    def _read(self, line: Line, flow: Flow) -> None:
        most = BLOCK if line.swallowing else line.allowance(flow)
        if most == 0 or flow.ended:
            return
        try:
            block = flow.source.recv(most)
        except BlockingIOError:
            return
        except OSError:
            self._broken(line, flow.source)
            return
        if not block:
            flow.ended = True
            if line.swallowing:
                self._broken(line, flow.source)
        elif not line.swallowing:
            flow.waiting = block
            if line.rate is not None:
                flow.rested_until = max(time.monotonic(), flow.rested_until) + len(block) / line.rate

    def _write(self, line: Line, flow: Flow) -> None:
        try:
            sent = flow.sink.send(flow.waiting)
        except BlockingIOError:
            return
        except OSError:
            self._broken(line, flow.sink)
            return
        flow.waiting = flow.waiting[sent:]
        flow.passed += sent
        if flow is line.up:
            line.lane.bytes_up += sent
        else:
            line.lane.bytes_down += sent

    def _broken(self, line: Line, end: socket.socket) -> None:
        """An end is gone. The other learns of it, unless the line is a black hole."""
        if not line.swallowing:
            self._drop(line, _reset)
            return
        for flow in line.flows:
            if flow.source is end:
                self._close(flow, socket.socket.close)
        if all(flow.source.fileno() == -1 for flow in line.flows):
            line.lane.lines.discard(line)

    def _strike_if_due(self, line: Line) -> bool:
        """Whether the line's fault has ended it."""
        if line.fault is None or not line.due():
            return False
        fault, line.fault = line.fault, None
        return self._strike_line(line, fault.kind)

    def _strike(self, lane: Lane, kind: Kind) -> int:
        alive = lane.open
        for line in list(lane.lines):  # cut and reset also clear away what is left of black holes
            self._strike_line(line, kind)
        return alive

    def _strike_line(self, line: Line, kind: Kind) -> bool:
        if kind == "swallow":
            line.swallowing = True
            for flow in line.flows:
                flow.waiting = b""
            self._watch(line)
            return False
        self._drop(line, _reset if kind == "reset" else _cut)
        return True

    def _drop(self, line: Line, end_it: Callable[[socket.socket], None] = socket.socket.close) -> None:
        line.lane.lines.discard(line)
        for flow in line.flows:
            self._close(flow, end_it)

    def _close(self, flow: Flow, end_it: Callable[[socket.socket], None]) -> None:
        if flow.watched:
            self._selector.unregister(flow.source)
            flow.watched = 0
        end_it(flow.source)

    def _watch(self, line: Line) -> None:
        """Tells the selector what this line waits for now."""
        now = self._now
        for flow, back in ((line.up, line.down), (line.down, line.up)):
            end = flow.source
            if end.fileno() == -1:
                continue
            hungry = not flow.ended and not flow.waiting
            rested = line.swallowing or (flow.rested_until <= now and line.allowance(flow) > 0)
            events = selectors.EVENT_READ if hungry and rested else 0
            if back.waiting:
                events |= selectors.EVENT_WRITE
            if events == flow.watched:
                continue
            if not flow.watched:
                self._selector.register(end, events, line)
            elif not events:
                self._selector.unregister(end)
            else:
                self._selector.modify(end, events, line)
            flow.watched = events

    def _resting(self) -> list[Line]:
        return [line for lane in (self.control, self.data) for line in lane.lines if line.rate is not None]

    def _patience(self) -> float | None:
        """Seconds until a line of limited rate may go on."""
        # By the same clock that found a flow still resting: one whose rest ended since is watched by nobody.
        now = self._now
        pauses = [flow.rested_until - now for line in self._resting() for flow in line.flows]
        return min((pause for pause in pauses if pause > 0), default=None)

    def _drop_everything(self) -> None:
        for lane in (self.control, self.data):
            for line in list(lane.lines):
                self._drop(line, _reset)
        for listener in self._listeners:
            listener.close()
        self._selector.close()
        self._bell.close()
        self._ear.close()


def _reset(end: socket.socket) -> None:
    """Ends a connection by RST."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def _cut(end: socket.socket) -> None:
    """Ends a connection by FIN. What has come unread would turn it into RST, so that is read first."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_WR)
        while end.recv(BLOCK):
            pass
    end.close()

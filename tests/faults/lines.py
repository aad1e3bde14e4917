"""What the proxy knows of a line: its two flows of bytes, its planned fault, and the lane it belongs to."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

BLOCK = 64 * 1024

Kind = Literal["cut", "reset", "swallow"]
Way = Literal["down", "up", "both"]  # down: from the server to the client


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a line once `after` bytes, counted in the way given, have passed: exactly so many pass.

    cut: FIN to both ends. reset: RST to both. swallow: both stay connected, and no byte, FIN or RST passes.
    """

    kind: Kind
    after: int = 0
    counting: Way = "down"


class Flow:
    """One direction of a line."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.waiting = b""  # read, and not yet written
        self.passed = 0
        self.ended = False  # the source has said FIN
        self.closed = False  # … and the sink was told
        self.rested_until = 0.0  # monotonic: a limited rate
        self.watched = 0  # the events the proxy now waits for on the source


class Line:
    """A connection through the proxy."""

    def __init__(self, lane: Lane, client: socket.socket, server: socket.socket) -> None:
        self.lane = lane
        self.up = Flow(client, server)
        self.down = Flow(server, client)
        self.rate = lane.rate
        self.fault = lane.faults.popleft() if lane.faults else None
        self.swallowing = False

    @property
    def flows(self) -> tuple[Flow, Flow]:
        return self.up, self.down

    def allowance(self, flow: Flow) -> int:
        """How many bytes may be read now; 0 when the fault is due."""
        most = BLOCK if self.rate is None else max(1, min(BLOCK, int(self.rate / 20)))
        if self.fault is None or not self._counts(flow):
            return most
        return max(0, min(most, self.fault.after - self.counted()))

    def counted(self) -> int:
        """Bytes that the fault counts."""
        return sum(flow.passed + len(flow.waiting) for flow in self.flows if self._counts(flow))

    def due(self) -> bool:
        """Whether the fault's bytes have all passed."""
        idle = not any(flow.waiting for flow in self.flows if self._counts(flow))
        return self.fault is not None and idle and self.counted() >= self.fault.after

    def _counts(self, flow: Flow) -> bool:
        assert self.fault is not None
        return self.fault.counting == "both" or (self.fault.counting == "up") == (flow is self.up)


class Lane:
    """All lines of one kind, control or data, and what shall happen to them."""

    def __init__(self, do: Callable[[Callable[[], int]], int]) -> None:
        self.made = 0  # connections accepted so far
        self.bytes_up = 0
        self.bytes_down = 0
        self.rate: float | None = None  # bytes a second each way, for lines opened from now on
        self.faults: deque[Fault] = deque()
        self.lines: set[Line] = set()  # also the black holes that an end still holds
        self._do = do
        self.strike: Callable[[Kind], int] = lambda _: 0  # set by the proxy

    @property
    def open(self) -> int:
        """Lines through which bytes can pass."""
        return sum(not line.swallowing for line in self.lines)

    def carried(self, more_than: int) -> int:
        """Lines now open through each of which more than so many bytes have come down."""
        return self._do(lambda: sum(line.down.passed > more_than for line in self.lines))

    def pace(self, rate: float) -> None:
        """The rate from now on, of the lines now open as well."""
        self.rate = rate
        self._do(lambda: self._pace(rate))

    def fault_next(self, kind: Kind, *, after: int = 0, counting: Way = "down", lines: int = 1) -> None:
        """Plans a fault for each of the next lines; those after them pass untouched."""
        self.faults.extend([Fault(kind, after, counting)] * lines)

    def cut(self) -> int:
        """FIN to both ends of every line now open; how many there were."""
        return self._do(lambda: self.strike("cut"))

    def reset(self) -> int:
        """RST to both ends of every line now open; how many there were."""
        return self._do(lambda: self.strike("reset"))

    def swallow(self) -> int:
        """Makes every line now open a black hole; how many there were."""
        return self._do(lambda: self.strike("swallow"))

    def _pace(self, rate: float) -> int:
        for line in self.lines:
            line.rate = rate
        return len(self.lines)

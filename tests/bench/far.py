"""A far link: two network namespaces, joined by TUN devices and a forwarder that holds each packet back.

The kernel's own netem is a module that many machines lack, and a TCP proxy would hide the connect's round
trip. The namespaces have no names and vanish with their last descriptor, so nothing is left behind. It takes
root, /dev/net/tun, and Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator

from tests.bench.flights import Flights, carries_something

NEAR, FAR = "10.77.0.1", "10.77.0.2"
MTU = 1500

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_SIOCSIFADDR, _SIOCSIFDSTADDR = 0x8916, 0x8918  # linux/sockios.h
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_NAME = b"bench0"

_libc = ctypes.CDLL(None, use_errno=True)


class NoFarLink(Exception):
    """A far link can't be had here; the message says why."""


class Namespace:
    """A network namespace with a TUN device in it. tun: the descriptor on which its packets come and go."""

    def __init__(self, address: str, peer: str) -> None:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._descriptor = -1
        self.tun = -1
        try:
            _checked(_libc.unshare(_CLONE_NEWNET), "unshare")
            try:
                self._descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
                self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                fcntl.ioctl(self.tun, _TUNSETIFF, struct.pack("16sH22x", _NAME, _IFF_TUN | _IFF_NO_PI))
                _configure(address, peer)
            finally:
                _checked(_libc.setns(home, _CLONE_NEWNET), "setns")
        except OSError as refused:
            self.close()
            raise NoFarLink(f"no network namespace with a TUN device: {refused}") from refused
        finally:
            os.close(home)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and the processes it starts, live in the namespace for as long as the block lasts."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _checked(_libc.setns(self._descriptor, _CLONE_NEWNET), "setns")
            try:
                yield
            finally:
                _checked(_libc.setns(home, _CLONE_NEWNET), "setns")
        finally:
            os.close(home)

    def close(self) -> None:
        """Let go of it."""
        for descriptor in (self.tun, self._descriptor):
            if descriptor >= 0:
                os.close(descriptor)
        self.tun = self._descriptor = -1


class FarLink:
    """Two namespaces, `near` and `far`, `one_way_s` seconds apart. Raises NoFarLink."""

    near_address, far_address = NEAR, FAR

    def __init__(self, one_way_s: float) -> None:
        self.near = Namespace(NEAR, FAR)
        try:
            self.far = Namespace(FAR, NEAR)
        except BaseException:
            self.near.close()
            raise
        self._one_way_s = one_way_s
        self._flights = Flights()
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._forward, name="bench-far-link", daemon=True)
        self._thread.start()

    @property
    def round_trips(self) -> int:
        """How often something was waited for, there and back, since `forget()`."""
        return self._flights.round_trips

    def forget(self) -> None:
        """Count from nought again. What is still under way counts for nothing."""
        self._flights = Flights()

    def close(self) -> None:
        """End the forwarder, and both namespaces."""
        os.close(self._woken)
        self._thread.join()
        os.close(self._wake)
        self.near.close()
        self.far.close()

    def _forward(self) -> None:
        """Take each packet in, and hand it over when its time has come."""
        near, far = self.near.tun, self.far.tun
        under_way: list[tuple[float, int, int, bytes, int, Flights]] = []
        number = 0
        while True:
            wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
            ready, _, _ = select.select([near, far, self._wake], [], [], wait)
            if self._wake in ready:
                return
            flights = self._flights
            for tun in ready:
                with contextlib.suppress(BlockingIOError):
                    while packet := os.read(tun, MTU + 4):
                        count = -1
                        if carries_something(packet):
                            count = flights.sent_near() if tun == near else flights.sent_far()
                        number += 1
                        due = time.monotonic() + self._one_way_s
                        target = far if tun == near else near
                        heapq.heappush(under_way, (due, number, target, packet, count, flights))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, target, packet, count, flights = heapq.heappop(under_way)
                if count >= 0:
                    (flights.came_near if target == near else flights.came_far)(count)
                with contextlib.suppress(OSError):  # a full queue drops packets, as a real link does
                    os.write(target, packet)


def _configure(address: str, peer: str) -> None:
    """Give the namespace's TUN device its address and the other's, and bring it and loopback up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for request, told in ((_SIOCSIFADDR, address), (_SIOCSIFDSTADDR, peer)):
            inner = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(told))
            fcntl.ioctl(asking, request, struct.pack("16s16s8x", _NAME, inner))
        for name in (_NAME, b"lo"):
            fcntl.ioctl(asking, _SIOCSIFFLAGS, struct.pack("16sH22x", name, _IFF_UP))


def _checked(result: int, doing: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{doing}: {os.strerror(code)}")

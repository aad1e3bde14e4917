"""How many round trips a conversation took, from the packets a link has carried. Pure.

Each side has a clock that counts the round trips behind what it knows (Lamport's). A packet carries its
sender's clock; the far side's carry one more, since what they answer has come there and goes back. Whoever
gets a packet with a higher count goes on from it. So the near clock grows by one for each time that something
was waited for, there and back; it does not grow for what is sent ahead without waiting, nor for a busy
machine. Packets that only acknowledge are left out: nobody waits for those.
"""

from __future__ import annotations

FIN_OR_SYN = 0x03


class Flights:
    """The two clocks. Told of each packet when it is sent and when it arrives."""

    def __init__(self) -> None:
        self.round_trips = 0
        self._far = 0

    def sent_near(self) -> int:
        """A packet leaves the near side; returns the count that it carries."""
        return self.round_trips

    def sent_far(self) -> int:
        """A packet leaves the far side."""
        return self._far + 1

    def came_near(self, count: int) -> None:
        """A packet with this count has arrived at the near side."""
        self.round_trips = max(self.round_trips, count)

    def came_far(self, count: int) -> None:
        """A packet with this count has arrived at the far side."""
        self._far = max(self._far, count)


def carries_something(packet: bytes) -> bool:
    """Whether an IPv4 packet holds a TCP segment with data, SYN or FIN (RFC 791 §3.1, RFC 9293 §3.1)."""
    header = (packet[0] & 0x0F) * 4
    if packet[0] >> 4 != 4 or packet[9] != 6 or len(packet) < header + 20:
        return False
    payload = int.from_bytes(packet[2:4], "big") - header - (packet[header + 12] >> 4) * 4
    return payload > 0 or bool(packet[header + 13] & FIN_OR_SYN)

"""Round trips, as the far link counts them, without a link."""

from __future__ import annotations

import struct

from tests.bench.flights import Flights, carries_something

SYN, ACK, FIN = 0x02, 0x10, 0x01


def asks_and_waits(flights: Flights, times: int) -> None:
    for _ in range(times):
        flights.came_far(flights.sent_near())
        flights.came_near(flights.sent_far())


def test_a_question_and_its_answer_are_a_round_trip() -> None:
    """Each time something is waited for, there and back, the count grows by one."""
    flights = Flights()
    asks_and_waits(flights, 3)
    assert flights.round_trips == 3


def test_what_is_sent_together_is_waited_for_once() -> None:
    """Five questions in one flight cost what one costs."""
    flights = Flights()
    questions = [flights.sent_near() for _ in range(5)]
    for question in questions:
        flights.came_far(question)
    for answer in [flights.sent_far() for _ in range(5)]:
        flights.came_near(answer)
    assert flights.round_trips == 1


def test_what_the_other_side_sends_unasked_costs_its_way_once() -> None:
    """A server that speaks first, and goes on speaking, adds one: the way its words take."""
    flights = Flights()
    for _ in range(4):
        flights.came_near(flights.sent_far())
    assert flights.round_trips == 1


def segment(flags: int, payload: bytes = b"", *, protocol: int = 6) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", 21, 40_000, 0, 0, 5 << 4, flags, 1000, 0, 0) + payload
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, protocol, 0, b"", b"") + tcp


def test_bare_acknowledgements_carry_nothing() -> None:
    """Nobody waits for an ACK; for data, SYN and FIN somebody does."""
    assert not carries_something(segment(ACK))
    assert carries_something(segment(ACK, b"220 hello\r\n"))
    assert carries_something(segment(SYN))
    assert carries_something(segment(FIN | ACK))


def test_other_packets_carry_nothing() -> None:
    """IPv6's router solicitations come through a TUN device as well, and UDP might."""
    assert not carries_something(segment(ACK, b"x", protocol=17))
    assert not carries_something(b"\x60" + bytes(60))

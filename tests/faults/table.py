"""The table: what comes of every command of the dialogue under every fault. One outcome each.

    .   done whole, and the line goes on
    +   done whole, and the line is not used again
    ~   transient: what was asked is not done, or not known to be; it is done on a new connection
    p   nothing but a good last reply is missing: proven whole on a new connection, not sent again (R10)
    R   refused: the server's no to this command, with its code; the line goes on
    s   refused as by R, and then the file is sent by STOR from its beginning: the no is of going on with it
    M   there is no such file; the line goes on
    L   the login is refused for good
    T   TLS, or privacy of data, is refused for good
    -   there is nothing to tell: the fault can't befall this command, or nobody could know it

What does the asking is in uses.py, the faults are in acts.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults import acts

REPLIES: dict[str, acts.Act] = {
    "421": acts.farewell("421 Too busy."),
    **{code: acts.answer(f"{code} Not this one.") for code in ("425", "426", "450", "451", "452")},
    **{code: acts.answer(f"{code} Not this one.") for code in ("500", "502", "550", "552")},
    "530": acts.answer("530 Please log in with USER and PASS."),
    "denied": acts.answer("530 Access denied."),
    "silence": acts.silence,
    "close": acts.close,
    "reset": acts.reset_line,
    "garbage": acts.garbage,
    "clear": acts.clear_in_tls(),
    "line": acts.endless_line,
    "reply": acts.endless_reply,
    "drip": acts.dripping(),
    "bytes": acts.in_pieces,
    "lines": acts.in_many_lines,
    "old226": acts.stale("226 Of long ago."),
    "old200": acts.stale("200 Just what a NOOP would like."),
    "behind": acts.clear_behind_234(),
}
"""In answer to a command. 530: the login is gone; denied: 530 of this command only. line, reply: endless;
bytes: byte by byte; lines: a reply of many lines, with digits in its body; old…: one reply more than is due;
behind: clear text behind the 234."""

AT_COMMANDS = """
          421 425 426 450 451 452 500 502 530 550 552 denied silence close reset garbage clear line reply drip bytes lines old226 old200 behind
CONNECT    ~   ~   ~   ~   ~   ~   ~   ~   ~   ~   ~     ~      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
AUTH       ~   ~   ~   ~   ~   ~   T   T   T   T   T     T      ~      ~     ~      ~      T    ~     ~    ~    .     .     ~      ~      ~
USER       ~   ~   ~   ~   ~   ~   L   L   L   L   L     L      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
PASS       ~   ~   ~   ~   ~   ~   L   L   L   L   L     L      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
PBSZ       ~   ~   ~   ~   ~   ~   T   T   ~   T   T     T      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
PROT       ~   ~   ~   ~   ~   ~   T   T   ~   T   T     T      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
TYPE       ~   ~   ~   ~   ~   ~   ~   ~   ~   ~   ~     ~      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
FEAT       ~   ~   ~   ~   ~   ~   .   .   ~   .   .     .      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
OPTS       ~   .   .   .   .   .   .   .   ~   .   .     .      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
NOOP       ~   R   R   R   R   R   R   R   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     +      +      -
EPSV       ~   ~   ~   ~   ~   ~   .   .   ~   ~   ~     ~      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
PASV       ~   ~   ~   ~   ~   ~   R   R   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
EPRT       ~   ~   ~   ~   ~   ~   .   .   ~   ~   ~     ~      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
PORT       ~   ~   ~   ~   ~   ~   R   R   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
REST       ~   R   R   R   R   R   R   R   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
RETR       ~   ~   ~   R   ~   R   R   R   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     +      +      -
MLSD       ~   ~   ~   R   ~   R   .   .   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     +      +      -
LIST       ~   ~   ~   R   ~   R   R   R   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     +      +      -
STOR       ~   ~   ~   R   ~   R   R   R   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     +      +      -
APPE       ~   ~   ~   s   ~   R   s   s   ~   s   R     s      ~      ~     ~      ~      ~    ~     ~    ~    .     .     +      +      -
SIZE       ~   R   R   R   R   R   .   .   ~   M   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
MDTM       ~   R   R   R   R   R   .   .   ~   M   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
MLST       ~   .   .   .   .   .   .   .   ~   .   .     .      ~      ~     ~      ~      ~    ~     ~    ~    .     .     +      +      -
MFMT       ~   R   R   R   R   R   .   .   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      +      -
SETTIME    ~   .   .   .   .   .   .   .   ~   .   .     .      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      +      -
RNFR       ~   R   R   R   R   R   R   R   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
RNTO       ~   R   R   R   R   R   R   R   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     +      +      -
DELE       ~   R   R   R   R   R   R   R   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     +      +      -
MKD        ~   R   R   R   R   R   R   R   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     +      +      -
CHOOSE     ~   .   .   .   .   .   .   .   ~   .   .     .      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      ~      -
HASH       ~   R   R   R   R   R   .   .   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      +      -
XSHA512    ~   R   R   R   R   R   .   .   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      +      -
XSHA256    ~   R   R   R   R   R   .   .   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      +      -
XSHA1      ~   R   R   R   R   R   .   .   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      +      -
XMD5       ~   R   R   R   R   R   .   .   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      +      -
MD5        ~   R   R   R   R   R   .   .   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      +      -
XCRC       ~   R   R   R   R   R   .   .   ~   R   R     R      ~      ~     ~      ~      ~    ~     ~    ~    .     .     ~      +      -
PWD        +   .   .   .   .   .   .   .   +   .   .     .      +      +     +      +      +    +     +    +    .     .     +      +      -
QUIT       .   .   .   .   .   .   .   .   .   .   .     .      .      .     .      .      .    .     .    .    .     .     .      .      -
"""  # noqa: E501
"""SETTIME is MDTM with a time, CHOOSE is OPTS HASH, and PWD is what follows NOOPs during a transfer."""

DOWN: dict[str, acts.Act] = {
    "226first": acts.transfer(final_first=True),
    "226never": acts.transfer(final=None),
    "425end": acts.transfer(final="425 Broken."),
    "426end": acts.transfer(final="426 Broken."),
    "450end": acts.transfer(final="450 Not now."),
    "451end": acts.transfer(final="451 Local trouble."),
    "552end": acts.transfer(final="552 On second thoughts, no."),
    "short226": acts.transfer(share=0.5),
    "shortfin": acts.transfer(share=0.5, end="ragged"),
    "shortrst": acts.transfer(share=0.5, end="reset"),
    "short426": acts.transfer(share=0.5, end="reset", final="426 Broken."),
    "short-": acts.transfer(share=0.5, end="reset", final=None),
    "hang": acts.transfer(share=0.5, end="hang", final=None),
    "none226": acts.transfer(share=0.0),
    "more": acts.transfer(extra=b"more"),
    "nonotify": acts.transfer(end="ragged"),
    "fresh": acts.transfer(resumable=False),
    "clear": acts.clear_data(),
    "unserved": acts.unserved(None),
    "no150": acts.answer("226 Done."),
    "endless": acts.endless,
    "drip": acts.transfer(drip_s=1.0),
}
"""On the data channel of a download or listing. …first: before the data; …end: after all of it; short…: this
after half of it; short-: nothing after it; fresh: TLS session not resumed; unserved: nobody is there."""

UP: dict[str, acts.Act] = {
    "226first": acts.receive(final_first=True),
    "226never": acts.receive(final=None),
    "425end": acts.receive(final="425 Broken."),
    "426end": acts.receive(final="426 Broken."),
    "450end": acts.receive(final="450 Not now."),
    "451end": acts.receive(final="451 Local trouble."),
    "552end": acts.receive(final="552 Disk full."),
    "short226": acts.receive(stop_after=1000),
    "shortfin": acts.receive(stop_after=1000, end="ragged"),
    "shortrst": acts.receive(stop_after=1000, end="reset"),
    "short426": acts.receive(stop_after=1000, end="reset", final="426 Broken."),
    "short-": acts.receive(stop_after=1000, end="reset", final=None),
    "hang": acts.receive(stop_after=1000, end="hang", final=None),
    "none226": acts.receive(stop_after=0),
    "nonotify": acts.receive(end="ragged"),
    "fresh": acts.receive(resumable=False),
    "clear": acts.clear_data(),
    "unserved": acts.unserved(None),
    "no150": acts.answer("226 Done."),
    "drip": acts.receive(drip_s=1.0),
}
"""The same of an upload."""

ON_DATA = """
          226first 226never 425end 426end 450end 451end 552end short226 shortfin shortrst short426 short- hang none226 more nonotify fresh clear unserved no150 endless drip
RETR         .        p       p      p      R      ~      R       ~        ~        ~        ~       ~     ~     ~      ~      .      .     ~       ~       ~      ~     ~
RETR?        .        p       p      p      R      ~      R       -        ~        ~        ~       ~     ~     -      -      p      .     ~       ~       ~      -     ~
MLSD         .        ~       ~      ~      R      ~      R       -        ~        ~        ~       ~     ~     -      -      ~      .     ~       ~       ~      ~     ~
LIST         .        ~       ~      ~      R      ~      R       -        ~        ~        ~       ~     ~     -      -      ~      .     ~       ~       ~      ~     ~
STOR         .        p       p      p      R      ~      R       ~        ~        ~        ~       ~     ~     ~      -      .      .     ~       ~       ~      -     ~
STOR?        .        p       p      p      R      ~      R       ~        ~        ~        ~       ~     ~     ~      -      .      .     ~       ~       ~      -     ~
APPE         .        p       p      p      s      ~      R       ~        ~        ~        ~       ~     ~     ~      -      .      .     ~       ~       ~      -     ~
"""  # noqa: E501
"""Each in passive and in active mode. RETR?, STOR?: of a server that tells no sizes but in its listings; a
bare connection does not ask for one, so p is ~ there."""

WAITING = frozenset(
    {"silence", "drip", "hang", "unserved", "226never", "short-", "clear", "line", "reply", "shortrst"}
)
"""Faults that only a deadline ends, or may end."""


@dataclass(frozen=True, slots=True)
class Case:
    """One cell. where, fault: its row and column. mode: of data connections, where they are what suffers."""

    where: str
    fault: str
    outcome: str
    act: acts.Act
    mode: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.where}-{self.mode}-{self.fault}" if self.mode else f"{self.where}-{self.fault}"

    @property
    def waits(self) -> bool:
        """Whether deadlines have to be short for it to end soon."""
        return self.fault in WAITING


def cases() -> list[Case]:
    """All cells that have something to tell."""
    found = [Case(where, fault, outcome, REPLIES[fault]) for where, fault, outcome in _cells(AT_COMMANDS)]
    for where, fault, outcome in _cells(ON_DATA):
        act = (DOWN if where.rstrip("?") in ("RETR", "MLSD", "LIST") else UP)[fault]
        found += [Case(where, fault, outcome, act, mode) for mode in ("passive", "active")]
    return found


def _cells(grid: str) -> list[tuple[str, str, str]]:
    """Row, column and letter of each cell that isn't empty."""
    head, *rows = (line.split() for line in grid.strip().splitlines())
    return [
        (row[0], fault, letter)
        for row in rows
        for fault, letter in zip(head, row[1:], strict=True)
        if letter != "-"
    ]

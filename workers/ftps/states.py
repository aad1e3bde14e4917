"""The states of a connection, every transition between them, and nothing else.

Rule 1: everything about the state of a connection lives in this file. Whoever wants to know
whether something may happen now asks the table below; no flag elsewhere says "connected",
"secured" or "busy".

A connection is a one-way street. It begins as NEW, goes once through an opening dialogue, and
then moves between READY and its work until it is DEAD. Nothing leads back from DEAD and nothing
leads back to NEW: the story this program grew from is a client that took an old object for a new
line, found the TLS layer of its first life still in it, and refused to secure the second. Whoever
wants another line constructs another object.

**Opening.** There are three ways in, and they meet at LOGIN:

    implicit TLS    NEW → TCP ─secured→ TLS ─greeted→ LOGIN
    explicit TLS    NEW → TCP ─greeted→ BANNER ─secured→ LOGIN
    no TLS          NEW → TCP ─greeted→ BANNER ─stayed in clear→ LOGIN

TLS and BANNER are two states because they are told apart only by what is still missing, and
because staying in clear text must be an event of its own: it can never happen by leaving out a
step. From LOGIN on there is one way: LOGIN → PROTECT (PBSZ, PROT P) → PREPARE (FEAT, OPTS, TYPE I)
→ READY.

**Commands.** READY means: the queue of commands that wait for replies is empty, and nothing is
owed by either side. SENT leads to COMMAND; more commands may be SENT from there, since several can
be on their way at once. SETTLED, the final reply to the last of them, is the only way back.

**Transfers.** A transfer is a command with a second connection, and each of its stages can fail in
its own way, so each has a state:

    READY ─asked for a port→ PASSIVE ─command sent→ ASKED ─1xx→ OPENED ─data secured→ DATA ─all moved→ END
          ←──────────────────── settled ────────────────────────────────────────────────────────────┘

The command is sent before the data handshake begins (vsftpd and ProFTPD deadlock otherwise: they
accept the data connection only when they have a command to serve), but its 1xx is not waited for:
in passive mode both are on their way at once, which is a round trip less. Where the handshake is
over first, the way leads past AHEAD instead of OPENED; no data moves there. A server may refuse
from anywhere in between: its final reply settles the command, the data connection is dropped, and
the line is READY again.

**Death.** DIED is legal everywhere. A command that is left through anything but its final reply (a
deadline, the peer's end, an exception in the caller's code) leaves a reply on its way that would
answer the next question, so it kills the line.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a connection is. Values are for people."""

    NEW = "new"
    TCP = "tcp"  # connected, nothing said yet
    TLS = "tls"  # implicit: secured, the banner not read yet
    BANNER = "banner"  # greeted in clear text
    LOGIN = "login"  # secured and greeted (or in clear text on purpose)
    PROTECT = "protect"  # logged in, data channels not protected yet
    PREPARE = "prepare"
    READY = "ready"  # no reply is owed
    COMMAND = "command"  # replies are owed
    PASSIVE = "passive"  # a data port is being agreed on; in passive mode, connected to as well
    ASKED = "asked"  # RETR, STOR, MLSD or LIST was sent
    OPENED = "opened"  # its 1xx came, the data handshake is under way
    AHEAD = "ahead"  # the data handshake is over, its 1xx is on its way
    DATA = "data"
    END = "end"  # all data moved, the final reply is owed
    DEAD = "dead"


class Event(StrEnum):
    """What happens to a connection."""

    CONNECTED = "connected"
    SECURED = "secured"
    STAYED_CLEAR = "stayed in clear text"
    GREETED = "greeted"
    LOGGED_IN = "logged in"
    PROTECTED = "protected"
    PREPARED = "prepared"
    SENT = "command sent"
    SETTLED = "last reply received"
    PORT_WANTED = "data port wanted"
    BEGUN = "transfer begun"
    DATA_SECURED = "data channel secured"
    MOVED = "all data moved"
    DIED = "died"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.NEW: {Event.CONNECTED: State.TCP},
    State.TCP: {Event.SECURED: State.TLS, Event.GREETED: State.BANNER},
    State.TLS: {Event.GREETED: State.LOGIN},
    State.BANNER: {Event.SECURED: State.LOGIN, Event.STAYED_CLEAR: State.LOGIN},
    State.LOGIN: {Event.LOGGED_IN: State.PROTECT},
    State.PROTECT: {Event.PROTECTED: State.PREPARE, Event.STAYED_CLEAR: State.PREPARE},
    State.PREPARE: {Event.PREPARED: State.READY},
    State.READY: {Event.SENT: State.COMMAND, Event.PORT_WANTED: State.PASSIVE},
    State.COMMAND: {Event.SENT: State.COMMAND, Event.SETTLED: State.READY},
    State.PASSIVE: {Event.SENT: State.ASKED, Event.SETTLED: State.READY},
    State.ASKED: {
        Event.BEGUN: State.OPENED,
        Event.DATA_SECURED: State.AHEAD,
        Event.SETTLED: State.READY,
    },
    State.OPENED: {Event.DATA_SECURED: State.DATA, Event.SETTLED: State.READY},
    State.AHEAD: {Event.BEGUN: State.DATA, Event.SETTLED: State.READY},
    State.DATA: {Event.MOVED: State.END, Event.SETTLED: State.READY},
    State.END: {Event.SETTLED: State.READY},
    State.DEAD: {},
}


class IllegalStep(RuntimeError):
    """A caller's mistake, never the peer's: this event cannot happen in this state."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"a connection that is {state.name} cannot have: {event.value}")
        self.state = state
        self.event = event


class Machine:
    """Looks steps up in the table; knows nothing else."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = State.NEW

    def step(self, event: Event) -> State:
        """Take one step. Raises IllegalStep, and stays where it is, where the table has none.

        DIED is legal in every state, and in DEAD changes nothing.
        """
        following = State.DEAD if event is Event.DIED else TRANSITIONS[self.state].get(event)
        if following is None:
            raise IllegalStep(self.state, event)
        self.state = following
        return following

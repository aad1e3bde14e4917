"""What can go wrong on the line, and what each class lets a caller do.

FtpsError
├── Transient            try again on a new connection; this one is dead or given up
│   ├── ConnectFailed      no connection came to be: name, TCP, TLS, banner
│   ├── Capacity           421 or 530 "too many …": wait long, not a wrong password
│   ├── LineLost           EOF, RST, 421: the server, or something between, ended it
│   ├── NoAnswer           a deadline passed without an answer: a black hole
│   ├── ProtocolError      bytes that no waiting command explains
│   └── TransferBroken     the data channel ended without proof that the file is whole
├── Refused              the server said no to this command; the line is READY
│   ├── Missing            … because there is no such file or folder
│   └── Forbidden          … because this account may not
├── LoginRefused         never retried
├── CertificateRefused   never retried
├── TlsRefused           AUTH, PBSZ or PROT refused: never retried, never clear text instead
└── BadName              a name no command can carry (CR, LF, NUL); nothing was sent
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.ftps.tls import TlsFacts


class Loss(StrEnum):
    """Why a line was lost; the reasons by which rebuilds are counted."""

    IDLE = "idle_loss"  # found dead by the question before use
    CLOSED = "server_closed"  # 421, EOF or RST while in use, or a 421 that had been waiting
    BLACK_HOLE = "black_hole"  # silence past a deadline
    PROTOCOL = "protocol"  # an answer that fits no question


class FtpsError(Exception):
    """Anything that goes wrong on the line. The message never holds a password."""


class Transient(FtpsError):
    """A new connection may do better. loss: the reason by which that rebuild is counted."""

    loss: Loss = Loss.CLOSED

    def __init__(self, message: str = "", *, loss: Loss | None = None) -> None:
        super().__init__(message)
        if loss is not None:
            self.loss = loss


class ConnectFailed(Transient):
    """No connection came to be."""


class Capacity(ConnectFailed):
    """The server has too many connections; not a wrong password."""


class LineLost(Transient):
    """The line ended: EOF, reset, or 421."""


class NoAnswer(Transient):
    """No answer inside the deadline."""

    loss = Loss.BLACK_HOLE


class ProtocolError(Transient):
    """The peer said something that no command waits for."""

    loss = Loss.PROTOCOL


class TransferBroken(Transient):
    """Data ended without the proof that all of it came (design R8).

    all_moved: every byte went over, and only a good final reply is missing: none came, or 425 or 426. Not a
    failure yet: build a new line, ask for the size, and decide (design R10). disowned: the data had ended as
    it should, and the final reply was 451, which may be about what was moved: no number of bytes proves it.
    refusal: the server's final reply, where there was one.
    """

    def __init__(
        self,
        message: str = "",
        *,
        loss: Loss | None = None,
        all_moved: bool = False,
        disowned: bool = False,
        refusal: Refused | None = None,
    ) -> None:
        super().__init__(message, loss=loss)
        self.all_moved = all_moved
        self.disowned = disowned
        self.refusal = refusal


class Refused(FtpsError):
    """A final 4xx or 5xx reply to one command; the line is READY again.

    verb: the command without its argument. code: the reply code. text: the reply's text.
    """

    def __init__(self, verb: str, code: int, text: str) -> None:
        super().__init__(verb, code, text)
        self.verb, self.code, self.text = verb, code, text

    def __str__(self) -> str:
        return f"{self.verb}: {self.code} {self.text}"


class Missing(Refused):
    """There is no such file or folder, as far as the reply can say."""


class Forbidden(Refused):
    """This account may not do it, as far as the reply can say."""


class LoginRefused(FtpsError):
    """USER or PASS was refused."""


class CertificateRefused(FtpsError):
    """The certificate is not trusted, not the host's, or not the pinned one.

    shown: what the handshake has shown, where a certificate that was not pinned ended it.
    """

    shown: TlsFacts | None = None


class TlsRefused(FtpsError):
    """The server will not protect the line."""


class BadName(FtpsError):
    """The name holds CR, LF or NUL."""

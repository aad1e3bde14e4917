"""Connection: opened once, used until it dies, closed once.

There is no reconnect() and no reset(): a rebuild is another object (see `states`). Every operation is left
through the final reply to its command, which makes the line READY again, or it leaves the line DEAD.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from workers.ftps import data as channel
from workers.ftps import folder, renaming
from workers.ftps.control import Farewell, Reply, command, refusal
from workers.ftps.digests import Digest, patience, ways
from workers.ftps.errors import (
    Capacity,
    ConnectFailed,
    FtpsError,
    LineLost,
    Loss,
    Missing,
    NoAnswer,
    Refused,
    TransferBroken,
    Transient,
)
from workers.ftps.features import Features
from workers.ftps.folder import Listing
from workers.ftps.inquiry import Stat, flights, stat_of, unique_of
from workers.ftps.line import Line, Turn
from workers.ftps.peer import Peer
from workers.ftps.states import State
from workers.ftps.stream import ClearText
from workers.ftps.tls import TlsFacts
from workers.ftps.transfer import Transfer
from workers.ftps.verbs import UNKNOWN_COMMAND

__all__ = ["Connection", "Digest", "Listing", "Peer", "Stat"]


class Connection:
    """One line to one server, for one thread at a time, in the process that opened it.

    Every verb raises BadName before a byte is sent, Refused with the line READY, and Transient otherwise.
    """

    def __init__(self, line: Line) -> None:
        """Not for callers: `Connection.open` returns one that is READY."""
        self._line = line

    # -- life

    @classmethod
    def open(
        cls,
        peer: Peer,
        *,
        known: Features | None = None,
        wire: Callable[[str], None] | None = None,
        turn: Turn = contextlib.nullcontext,
    ) -> Connection:
        """A READY connection.

        known: what an earlier line has learned. wire: told each line sent and received, without the password.
        turn: entered before USER is sent, left after the login; for those who log in one after the other.
        Raises ConnectFailed, Capacity, LoginRefused, CertificateRefused, TlsRefused.
        """
        line = Line(peer, wire)
        try:
            line.open(known, turn)
        except Farewell as full:
            line.die(full)
            raise Capacity(str(full)) from full
        except ConnectFailed as error:
            line.die(error)
            raise
        except Transient as error:
            line.die(error)
            full_up = isinstance(error, ClearText) and error.text.startswith("421")
            raise (Capacity if full_up else ConnectFailed)(
                f"{peer.host} port {peer.port}: {error}"
            ) from error
        except BaseException as error:
            line.die(error)
            raise
        return cls(line)

    def close(self) -> None:
        """Say QUIT if nothing is owed, and close. Idempotent; never raises; takes a second at most."""
        self._line.close()

    # -- what there is to know

    @property
    def peer(self) -> Peer:
        """The other side, as it was described."""
        return self._line.peer

    @property
    def state(self) -> State:
        """Where the line stands."""
        return self._line.state

    @property
    def dead(self) -> FtpsError | None:
        """Why the line died; None while it lives, and after an orderly close."""
        return self._line.dead

    @property
    def features(self) -> Features:
        """What the server can do, and what this line has learned about it."""
        return self._line.features

    @property
    def tls(self) -> TlsFacts | None:
        """What the control connection's handshake has shown; None without TLS."""
        return self._line.tls

    @property
    def opened_at(self) -> float:
        """Monotonic time at which the opening began."""
        return self._line.opened_at

    @property
    def used_at(self) -> float:
        """Monotonic time of the last reply."""
        return self._line.used_at

    @property
    def session_ends_at(self) -> float | None:
        """Monotonic time after which data channels may be refused, since the TLS session that they resume is
        too old then (field note 5); None without TLS, and as long as there was no data channel."""
        return self._line.session_ends_at

    @property
    def data_resumed(self) -> int:
        """Data channels that resumed the control connection's TLS session."""
        return self._line.data_resumed

    @property
    def data_fresh(self) -> int:
        """Data channels that did not."""
        return self._line.data_fresh

    # -- commands

    def noop(self, timeout: float | None = None) -> None:
        """Ask whether the line lives; `timeout` in seconds, else `probe_timeout`.

        An end that was found by asking is counted as an idle loss; one that the server announced by 421, as
        closed by it; silence as a black hole.
        """
        with self._line.operation():
            try:
                self._line.ask("NOOP", timeout=self.peer.probe_timeout if timeout is None else timeout)
            except Farewell:
                raise
            except LineLost as lost:
                lost.loss = Loss.IDLE
                raise

    def stat(self, paths: Sequence[bytes]) -> list[Stat | None]:
        """SIZE and MDTM of each path, asked in flights; None where there is no such file.

        A server without these commands tells nothing, which is Stat(None, None, 1). Raises Refused for the
        first refusal that is neither.
        """
        verbs = [verb for verb, can in (("SIZE", self.features.size), ("MDTM", self.features.mdtm)) if can]
        questions = [(verb, path) for path in paths for verb in verbs]
        with self._line.operation():
            answers = self._fly(questions)
            for (verb, _), answer in zip(questions, answers, strict=True):
                if answer.refuses and answer.code != 550 and answer.code not in UNKNOWN_COMMAND:
                    raise refusal(verb, answer)
        replies = iter(answers)
        return [stat_of(dict(zip(verbs, replies, strict=False)) if verbs else {}) for _ in paths]

    def unique(self, path: bytes) -> bytes | None:
        """A file's unique fact, as MLSD tells it, by MLST; None where the server does not say."""
        if not self.features.mlsd:
            return None
        try:
            with self._line.operation():
                return unique_of(self._line.ask("MLST", path))
        except Refused:
            return None

    def digest(self, path: bytes, *, size: int) -> Digest | None:
        """A file's digest by the best of the ways that FEAT offers; None where none of them tells one.

        size: how many bytes the server has to read for it. Raises Missing, and Refused for what is said of
        the file and not of the command.
        """
        with self._line.operation():
            for way in ways(self.features.offered):
                timeout = self.peer.reply_timeout + patience(size)
                answer = self._line.ask_all(way.commands(path), timeout=timeout)[-1]
                if not answer.refuses:
                    told = way.told(path, answer)
                    if told is not None:
                        return told
                # 501: mod_digest says it of names in which it finds too many words.
                elif answer.code not in UNKNOWN_COMMAND and answer.code != 501:
                    raise refusal(way.verb, answer)
        return None

    def rename(self, old: bytes, new: bytes) -> None:
        """RNFR, RNTO. What happens to a file under the new name is the server's choice (field note 38)."""
        command("RNTO", new)
        with self._line.operation():
            self._line.ask("RNFR", old)
            self._line.ask("RNTO", new)

    def rename_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[Refused | None]:
        """RNFR, RNTO of each pair, in flights where they may leave so; what refused each, or None."""
        with self._line.operation():
            return renaming.rename_all(self._line, pairs)

    def learn_renames(self, path: bytes) -> None:
        """Find out, unless it is known, whether renames may leave in flights; `path`: a temp of our own."""
        with self._line.operation():
            renaming.learn(self._line, path)

    def delete(self, path: bytes) -> None:
        """DELE."""
        with self._line.operation():
            self._line.ask("DELE", path)

    def delete_all(self, paths: Sequence[bytes]) -> list[Refused | None]:
        """DELE of each path, in flights; what refused each, or None."""
        with self._line.operation():
            replies = self._fly([("DELE", path) for path in paths])
        return [refusal("DELE", reply) if reply.refuses else None for reply in replies]

    def set_modified(self, files: Sequence[tuple[bytes, float]]) -> bool:
        """Give each file its time (epoch seconds, cut to whole ones), in flights. False: the server has
        refused to give one of them; that it can't, mostly.

        By MFMT (draft-somers-ftp-mfxx) where FEAT has it, else by MDTM with a time, which vsftpd and Serv-U
        take and no FEAT tells; others look for a file of such a name, and find none. Raises Refused where
        MFMT is known and refused all the same.
        """
        offered = any(line.upper().split(None, 1)[0] == "MFMT" for line in self.features.offered)
        verb = "MFMT" if offered else "MDTM"
        moments = [datetime.fromtimestamp(int(modified), UTC) for _, modified in files]
        commands = [
            (verb, f"{moment:%Y%m%d%H%M%S} ".encode() + path)
            for moment, (path, _) in zip(moments, files, strict=True)
        ]
        with self._line.operation():
            refused = [reply for reply in self._fly(commands) if reply.refuses]
            if offered and refused and refused[0].code not in UNKNOWN_COMMAND:
                raise refusal(verb, refused[0])
        return not refused

    def _fly(self, commands: list[tuple[str, bytes]]) -> list[Reply]:
        """Their replies, refusals too. Inside an operation. Raises BadName before a byte is sent."""
        for verb, argument in commands:
            command(verb, argument)
        return [reply for flight in flights(commands) for reply in self._line.ask_all(flight)]

    def mkdir(self, path: bytes) -> None:
        """MKD."""
        with self._line.operation():
            self._line.ask("MKD", path)

    # -- transfers

    def listing(self, path: bytes, *, hear: folder.Hear | None = None) -> Listing:
        """The folder at `path`, by MLSD or else LIST. hear: is given its bytes as well.

        Raises Refused here; a listing that breaks off raises TransferBroken while it is iterated.
        """
        return folder.listing(self._line, path, hear)

    def retrieve(
        self,
        path: bytes,
        sink: Callable[[memoryview], object],
        *,
        offset: int = 0,
        size: int | None = None,
        followed: bool = False,
    ) -> int:
        """RETR, from `offset` on: every block goes to `sink` (the view is valid during the call only).

        size: of the whole file, as known from elsewhere. followed: another transfer will be next.
        Returns how many bytes came in this call, and only when they are proven to be all (R8): acceptable
        final reply, and offset + bytes == size, or, where the size is not known, a clean end of TLS. Raises
        Missing, Refused, TransferBroken; with its `all_moved` set, everything came but the final reply.
        """
        expect = None if size is None else size - offset
        try:
            with self._line.operation():
                due = expect if followed else None
                transfer = Transfer.begin(self._line, "RETR", path, offset, due=due)
                incoming = channel.Incoming(transfer.stream, idle=self.peer.idle_timeout, expect=expect)
                for block in incoming:
                    sink(block)
                    transfer.keep_awake()
                transfer.end_of_data()
                proven = incoming.end is None if expect is None else incoming.received == expect
                if not proven and isinstance(incoming.end, NoAnswer):
                    raise TransferBroken(str(incoming.end), loss=incoming.end.loss)
                transfer.final_reply(all_moved=proven)
                if not proven:
                    whole = "unknown" if expect is None else f"{expect} bytes"
                    raise TransferBroken(
                        f"{incoming.received} bytes came, due: {whole}; {incoming.end or 'a clean end'}"
                    )
                return incoming.received
        except Refused as refused:
            # vsftpd says "550 Failed to open file." of a missing file and of a forbidden one.
            if refused.code == 550 and not isinstance(refused, Missing) and self._is_missing(path):
                raise Missing(refused.verb, refused.code, refused.text) from refused
            raise

    def store(
        self,
        path: bytes,
        source: Iterable[bytes | memoryview],
        *,
        offset: int = 0,
        size: int | None = None,
        followed: bool = False,
    ) -> int:
        """STOR, from `offset` on, of all blocks of `source`. Returns how many bytes went over in this call.

        size: what the whole file must have in the end. followed: another transfer will be next. The server's
        final reply decides (R9). Raises Refused, TransferBroken; with its `all_moved` set, everything went
        over but the final reply never came.
        """
        return self._send("STOR", path, source, offset, size, followed=followed)

    def append(
        self, path: bytes, source: Iterable[bytes | memoryview], *, offset: int, size: int | None = None
    ) -> int:
        """APPE: go on with an upload that broke off after `offset` bytes. Otherwise like `store`.

        The server is asked by SIZE first. Raises TransferBroken, with nothing sent, where it holds another
        number of bytes, or can't tell: more of a file would be appended to less, or to more, of it.
        """
        [there] = self.stat([path])
        held = 0 if there is None else there.size
        if held != offset:
            raise TransferBroken(
                f"{'an unknown number' if held is None else held} of {offset} bytes are there"
            )
        return self._send("APPE", path, source, offset, size, followed=False)

    def _send(
        self,
        verb: str,
        path: bytes,
        source: Iterable[bytes | memoryview],
        offset: int,
        size: int | None,
        *,
        followed: bool,
    ) -> int:
        with self._line.operation():
            rest = offset if verb == "STOR" else 0
            due = size - offset if followed and size is not None else None
            transfer = Transfer.begin(self._line, verb, path, rest, due=due)
            blocks = _awake(source, transfer)
            outgoing = channel.Outgoing(transfer.stream, blocks, idle=self.peer.idle_timeout)
            outgoing.run()
            if outgoing.end is None:
                channel.end_upload(transfer.stream, self._line.control)
            transfer.end_of_data()
            if isinstance(outgoing.end, NoAnswer):
                raise TransferBroken(str(outgoing.end), loss=outgoing.end.loss)
            transfer.final_reply(all_moved=outgoing.end is None)
            if outgoing.end is not None:
                raise TransferBroken(f"after {outgoing.sent} bytes: {outgoing.end}")
            if size is not None and offset + outgoing.sent != size:
                raise TransferBroken(f"{offset + outgoing.sent} bytes went over, due: {size}")
            return outgoing.sent

    def _is_missing(self, path: bytes) -> bool:
        return self.features.size and self.stat([path]) == [None]


def _awake(source: Iterable[bytes | memoryview], transfer: Transfer) -> Iterator[bytes | memoryview]:
    for block in source:
        yield block
        transfer.keep_awake()

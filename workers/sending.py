"""One batch of a push route: take over what was left, send, prove, rename in groups. No Celery.

What `transfer` is on the way in, with the line and the disk in each other's place. A file goes to a temp in
the folder of its final name. What is refused there is never the fault of its own name; so the account may
not do it, or the place is full, and the batch stops without an attempt being counted. Under its final name a
file may be refused for itself.

How much room a partner has can't be asked. That it is full is known by 452, and by any refusal of bytes that
two files in a row meet, or the last one; where others come through behind it, it was that file alone.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workers.batch import ClaimLost, Doubt, Outcome, Stopped, Work, is_full
from workers.confirming import HashDiffers
from workers.crashpoints import crashpoint
from workers.depositing import Depositor, Sent, beside
from workers.endings import Endings
from workers.errors import OperationFailed, StoreRefused
from workers.ftps.errors import BadName, Refused
from workers.ledger.values import Claim, same_version
from workers.names import printable
from workers.stores.naming import NameRefused, below
from workers.storing import SourceChanged, confirm_stored, lacks_room, make_folders, no_room, prove, store

if TYPE_CHECKING:
    from workers.ftps.connection import Connection
    from workers.stores.source import SourceFile, SourceFolder

log = logging.getLogger("towline.transfer")

_NO_ROOM, _TOO_LARGE = 452, 552
"""RFC 959 §4.2.2: the system has no room; the file, or the account, has used up what it may."""


def push_batch(work: Work, source: SourceFolder, claims: Sequence[Claim], outcome: Outcome) -> None:
    """Send these claimed files and give them their names; every claim is ended when this returns or raises.

    outcome: as for `transfer.fetch_batch`. Raises ReconnectFailed, LoginRefused, CertificateRefused,
    EndpointClosed; StoreRefused also where the partner has no room; Refused where the account may not write
    there; OperationFailed where one file after the other dies of it.
    """
    batch = _Batch(work, source, Endings(work.route, work.ledger, claims, outcome))
    try:
        batch.run()
    except Stopped:
        log.info("%s: stopped in mid-file", work.route.name, extra={"action": "push.stopped"})
    finally:
        batch.close()


class _Batch:
    """The claims in hand and the group being gathered."""

    def __init__(self, work: Work, source: SourceFolder, ends: Endings) -> None:
        self._work = work
        self._route = work.route
        self._session = work.session
        self._ledger = work.ledger
        self._tally = work.tally
        self._source = source
        self._ends = ends
        self._depositor = Depositor(work.route, work.session, work.ledger, work.tally)
        self._doubt = Doubt()
        self._unproven = Doubt()
        self._unwritten: tuple[Claim, Refused] | None = None
        self._made: set[bytes] = set()
        self._group: list[Sent] = []
        self._group_began = 0.0

    def run(self) -> None:
        """The story: take over, then send file by file and rename group by group."""
        crashpoint("claimed")
        try:
            due = self._take_over()
            for number, (claim, relative) in enumerate(due, 1):
                if self._work.stop.begun:
                    break
                self._send(claim, relative, followed=number < len(due))
                if is_full([one.file.size for one in self._group], self._group_began):
                    self._deposit()
        except (OperationFailed, Refused, StoreRefused):
            # What is there whole need not be sent once more, whoever comes after it.
            self._deposit()
            raise
        self._deposit()
        self._last_unwritten()

    def close(self) -> None:
        """Give back, uncounted, whatever has not come to its end; its temps stay for the next claim."""
        for one in self._group:
            one.file.close()
        self._ends.give_back()

    def _take_over(self) -> list[tuple[Claim, bytes]]:
        """Settle open intents, remove what lower fences left; returns what is left to be sent."""
        due: list[tuple[Claim, bytes]] = []
        for claim in list(self._ends.open.values()):
            try:
                relative = below(self._route.source, claim.path)
            except NameRefused as refusal:
                self._ends.failed(claim, str(refusal))
                continue
            if claim.intent is not None:
                try:
                    receipt = self._depositor.settle(claim, claim.intent)
                except Refused as refusal:
                    self._ends.failed(claim, str(refusal))
                    continue
                if receipt is not None:
                    self._ends.published(claim, receipt)
                    continue
            self._depositor.take_over(claim, relative, adopts=self._may_resume(claim, relative))
            due.append((claim, relative))
        self._ledger.claims.took_over([claim for claim, _ in due])
        crashpoint("took-over")
        return due

    def _may_resume(self, claim: Claim, relative: bytes) -> bool:
        """Whether to go on with what a lower fence sent: nobody may be sending it any more.

        A worker that froze still has its source open, and reserved. Where it thaws, the server writes what it
        sends to the temp that it began, whatever that is called by then: at the end of a published file, too.
        """
        if claim.temp_fence is None or not self._session.endpoint.resume_uploads:
            return False
        try:
            file = self._source.open(relative)
        except NameRefused:
            return False
        if file is None:
            return False
        with contextlib.closing(file):
            return file.reserve()

    # -- one file

    def _send(self, claim: Claim, relative: bytes, *, followed: bool) -> None:
        if not self._work.holds(claim.path_id):
            return
        self._ends.begin(claim)
        if self._route.on_exists == "keep" and self._depositor.choose([relative]) == [None]:
            self._depositor.keep(claim, relative)
            self._ends.kept(claim)
            return
        try:
            file = self._source.open(relative)
        except NameRefused as refusal:
            self._ends.failed(claim, str(refusal))
            return
        if file is None:
            self._ends.vanished(claim)
            return
        if self._session.endpoint.resume_uploads:
            file.reserve()  # until it is closed; see `_may_resume`
        one = Sent(claim, relative, self._depositor.temp_of(claim), file)
        try:
            if not _is_claimed_version(claim, file):
                raise SourceChanged
            self._upload(one, followed=followed)
            self._confirm(one)
        except SourceChanged:
            self._discard([one])
            self._ends.changed(claim)
        except ClaimLost:
            file.close()
        except (HashDiffers, OperationFailed, BadName) as failure:
            file.close()
            self._failed(claim, failure)
        except Refused as refusal:
            file.close()
            if not lacks_room(refusal):
                raise
            if not self._session.endpoint.resume_uploads:
                self._discard([one])  # else it is what keeps the partner's disk full
            self._not_written(claim, refusal)
        except BaseException:
            file.close()
            raise
        else:
            self._doubt.over()
            self._was_its_own()
            if not self._group:
                self._group_began = time.monotonic()
            self._group.append(one)

    def _upload(self, one: Sent, *, followed: bool) -> None:
        """All bytes into the temp; their number is asked of the whole group."""
        resumes = self._session.endpoint.resume_uploads
        store(
            self._session,
            self._temp(one),
            one.file,
            shown=one.claim.path,
            resumes=resumes,
            begun=one.claim.temp_fence is not None,
            tally=self._tally,
            go_on=lambda: self._work.go_on(one.claim),
            prepare=lambda line: make_folders(line, self._route.remote, one.relative, self._made),
            followed=followed,
        )

    def _confirm(self, one: Sent) -> None:
        """`verify = "hash"`: the server's digest of what it holds, where it tells one."""
        if self._route.verify != "hash":
            return
        try:
            confirm_stored(self._session, self._temp(one), one.file, shown=one.claim.path, tally=self._tally)
        except HashDiffers:
            self._discard([one])
            raise

    def _failed(self, claim: Claim, failure: Exception) -> None:
        """It could not be sent. Where that may be the server's fault, the batch does not go on for ever."""
        self._ends.failed(claim, str(failure))
        if isinstance(failure, BadName):
            self._doubt.over()
        else:
            self._doubt.raised(failure)

    # -- room at the partner

    def _not_written(self, claim: Claim, refusal: Refused) -> None:
        """The server could not keep its bytes. Raises StoreRefused where that is no matter of this file."""
        if refusal.code == _NO_ROOM or self._unwritten is not None:
            raise no_room(self._route, claim.path, refusal)
        self._unwritten = claim, refusal

    def _was_its_own(self) -> None:
        """Another file came through behind it. It is too large, which is charged, or larger than the room."""
        if self._unwritten is not None:
            (claim, refusal), self._unwritten = self._unwritten, None
            self._ends.failed(claim, str(refusal), counted=refusal.code == _TOO_LARGE)

    def _last_unwritten(self) -> None:
        """Nothing came behind it. Raises StoreRefused unless it may be too large (552)."""
        if self._unwritten is not None and self._unwritten[1].code != _TOO_LARGE:
            claim, refusal = self._unwritten
            raise no_room(self._route, claim.path, refusal)
        self._was_its_own()

    # -- a group

    def _deposit(self) -> None:
        """Name those that the server holds whole, and whose sources still are what was sent."""
        if not self._group:
            return
        group, self._group = self._group, []
        try:
            failures = prove(
                self._session, [(self._temp(one), one.file.size) for one in group], tally=self._tally
            )
            whole = [one for one, failure in zip(group, failures, strict=True) if failure is None]
            still = [one for one in whole if self._source.look(one.relative) == one.file.stat]
            chosen = list(zip(still, self._depositor.choose([one.relative for one in still]), strict=True))
            named = [(one, final) for one, final in chosen if final is not None]
            if self._route.keep_mtime:
                self._dress([one for one, _ in named])
            published = self._depositor.deposit(named, refused=self._refused_name)
        finally:
            for one in group:
                one.file.close()
        for claim, receipt in published:
            self._ends.published(claim, receipt)
        changed = [one for one in whole if one not in still]
        self._discard([*changed, *(one for one, final in chosen if final is None)])
        for one in changed:
            self._ends.changed(one.claim)
        for one, final in chosen:
            if final is None:
                self._depositor.keep(one.claim, one.relative)
                self._ends.kept(one.claim)
        for one, failure in zip(group, failures, strict=True):
            if failure is None:
                self._unproven.over()
            else:
                self._ends.failed(one.claim, str(failure))
                self._unproven.raised(failure)

    def _temp(self, one: Sent) -> bytes:
        return beside(self._depositor.place_of(one.relative), one.temp)

    def _dress(self, group: Sequence[Sent]) -> None:
        """The sources' times for the partner's files, where the server takes them (MFMT): a courtesy."""
        times = [
            (self._temp(one), one.file.stat.modified) for one in group if one.file.stat.modified is not None
        ]
        try:
            self._session.run(lambda line: line.set_modified(times), name="set times", tally=self._tally)
        except Refused as refusal:
            log.info("%s: %s", self._route.name, refusal, extra={"action": "push.time_refused"})

    def _refused_name(self, claim: Claim, refusal: Refused) -> None:
        self._ends.failed(claim, str(refusal))

    def _discard(self, group: Sequence[Sent]) -> None:
        """Remove temps that nobody will go on with; where that fails, the next claim does it."""
        paths = [self._temp(one) for one in group]
        for one in group:
            one.file.close()
        if paths:
            self._session.run(lambda line: _delete(line, paths), name="discard", tally=self._tally)


def _delete(line: Connection, paths: Sequence[bytes]) -> None:
    for path, refusal in zip(paths, line.delete_all(paths), strict=True):
        if refusal is not None:
            log.info("%s: stays: %s", printable(path), refusal, extra={"action": "temp.left"})


def _is_claimed_version(claim: Claim, file: SourceFile) -> bool:
    now = file.stat
    return same_version(
        claim.size, claim.modified, claim.precision_s, now.size, now.modified, now.precision_s
    )

"""What must not fall back, by counts and by ratios within one run: a busy machine changes neither."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench import contestants
from tests.bench.far import FarLink, NoFarLink
from tests.bench.measure import Command, Sample, count_syscalls, run
from tests.bench.scene import Turns, make_files, serving
from tests.bench.work import Direction, Item, Job, Work, same
from tests.conftest import RAN_ON
from tests.servers.certificates import Certificates
from tests.servers.packages import Unavailable
from tests.servers.server import TlsVersion

KIB, MIB = 2**10, 2**20
LIMIT_S = 60.0

# What was counted when this was written, and a little: a round trip, or a call in ten, more is a fall back.
MOST_TRIPS_A_FILE = 4.4
MOST_CALLS_A_MIB = 170
"""Two for a record of 16 KiB, its head and its body; the writing of whole blocks comes on top. 147 were
counted, and 190 where each record is written by itself."""
CALLS_OF_A_WAIT = 2
"""The read that finds nothing, and poll. They are no part of the count: how often data is waited for is the
server's and the machine's doing, never on one day and forty times a MiB on another."""
PAIRS = 3
LEAST_SPEED_UP = 1.5
"""Of 40 small uploads over ftplib, which waits 40 ms for each; most of what is left is Python's start."""


@contextlib.contextmanager
def turns(
    request: pytest.FixtureRequest,
    folder: Path,
    certificates: Certificates,
    sizes: tuple[int, ...],
    *,
    direction: Direction = "down",
    server: str = "proftpd",
    tls: TlsVersion = "1.3",
    link: FarLink | None = None,
) -> Iterator[Turns]:
    """A server with these files on it."""
    work = Work("quick", "", direction, sizes)
    item = Item(work, server, tls, 1, ())
    make_files(work, folder / "source")
    host, namespace = "127.0.0.1", None
    if link is not None:
        host, namespace = link.far_address, link.far.entered()
        certificates = Certificates.make(folder / "certificates", host)
    try:
        with serving(item, folder / "server", certificates, host=host, namespace=namespace) as place:
            request.node.user_properties.append((RAN_ON, server))
            yield Turns(item, place, folder / "turns", folder / "source")
    except Unavailable as why:
        pytest.skip(str(why))


def taken(
    turns: Turns,
    contestant: Callable[[Job], Command],
    namespace: contextlib.AbstractContextManager[None] | None = None,
) -> Sample:
    """One turn, its files looked at."""
    with turns.next() as job:
        command, pid = contestant(job), job.place.pid
        sample = run(command, scratch=job.scratch, server_pid=pid, limit_s=LIMIT_S, namespace=namespace)
        turns.check(job)
    return sample


def test_a_small_file_takes_no_more_round_trips_than_it_did(
    request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates
) -> None:
    """Counted on a link of 10 ms, one line: what six more files cost, connect and login left out."""
    try:
        link = FarLink(0.005)
    except NoFarLink as why:
        pytest.skip(str(why))
    trips = []
    with contextlib.closing(link):
        for count in (2, 8):
            folder = tmp_path / str(count)
            with turns(request, folder, certificates, same(count, 10 * KIB), link=link) as far:
                link.forget()
                taken(far, contestants.towline_core, link.near.entered())
                trips.append(link.round_trips)
    assert 1 < (trips[1] - trips[0]) / 6 <= MOST_TRIPS_A_FILE


def test_a_large_file_takes_no_more_system_calls_than_it_did(
    request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates
) -> None:
    """Counted by strace, between a file of 4 and one of 12 MiB: what starting Python costs is left out."""
    if shutil.which("strace") is None:
        pytest.skip("this machine has no strace")
    for _ in range(PAIRS):
        counts = []
        for size in (4 * MIB, 12 * MIB):
            with turns(request, tmp_path / str(size), certificates, (size,)) as near, near.next() as job:
                command = contestants.towline_core(job)
                counted = count_syscalls(command, scratch=job.scratch, limit_s=LIMIT_S)
                near.check(job)
            if counted is None:
                pytest.skip("strace may not look at processes here")
            counts.append(counted.total - CALLS_OF_A_WAIT * counted.empty_reads)
            shutil.rmtree(tmp_path / str(size))
        calls = (counts[1] - counts[0]) / 8
        if calls <= MOST_CALLS_A_MIB:
            break  # data that came in odd pieces is no fall back: that one shows in every pair
    assert calls <= MOST_CALLS_A_MIB


def test_small_uploads_are_much_faster_than_stock_ftplibs(
    request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates
) -> None:
    """Side by side, the best of some turns each: no upload waits for a delayed acknowledgement."""
    with turns(request, tmp_path, certificates, same(40, 10 * KIB), direction="up") as near:
        speed_up, ours, theirs = 0.0, [], []
        for _ in range(2 * PAIRS):
            theirs.append(taken(near, contestants.ftplib_resuming).wall_s)
            ours.append(taken(near, contestants.towline_core).wall_s)
            speed_up = min(theirs) / min(ours)
            if speed_up >= LEAST_SPEED_UP:
                break  # a fall back shows in every pair
    assert speed_up >= LEAST_SPEED_UP

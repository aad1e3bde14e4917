"""What a ledger of a million rows costs; run it by itself.

    python -m tests.bench.ledger [--rows 1000000] [--entries 100000] [--server vsftpd] [--postgresql]

All figures of one run are of one machine in one state, and what counts are their ratios: a poll of unchanged
entries against the bare listing of the same folder of the same server, a claim, and what a new file costs
from the listing to its claim, with a thousand rows of history and with a million, the folder being as large.
The two that are compared are measured in turns, by the clock and by the processor time of our own process:
where other programs want the processors too, the clock tells of them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import insert, text, update

from tests.bench.figure import Figure
from tests.servers.certificates import Certificates
from tests.servers.kinds import KINDS
from tests.servers.ports import FreePorts
from tests.servers.postgres import Postgres
from workers import rounds
from workers.ledger import Appeared, Claim, Ledger
from workers.ledger.listings import new_version
from workers.ledger.states import State
from workers.ledger.tables import LISTED_NOW, paths, versions
from workers.process import Process
from workers.session import Tally
from workers.settings import Route, Settings

ROUTE = "statements"
BATCH = 64
CHUNK = 20_000
DAY = 86400.0


def history(ledger: Ledger, target: str, rows: int) -> None:
    """So many files that were fetched and deleted at the source, as the ledger remembers them."""
    now = ledger.now()
    for start in range(0, rows, CHUNK):
        numbers = range(start, min(start + CHUNK, rows))
        with ledger._database.write() as connection:
            named = [
                {"route": ROUTE, "remote": b"/out/old-%08d.xml" % number, "target": target}
                for number in numbers
            ]
            ids = connection.execute(insert(paths).returning(paths.c.path_id), named).scalars().all()
            rows_ = [
                new_version(id_, ROUTE, 1, Appeared(b"", 100, 1.0, 1.0, None), State.FINISHED, now - DAY)
                | _deleted(now - DAY)
                for id_ in ids
            ]
            connection.execute(insert(versions), rows_)


def settled(ledger: Ledger) -> None:
    """What PostgreSQL does by itself as a ledger grows, though not within the minute that this one took."""
    engine = ledger._database._engine
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _deleted(then: float) -> dict[str, object]:
    """What a version is once its file was fetched, and deleted at the source."""
    times = {"published_at": then, "finished_at": then, "vanished_at": then}
    return times | {"state": State.FINISHED, "listed": False, "sha256": "0" * 64, "after_step": "deleted"}


def gone(ledger: Ledger) -> None:
    """All that lay in the folder was fetched and deleted there: it is history, and the folder empty."""
    listed = (versions.c.route == ROUTE, text(LISTED_NOW))
    with ledger._database.write() as connection:
        connection.execute(
            update(versions).where(*listed).values(**_deleted(ledger._database.now(connection)))
        )


def fetched(ledger: Ledger) -> None:
    """All that is READY was published, and lies in the folder as before."""
    now = ledger.now()
    done = {"state": State.FINISHED, "published_at": now, "finished_at": now, "after_step": "kept"}
    with ledger._database.write() as connection:
        ready = (versions.c.route == ROUTE, versions.c.state == State.READY)
        connection.execute(update(versions).where(*ready).values(**done))


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds by the clock, and seconds in which a processor worked for us, user and system together."""

    wall_s: float
    cpu_s: float


def spent(work: Callable[[], object]) -> Spent:
    """What it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def best(turns: Sequence[Spent]) -> Spent:
    """The quickest, by each measure."""
    return Spent(min(turn.wall_s for turn in turns), min(turn.cpu_s for turn in turns))


def best_ms(work: Callable[[], object]) -> float:
    """Milliseconds by the clock of the quickest of five turns."""
    return best([spent(work) for _ in range(5)]).wall_s * 1000


def claim_ms(ledger: Ledger, target: str) -> float:
    """A claim of 64 files, the quickest of several: the others waited for other people's work."""
    took = []
    for _ in range(9):
        began = time.perf_counter()
        claims = ledger.claims.claim(ROUTE, target, files=BATCH, bytes=1 << 40, lease_s=60)
        took.append((time.perf_counter() - began) * 1000)
        assert len(claims) == BATCH
        ledger.claims.give_back(claims)
    return min(took)


def new_file(ledgers: Sequence[Ledger], target: str, named: str, turns: int = 9) -> list[Spent]:
    """From the comparison to the claim, a file of 64 new ones, for each ledger.

    They take turns, so that all bear what else the machine and its disk do, and the quickest counts. Each
    turn leaves the folder empty: what lies there every comparison reads, and that is not what history costs.
    """
    took = [[_new_file(ledger, target, f"{named}-{turn}") for ledger in ledgers] for turn in range(turns)]
    return [best(of_one) for of_one in zip(*took, strict=True)]


def _new_file(ledger: Ledger, target: str, named: str) -> Spent:
    names = [f"/out/{named}-{number}.xml".encode() for number in range(BATCH)]
    claims: list[Claim] = []

    def taken() -> None:
        poll = ledger.polls.begin(ROUTE, target, until_s=60)
        assert poll is not None
        known = ledger.polls.known(ROUTE, target, named=set(names))
        assert not known.keys() & set(names)
        changes = [Appeared(name, 100, 1.0, 1.0, None, ready=True) for name in names]
        ledger.polls.apply(poll, changes, complete=True, reason=None, listed=BATCH)
        ledger.polls.work(ROUTE)
        claims.extend(ledger.claims.claim(ROUTE, target, files=BATCH, bytes=1 << 40, lease_s=60))

    took = spent(taken)
    assert len(claims) == BATCH
    ledger.claims.give_back(claims)
    gone(ledger)
    return Spent(took.wall_s / BATCH, took.cpu_s / BATCH)


@contextmanager
def serving(
    folder: Path, kind: str, entries: int, *, postgresql: bool = False
) -> Iterator[tuple[Process, Route, Ledger]]:
    """A process with a route whose folder holds so many files, and another ledger of the same kind.

    Raises packages.Unavailable.
    """
    with ExitStack() as stack:
        server = stack.enter_context(KINDS[kind](folder / kind, Certificates.make(folder / "tls")))
        out = server.root / "out"
        out.mkdir(parents=True)
        for number in range(entries):
            (out / f"report-{number:07}.csv").touch()
        (folder / "in").mkdir()
        bank = {
            "name": "bank",
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "password": server.password,
            "ca_file": server.ca_file,
        }
        told: dict[str, object] = {
            "path": folder / "towline.toml",
            "state_dir": folder / "state",
            "poll_hard_limit": 3600.0,
            "endpoints": {"bank": bank},
            "routes": {
                ROUTE: {
                    "name": ROUTE,
                    "endpoint": "bank",
                    "remote": b"/out",
                    "local": folder / "in",
                    "settle": 0.0,
                }
            },
        }
        other = f"sqlite:///{folder}/other.sqlite3"
        if postgresql:
            ports = stack.enter_context(closing(FreePorts()))
            databases = stack.enter_context(Postgres(ports.next()))
            told["ledger"], other = databases.url(), databases.make()
        process = stack.enter_context(closing(Process(Settings.model_validate(told))))
        beside = stack.enter_context(closing(Ledger.open(other, state_dir=folder / "other")))
        yield process, process.settings.route(ROUTE), beside


def listed_bare(process: Process, route: Route) -> int:
    """The folder as a line gives it, looked at and thrown away."""
    with process.session(route.endpoint).reserved():
        return process.session(route.endpoint).run(
            lambda line: sum(1 for _ in line.listing(route.remote)), name="list", tally=Tally()
        )


def run(rows: int, entries: int, kind: str = "vsftpd", *, postgresql: bool = False) -> list[Figure]:
    """All figures, which are printed. Raises packages.Unavailable."""
    with (
        tempfile.TemporaryDirectory(prefix="towline-bench-") as folder,
        serving(Path(folder), kind, entries, postgresql=postgresql) as (process, route, small),
    ):
        database = "PostgreSQL" if postgresql else "SQLite"
        print(f"{database}, {rows:,} rows of history; a folder of {entries:,} files", flush=True)
        found = measured(process, route, rows, small)
    for figure in found:
        print(figure, flush=True)
    return found


def measured(process: Process, route: Route, rows: int, small: Ledger) -> list[Figure]:
    """All figures. small: a ledger that gets a thousand rows, where the process's own gets so many."""
    ledger, target = process.ledger, route.target

    def poll() -> None:
        assert isinstance(rounds.poll(process, route, Tally()), rounds.Polled)

    history(small, target, min(rows, 1000))
    history(ledger, target, rows)
    for one in (small, ledger):
        settled(one)
    os.sync()  # else the disk is still at a million rows while it is asked for an fsync, of either ledger
    cheap, dear = new_file([small, ledger], target, "new")
    first = spent(poll)
    claim = claim_ms(ledger, target)
    work = best_ms(lambda: ledger.polls.work(ROUTE))
    fetched(ledger)
    counts = best_ms(lambda: ledger.polls.counts(ROUTE))
    compared = spent(poll)
    rss = psutil.Process().memory_info().rss
    turns = [(spent(lambda: listed_bare(process, route)), spent(poll)) for _ in range(7)]
    grown = (psutil.Process().memory_info().rss - rss) / 2**20
    bare, quiet = (best(measure) for measure in zip(*turns, strict=True))
    times, work_of = "times the bare listing", "times its processor time"
    return [
        Figure("the folder's bare listing", bare.wall_s, "s"),
        Figure("… processor time of ours in it", bare.cpu_s, "s"),
        Figure("a poll of it, nothing new", quiet.wall_s / bare.wall_s, times, "at most 1.3"),
        Figure("…", quiet.cpu_s / bare.cpu_s, work_of, "at most 1.3"),
        Figure("a poll of it that compares every entry", compared.wall_s / bare.wall_s, times),
        Figure("a poll of it that finds every entry new", first.wall_s / bare.wall_s, times),
        Figure("memory that polls with nothing new add", grown, "MiB", "none"),
        Figure(f"a claim of {BATCH} files", claim, "ms", "at most 20 ms"),
        Figure("a new file, from comparison to claim, with 1,000 rows", cheap.wall_s * 1000, "ms"),
        Figure("… with all rows", dear.wall_s / cheap.wall_s, "times that", "at most 1.5"),
        Figure("…", dear.cpu_s / cheap.cpu_s, work_of, "at most 1.5"),
        Figure("what there is to do, all files of the folder being ready", work, "ms"),
        Figure("how many files are in which state", counts, "ms"),
    ]


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    # Not so many thousand exactly: a listing of a round number that lacks known files is looked at anew.
    parser.add_argument("--entries", type=int, default=100_001)
    parser.add_argument("--server", choices=KINDS, default="vsftpd")
    parser.add_argument("--postgresql", action="store_true", help="the ledger is there, not in SQLite")
    options = parser.parse_args()
    run(options.rows, options.entries, options.server, postgresql=options.postgresql)


if __name__ == "__main__":
    main()

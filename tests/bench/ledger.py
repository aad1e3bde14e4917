"""What a ledger of a million rows costs; run it by itself.

    python -m tests.bench.ledger [--rows 1000000] [--entries 100000] [--server vsftpd]

All figures of one run are of one machine in one state, and what counts are their ratios: a poll of unchanged
entries against the bare listing of the same folder of the same server, a claim, and what a new file costs
from the listing to its claim, with a thousand rows of history and with a million. The ledger is SQLite, or
the database that TOWLINE_TEST_LEDGER names (an empty one).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from sqlalchemy import insert

from tests.bench.figure import Figure
from tests.servers.certificates import Certificates
from tests.servers.kinds import KINDS
from workers import rounds
from workers.ledger import Appeared, Ledger
from workers.ledger.listings import new_version
from workers.ledger.states import State
from workers.ledger.tables import paths, versions
from workers.process import Process
from workers.session import Tally
from workers.settings import Route, Settings

ROUTE = "statements"
BATCH = 64
CHUNK = 20_000
DAY = 86400.0


def history(ledger: Ledger, target: str, rows: int, *, beginning: int = 0) -> None:
    """So many files that were fetched and deleted at the source, as the ledger remembers them."""
    now = ledger.now()
    for start in range(beginning, beginning + rows, CHUNK):
        numbers = range(start, min(start + CHUNK, beginning + rows))
        with ledger._database.write() as connection:
            named = [
                {"route": ROUTE, "remote": b"/out/old-%08d.xml" % number, "target": target}
                for number in numbers
            ]
            ids = connection.execute(insert(paths).returning(paths.c.path_id), named).scalars().all()
            done = {
                "listed": False,
                "published_at": now - DAY,
                "finished_at": now - DAY,
                "vanished_at": now - DAY,
                "sha256": "0" * 64,
                "after_step": "deleted",
            }
            rows_ = [
                new_version(id_, ROUTE, 1, Appeared(b"", 100, 1.0, 1.0, None), State.FINISHED, now - DAY)
                | done
                for id_ in ids
            ]
            connection.execute(insert(versions), rows_)


def best(times: int, work: Callable[[], object]) -> float:
    """Seconds of the quickest of several runs."""
    return min(seconds(work) for _ in range(times))


def seconds(work: Callable[[], object]) -> float:
    """How long it took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


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


def new_file_ms(ledger: Ledger, target: str, named: str) -> float:
    """From the comparison to the claim, a file of 64 new ones; the files are then forgotten by the claim."""
    took = []
    for turn in range(9):
        names = [f"/out/{named}-{turn}-{number}.xml".encode() for number in range(BATCH)]
        began = time.perf_counter()
        poll = ledger.polls.begin(ROUTE, target, until_s=60)
        assert poll is not None
        known = ledger.polls.known(ROUTE, target, named=set(names))
        assert not known.keys() & set(names)
        changes = [Appeared(name, 100, 1.0, 1.0, None, ready=True) for name in names]
        ledger.polls.apply(poll, changes, complete=True, reason=None, listed=BATCH)
        ledger.polls.work(ROUTE)
        claims = ledger.claims.claim(ROUTE, target, files=BATCH, bytes=1 << 40, lease_s=60)
        assert len(claims) == BATCH
        took.append((time.perf_counter() - began) * 1000 / BATCH)
        for claim in claims:
            ledger.claims.vanished(claim)
    return min(took)


@contextmanager
def serving(folder: Path, kind: str, entries: int) -> Iterator[tuple[Process, Route]]:
    """A process with a route whose folder holds so many files."""
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
        if named := os.environ.get("TOWLINE_TEST_LEDGER"):
            told["ledger"] = named
        process = Process(Settings.model_validate(told))
        stack.callback(process.close)
        yield process, process.settings.route(ROUTE)


def listed_bare(process: Process, route: Route) -> int:
    """The folder as a line gives it, looked at and thrown away."""
    with process.session(route.endpoint).reserved():
        return process.session(route.endpoint).run(
            lambda line: sum(1 for _ in line.listing(route.remote)), name="list", tally=Tally()
        )


def run(rows: int, entries: int, kind: str = "vsftpd") -> tuple[str, list[Figure]]:
    """The database's name, and all figures, which are printed."""
    with (
        tempfile.TemporaryDirectory(prefix="towline-bench-") as folder,
        serving(Path(folder), kind, entries) as (process, route),
    ):
        database = "SQLite" if process.ledger._database.file is not None else "PostgreSQL"
        print(f"{database}, {rows:,} rows of history; a folder of {entries:,} files", flush=True)
        found = measured(process, route, rows)
    for figure in found:
        print(figure)
    return database, found


def measured(process: Process, route: Route, rows: int) -> list[Figure]:
    """All figures."""
    ledger, target = process.ledger, route.target
    few = min(rows, 1000)
    history(ledger, target, few)
    cheap = new_file_ms(ledger, target, "few")
    history(ledger, target, rows - few, beginning=few)
    dear = new_file_ms(ledger, target, "many")
    first = seconds(lambda: rounds.poll(process, route, Tally()))
    claim = claim_ms(ledger, target)
    compared = seconds(lambda: rounds.poll(process, route, Tally()))
    rss = psutil.Process().memory_info().rss
    quiet, bare = [], []
    for _ in range(5):
        bare.append(seconds(lambda: listed_bare(process, route)))
        quiet.append(seconds(lambda: rounds.poll(process, route, Tally())))
    grown = (psutil.Process().memory_info().rss - rss) / 2**20
    work = best(5, lambda: ledger.polls.work(ROUTE)) * 1000
    counts = best(5, lambda: ledger.polls.counts(ROUTE)) * 1000
    times = "times the bare listing"
    return [
        Figure("the folder's bare listing", min(bare), "s"),
        Figure("a poll of it, nothing new", min(quiet) / min(bare), times, "at most 1.3"),
        Figure("a poll of it that compares every entry", compared / min(bare), times),
        Figure("a poll of it that finds every entry new", first / min(bare), times),
        Figure("memory that polls with nothing new add", grown, "MiB", "none"),
        Figure(f"a claim of {BATCH} files", claim, "ms", "at most 20 ms"),
        Figure("a new file, from comparison to claim, with 1,000 rows", cheap, "ms"),
        Figure("… with all rows", dear / cheap, "times that", "at most 1.5"),
        Figure("what there is to do, all files of the folder being ready", work, "ms"),
        Figure("how many files are in which state", counts, "ms"),
    ]


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--server", choices=KINDS, default="vsftpd")
    options = parser.parse_args()
    run(options.rows, options.entries, options.server)


if __name__ == "__main__":
    main()

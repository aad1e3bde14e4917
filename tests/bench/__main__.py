"""The benchmark: Towline beside what a user would pick instead, in one run, on real servers.

    python -m tests.bench [--quick | --full | --minutes N] [--only PATTERN]… [--repeat N] [--out FOLDER]

Results are added to FOLDER/performance.json, an item at a time, so that a run can be cut short, or made in
parts; the page and the pictures beside it are made anew from that file. With --minutes the items are those
that the bars are about, at their sizes, and the time decides how many turns there are.
"""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from tests.bench import report
from tests.bench.contestants import versions
from tests.bench.far import NoFarLink
from tests.bench.items import BARS, FULL, IN_TIME, QUICK, STANDARD, Scale, bars, programme
from tests.bench.machine import description
from tests.bench.measure import TurnFailed
from tests.bench.pace import Pace, Step, within
from tests.bench.results import Results
from tests.bench.special import SECONDS, SPECIALS
from tests.bench.turns import run_item
from tests.bench.work import Item
from tests.servers.certificates import Certificates
from tests.servers.packages import Unavailable

QUICK_MINUTES = 1.7
"""Two, less what the last step may take too long and what making the page takes."""
UNKNOWN_S = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 if an item could not be run at all."""
    options = _parser().parse_args(arguments)
    # Servers, brokers and workers are processes of their own: what ends us has to end them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    scale = QUICK if options.quick else FULL if options.full else BARS if options.minutes else STANDARD
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results.of(options.out / "performance.json")
    failed = False
    if not options.report:
        results.about(scale.name, description(), versions())
        with tempfile.TemporaryDirectory(prefix="towline-bench-") as scratch:
            run = _Run(results, scale, Path(scratch))
            minutes = QUICK_MINUTES if options.quick else options.minutes
            try:
                if minutes:
                    pace = replace(IN_TIME, rounds=options.repeat or (2 if options.quick else IN_TIME.rounds))
                    within(minutes, list(run.in_time(pace, options.only)))
                else:
                    run.whole(Pace(options.repeat or scale.repeat), options.only)
            finally:
                report.write(results, options.out)  # a run that is cut short has measured something
            failed = run.failed
    else:
        report.write(results, options.out)
    print(f"{options.out / 'performance.md'}", file=sys.stderr)
    return int(failed)


class _Run:
    """What is measured goes into the results as it comes. failed: something could not be run."""

    def __init__(self, results: Results, scale: Scale, scratch: Path) -> None:
        self.failed = False
        self._results = results
        self._scale = scale
        self._scratch = scratch
        self._certificates = cache(
            lambda *names: Certificates.make(Path(scratch, "certificates", *names), *names)
        )

    def whole(self, pace: Pace, only: Sequence[str]) -> None:
        """Everything, for as long as it takes."""
        for item in programme(self._scale):
            if _wanted(item.id, only):
                self._item(item, pace)
        for name in SPECIALS:
            if _wanted(name, only):
                self._special(name)

    def in_time(self, pace: Pace, only: Sequence[str]) -> Iterator[Step]:
        """The quick items, or those of the bars, and the measurements that are no contest."""
        items = programme(QUICK) if self._scale is QUICK else bars(self._scale)
        for item in items:
            if _wanted(item.id, only):
                not_run = partial(self._results.not_run, item)
                yield Step(item.id, item.seconds, partial(self._item_by, item, pace), not_run)
        for name in SPECIALS:
            if _wanted(name, only) and (only or name in SECONDS):
                yield Step(
                    name,
                    SECONDS.get(name, UNKNOWN_S),
                    partial(self._special_by, name),
                    partial(_skipped, name),
                )

    def _item_by(self, item: Item, pace: Pace, until: float) -> None:
        self._item(item, replace(pace, until=until))

    def _special_by(self, name: str, _until: float) -> None:
        self._special(name)

    def _item(self, item: Item, pace: Pace) -> None:
        print(f"{item.id}: {item.work.title}", file=sys.stderr, flush=True)
        folder = self._scratch / item.id.replace("/", "-")
        try:
            self._results.add(item, run_item(item, folder, self._certificates, pace))
        except (Unavailable, NoFarLink, TurnFailed) as why:
            self.failed = True
            print(f"  not run: {why}", file=sys.stderr)
            self._results.not_run(item, str(why))

    def _special(self, name: str) -> None:
        print(name, file=sys.stderr, flush=True)
        try:
            told = SPECIALS[name](self._scratch / name, self._certificates(), self._scale)
        except (Unavailable, NoFarLink, TurnFailed) as why:
            self.failed = True
            print(f"  not run: {why}", file=sys.stderr)
        else:
            self._results.tell(name, told)


def _skipped(name: str, why: str) -> None:
    print(f"{name}: not run: {why}", file=sys.stderr)


def _wanted(name: str, only: Sequence[str]) -> bool:
    return not only or any(fnmatch.fnmatch(name, pattern) for pattern in only)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="small sizes, few items: under two minutes")
    sizes.add_argument("--full", action="store_true", help="1 GiB and 20 GiB files, nine turns: hours")
    sizes.add_argument("--minutes", type=float, metavar="N", help="what the bars ask for, in so many minutes")
    sizes.add_argument("--report", action="store_true", help="run nothing; make the page anew")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="items by name; * and ? work"
    )
    parser.add_argument("--repeat", type=int, help="turns of each contestant, at most")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (default: results)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The benchmark: Towline beside what a user would pick instead, in one run, on real servers.

    python -m tests.bench [--quick | --full] [--only PATTERN]… [--repeat N] [--out FOLDER]

Results are added to FOLDER/performance.json, an item at a time, so that a run can be cut short, or made in
parts; the page and the pictures beside it are made anew from that file.
"""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.bench import report
from tests.bench.contestants import versions
from tests.bench.far import NoFarLink
from tests.bench.items import FULL, QUICK, STANDARD, programme
from tests.bench.machine import description
from tests.bench.results import Results
from tests.bench.special import SPECIALS
from tests.bench.turns import run_item
from tests.servers.certificates import Certificates
from tests.servers.packages import Unavailable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 if an item could not be run at all."""
    options = _parser().parse_args(arguments)
    # Servers, brokers and workers are processes of their own: what ends us has to end them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    scale = QUICK if options.quick else FULL if options.full else STANDARD
    repeat = options.repeat or scale.repeat
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results.of(options.out / "performance.json")
    failed = 0
    if not options.report:
        results.about(scale.name, description(), versions())
        with tempfile.TemporaryDirectory(prefix="towline-bench-") as scratch:

            @cache
            def certificates(*names: str) -> Certificates:
                return Certificates.make(Path(scratch, "certificates", *names), *names)

            def wanted(name: str) -> bool:
                return not options.only or any(fnmatch.fnmatch(name, only) for only in options.only)

            for number, item in enumerate(programme(scale)):
                if not wanted(item.id):
                    continue
                print(f"{item.id}: {item.work.title}", file=sys.stderr, flush=True)
                try:
                    folder = Path(scratch, f"item{number}")
                    results.add(item, run_item(item, folder, certificates, repeat=repeat))
                except (Unavailable, NoFarLink) as why:
                    failed = 1
                    print(f"  not run: {why}", file=sys.stderr)
                    results.not_run(item, str(why))
            for name, special in SPECIALS.items():
                if wanted(name):
                    print(name, file=sys.stderr, flush=True)
                    try:
                        results.tell(name, special(Path(scratch, name), certificates(), scale))
                    except (Unavailable, NoFarLink) as why:
                        failed = 1
                        print(f"  not run: {why}", file=sys.stderr)
    report.write(results, options.out)
    print(f"{options.out / 'performance.md'}", file=sys.stderr)
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="small sizes, few items: under two minutes")
    sizes.add_argument("--full", action="store_true", help="1 GiB and 20 GiB files, nine turns: hours")
    sizes.add_argument("--report", action="store_true", help="run nothing; make the page anew")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="items by name; * and ? work")
    parser.add_argument("--repeat", type=int, help="turns of each contestant")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (default: results)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""What is to be reached, beside what was measured. Pure: results in, a verdict a line out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from tests.bench.figures import Ratio, ratio
from tests.bench.items import MIB
from tests.bench.objects import ALONE, FOLDER, INTO_IT
from tests.bench.results import Results, Row
from tests.bench.turns import BARE, FLEET, MADE_SAFE, OTHERS, RUN

CORE = "towline's protocol alone"
FLAT = 1.1
"""Memory that is flat within so much: the interpreter's heap has a mood of its own."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the table. reached: None where it was not measured. row: whose profile tells why."""

    work: str
    where: str
    bar: str
    measured: str
    reached: bool | None
    row: Row | None = None


def verdicts(results: Results) -> Iterator[Verdict]:
    """Every bar, each server apart."""
    rows = results.rows
    for row in rows:
        work = row.told["work"]
        if RUN not in row.told["entrants"]:
            yield Verdict(
                row.told["title"], where(row), "–", row.told.get("not_run", "no turn of ours"), None
            )
            continue
        if work in ("big-down", "big-up"):
            yield from _big(row)
        elif work in ("small-down", "small-up"):
            yield _small(row)
            if FLEET in row.told["entrants"]:
                yield from _fleet(row)
        elif work == "poll":
            yield _poll(row)
    yield from _trips(results)
    yield from _lines_far(rows)
    yield from _recovery(results)
    yield from _memory(rows)
    yield from _objects(results)
    yield from _rows(results)


def faster(row: Row, ours: str, names: Sequence[str]) -> tuple[str, Ratio] | None:
    """The fastest of `names`, and how many times as fast as it `ours` is."""
    best = row.best_of(tuple(names))
    if best is None or not row.values(ours):
        return None
    return best, ratio(row.values(best), row.values(ours))


def where(row: Row) -> str:
    """Server, TLS, lines, distance."""
    told = row.told
    lines = f"{told['lines']} line" + "s" * (told["lines"] > 1)
    far = f", {told['far_ms']} ms away" if told["far_ms"] else ""
    return f"{told['server']}, TLS {told['tls']}, {lines}{far}"


def _big(row: Row) -> Iterator[Verdict]:
    bar = "not slower than the fastest: interval reaches 1.0, median ≥ 0.95"
    found = faster(row, RUN, OTHERS)
    verdict = _verdict(row, bar, found, found and found[1].high >= 1 and found[1].median >= 0.95)
    if same := faster(row, RUN, [MADE_SAFE]):
        verdict = replace(verdict, measured=f"{verdict.measured}; {same[1]} × {MADE_SAFE}")
    yield verdict
    if row.values("curl") and row.values(RUN):
        cpu = ratio(row.values(RUN, "client_cpu_s"), row.values("curl", "client_cpu_s"))
        core = median(row.values(CORE, "client_cpu_s")) / median(row.values("curl", "client_cpu_s"))
        told = f"{cpu} × curl's; without digest and ledger {core:.2f}"
        yield Verdict(row.told["title"], where(row), "client CPU ≤ curl's", told, cpu.low <= 1, row)


def _small(row: Row) -> Verdict:
    down = row.told["direction"] == "down"
    wanted = 1.3 if down and row.told["server"] == "vsftpd" else 2.0
    bar = f"≥ {wanted:g} × the best, or ≥ 0.9 of what the server serves to bare clients"
    found = faster(row, RUN, OTHERS)
    limit = faster(row, RUN, [BARE])
    reached = bool((found and found[1].median >= wanted) or (limit and limit[1].median >= 0.9))
    verdict = _verdict(row, bar, found, reached)
    if limit is None:
        return verdict
    told = f"{verdict.measured}; {limit[1]} of the bare client"
    return Verdict(verdict.work, verdict.where, bar, told, verdict.reached, row)


def _fleet(row: Row) -> Iterator[Verdict]:
    if not row.values(FLEET) or not row.values(RUN):
        return
    speed = ratio(row.values(RUN), row.values(FLEET))
    title = f"{row.told['title']}, through broker, beat and workers"
    yield Verdict(title, where(row), "≥ 0.8 of `towline run`", str(speed), speed.median >= 0.8, row)
    shares = [1 - own / wall for own, wall in zip(row.values(FLEET, "own_s"), row.values(FLEET), strict=True)]
    share = median(shares)
    told = f"{share:.1%} (all that is not in a fetch: messages, the poll, its listing)"
    yield Verdict(title, where(row), "Celery's share under 5 %", told, share < 0.05)


def _trips(results: Results) -> Iterator[Verdict]:
    for direction, places in results.special.get("round-trips", {}).items():
        for place, counts in places.items():
            told = counts[RUN]
            title = f"far link, small files {direction}, one line"
            reached = None if isinstance(told, str) else told <= 2.5
            shown = f"{_count(told)}; the least that was found: {_count(counts[BARE])}"
            yield Verdict(title, place, "≤ 2.5 round trips a file", shown, reached)


def _count(told: float | str) -> str:
    return told if isinstance(told, str) else f"{told:.1f}"


def _poll(row: Row) -> Verdict:
    bar = "≤ 1.3 × the bare listing"
    if not row.values(BARE) or not row.values(RUN):
        return Verdict(row.told["title"], where(row), bar, "–", None)
    slower = ratio(row.values(RUN), row.values(BARE))
    return Verdict(row.told["title"], where(row), bar, str(slower), slower.median <= 1.3, row)


def _lines_far(rows: Iterable[Row]) -> Iterator[Verdict]:
    far = {(row.told["server"], row.told["far_ms"], row.told["lines"]): row for row in rows}
    for (server, far_ms, lines), row in far.items():
        one = far.get((server, far_ms, 1))
        if far_ms == 100 and lines == 4 and one is not None and row.values(RUN) and one.values(RUN):
            gain = ratio(one.values(RUN), row.values(RUN))
            bar = "≥ 3.5 × one line"
            yield Verdict(row.told["title"], where(row), bar, str(gain), gain.median >= 3.5, row)


def _recovery(results: Results) -> Iterator[Verdict]:
    for place, times in results.special.get("recovery", {}).items():
        slower = ratio(times["after a hang-up"], times["cold"])
        told = f"{slower}; cold {median(times['cold']) * 1000:.0f} ms"
        title = "the server hung up while idle → first byte of the next listing"
        yield Verdict(title, place, "≤ 1.2 × a cold connect", told, slower.median <= 1.2)


def _memory(rows: Iterable[Row]) -> Iterator[Verdict]:
    """The largest file's mark is to be that of the smallest, too."""
    found = [(row, max(peaks)) for row in rows if (peaks := _peaks(row))]
    least = min((row.told["bytes"] for row, _ in found), default=0)
    for row, peak in found:
        flat = [mark for other, mark in found if other.told["bytes"] == least]
        told = f"{peak / MIB:.0f} MiB; {peak / max(flat):.2f} × that of {least // MIB} MiB"
        reached = peak < 100 * MIB and peak <= FLAT * max(flat)
        yield Verdict(row.told["title"], where(row), "RSS under 100 MiB, flat", told, reached)


def _peaks(row: Row) -> list[float]:
    return row.values(RUN, "peak_bytes") if row.told["work"].startswith("memory") else []


def _rows(results: Results) -> Iterator[Verdict]:
    times = results.special.get("ledger", {})
    if times:
        few, many = sorted(times, key=int)
        dearer = ratio(times[many], times[few])
        told = f"{dearer}; {median(times[few]):.2f} ms with {int(few):,} rows"
        title = f"a new file, from comparison to claim, with {int(many):,} rows of history"
        yield Verdict(title, "ledger in SQLite", "≤ 1.5 × that with few", told, dearer.median <= 1.5)


def _objects(results: Results) -> Iterator[Verdict]:
    bar = f"≥ 0.8 of {ALONE}, or of the same {FOLDER}"
    for place, turns in results.special.get("objects", {}).items():
        rates = {who: [turn["rate"] for turn in each] for who, each in turns.items()}
        parts = {who: ratio(rates[INTO_IT], rates[who]) for who in (ALONE, FOLDER)}
        told = "; ".join(f"{part} of {who}" for who, part in parts.items())
        reached = max(part.median for part in parts.values()) >= 0.8
        yield Verdict("small files into an object store", place, bar, told, reached)


def _verdict(row: Row, bar: str, found: tuple[str, Ratio] | None, reached: bool | None) -> Verdict:
    if found is None:
        why = row.told["entrants"].get(RUN, {}).get("why")
        return Verdict(row.told["title"], where(row), bar, f"not measured: {why or 'no turn'}", None)
    best, speed = found
    return Verdict(row.told["title"], where(row), bar, f"{speed} × {best}", bool(reached), row)

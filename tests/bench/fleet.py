"""How cost grows up to a fleet: a model of a few lines, with the constants that were measured."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from tests.bench.results import Results
from tests.bench.turns import FLEET, RUN

ENDPOINTS, FILES_A_DAY, POLL_EVERY_S, ENTRIES = 10_000, 10_000_000, 600, 1_000
DAY_S = 86_400


def model(results: Results) -> str:
    """The constants, and what a fleet of 10,000 endpoints needs by them."""
    constants = dict(_constants(results))
    wanted = ("file", "connect", "entry", "start")
    if any(name not in constants for name in wanted):
        missing = ", ".join(name for name in wanted if name not in constants)
        return f"(not measured yet: {missing})"
    file_s, connect_s, entry_s, start_s = (constants[name] for name in wanted)
    transfers = FILES_A_DAY / DAY_S * file_s
    polls_a_second = ENDPOINTS / POLL_EVERY_S
    polls = polls_a_second * (connect_s + ENTRIES * entry_s + start_s)
    return "\n".join(
        [
            f"* a small file on a warm line, all its safety included: **{file_s * 1000:.2f} ms**",
            f"* a line from nothing to the first entry of a listing: **{connect_s * 1000:.0f} ms**",
            f"* an entry listed, compared with the ledger, and known: **{entry_s * 1e6:.0f} µs**",
            f"* a round through the broker, beyond its work: **{start_s * 1000:.0f} ms**",
            "",
            f"{ENDPOINTS:,} endpoints, {FILES_A_DAY:,} small files a day, a poll every {POLL_EVERY_S} s of a "
            f"folder of {ENTRIES:,} entries: {FILES_A_DAY / DAY_S:.0f} files a second keep "
            f"**{transfers:.1f}** processes busy on average, and {polls_a_second:.1f} polls a second, each "
            f"with a new line, **{polls:.1f}**. So much of a processor's core each; peaks, and the way "
            f"to a server far away, multiply the lines and not the work.",
        ]
    )


def _constants(results: Results) -> Iterator[tuple[str, float]]:
    """Seconds each."""
    phases = results.special.get("phases", {})
    if phases:
        yield "file", median(sum(steps.values()) for steps in phases.values())
    recovery = results.special.get("recovery", {})
    if recovery:
        yield "connect", median(median(times["cold"]) for times in recovery.values())
    polls = [
        (row.told["files"], time)
        for row in results.rows
        if row.told["work"] == "poll" and (time := row.median(RUN)) is not None
    ]
    if polls:
        yield "entry", median(time / entries for entries, time in polls)
    shares = [
        median(row.values(FLEET)) - median(row.values(FLEET, "own_s"))
        for row in results.rows
        if row.values(FLEET)
    ]
    if shares:
        yield "start", median(shares)

"""The page: tables made from the results, in the places that the text of `page.md` leaves for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import median

from tests.bench import plots
from tests.bench.bars import faster, verdicts, where
from tests.bench.figures import spread
from tests.bench.fleet import model
from tests.bench.items import MIB
from tests.bench.results import Results, Row
from tests.bench.turns import RUN

TEXT = Path(__file__).with_name("page.md")
MOST_PLACES = 8


def write(results: Results, folder: Path) -> None:
    """`performance.md`, `performance-turns.md` and the pictures, in this folder."""
    pictures = plots.draw(results, folder)
    page = TEXT.read_text()
    for place, fill in PLACES.items():
        page = page.replace(f"<!-- {place} -->", fill(results))
    for name in plots.NAMES:
        shown = f"![{plots.NAMES[name]}]({name}.png)" if name in pictures else "(no picture: not measured)"
        page = page.replace(f"<!-- {name} -->", shown)
    (folder / "performance.md").write_text(page)
    (folder / "performance-turns.md").write_text(_turns(results))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def _machine(results: Results) -> str:
    about = [*results.document.get("machine", {}).items(), ("sizes", results.document.get("scale", "–"))]
    programs = [(name, f"`{told}`") for name, told in results.document.get("versions", {}).items()]
    return table(["what", "which"], [*about, *programs])


def _bars(results: Results) -> str:
    words = {True: "reached", False: "**not reached**", None: "not measured"}
    return table(
        ["work", "where", "bar", "measured [95 %]", ""],
        [
            (one.work, one.where, one.bar, one.measured, words[one.reached])
            for one in sorted(verdicts(results), key=lambda one: one.work)
        ],
    )


def _profiles(results: Results) -> str:
    """Of each row with a bar that was not reached: where the time of a turn of `towline run` went."""
    rows = {one.row.id: one.row for one in verdicts(results) if one.reached is False and one.row is not None}
    parts = []
    for row in rows.values():
        profile: dict[str, float] = row.told["entrants"][RUN].get("profile") or {}
        shown = [(f"`{place}`", f"{part:.0%}") for place, part in largest(profile)]
        told = table(["place", "of the time"], shown) if shown else "(not sampled)"
        parts.append(f"### {row.told['title']}, {where(row)}\n\n{told}")
    return "\n\n".join(parts) or "Every bar that was measured in turns is reached."


def largest(profile: Mapping[str, float]) -> list[tuple[str, float]]:
    """The places that took most of the time, the first of them first; a file of results has them by name."""
    return sorted(profile.items(), key=itemgetter(1), reverse=True)[:MOST_PLACES]


def _contests(results: Results) -> str:
    """A matrix for each work: contestants down, servers and lines across; what a second brings."""
    by_work: dict[tuple[str, bool], list[Row]] = {}
    for row in results.rows:
        by_work.setdefault((row.told["title"], row.told["far_ms"] is not None), []).append(row)
    parts = []
    for (title, far), rows in by_work.items():
        unit, per_second = _unit(rows[0])
        names = dict.fromkeys(name for row in rows for name, _ in row.entrants())
        if not names:
            continue
        body = [[name, *(_cell(row, name, per_second) for row in rows)] for name in names]
        over = ", over the far link" if far else ""
        parts.append(f"### {title}{over}: {unit}\n\n{table(['', *map(where, rows)], body)}")
    return "\n\n".join(parts)


def _unit(row: Row) -> tuple[str, Callable[[float], float]]:
    files, size = row.told["files"], row.told["bytes"]
    if size and size / files >= MIB:
        return "MiB a second", lambda seconds: size / MIB / seconds
    if row.told["direction"] in ("list", "poll"):
        return "entries a second", lambda seconds: files / seconds
    return "files a second", lambda seconds: files / seconds


def _cell(row: Row, name: str, per_second: Callable[[float], float]) -> str:
    entrant = row.told["entrants"].get(name)
    if entrant is None:
        return ""
    if entrant["why"] and not entrant["samples"]:
        return "stopped" if entrant["why"].startswith("stopped") else "failed" if _tried(entrant) else "–"
    middle = row.median(name)
    assert middle is not None
    once = " (one turn)" if entrant["why"] else ""
    return (
        f"{per_second(middle):,.0f}{once}" if per_second(middle) >= 10 else f"{per_second(middle):.1f}{once}"
    )


def _tried(entrant: dict[str, str]) -> bool:
    return bool(entrant["command"])


def _limits(results: Results) -> str:
    told = results.special.get("limits", {})
    return table(["limit", ""], [(name, f"{value:,.0f}") for name, value in told.items()])


def _phases(results: Results) -> str:
    told = results.special.get("phases", {})
    if not told:
        return "(not measured)"
    steps = dict.fromkeys(step for place in told.values() for step in place)
    body = [[step, *(f"{place[step] * 1e6:,.0f}" for place in told.values())] for step in steps]
    body.append(["**together**", *(f"**{sum(place.values()) * 1e6:,.0f}**" for place in told.values())])
    return table(["µs a file", *told], body)


def _objects(results: Results) -> str:
    """What each side's processors did, by store and lines; medians of the turns."""
    head = ["store", "", "files a second", "client CPU s", "FTPS server CPU s", "store CPU s"]
    sides = ("client_cpu_s", "ftps_cpu_s", "store_cpu_s")
    body = [
        [place, who, f"{median(turn['rate'] for turn in turns):,.0f}"]
        + [f"{median(turn[side] for turn in turns):.1f}" for side in sides]
        for place, told in results.special.get("objects", {}).items()
        for who, turns in told.items()
    ]
    return table(head, body) if body else "(not measured)"


def _trips(results: Results) -> str:
    """A table for each direction: contestants down, servers across."""
    parts = []
    for direction, places in results.special.get("round-trips", {}).items():
        names = dict.fromkeys(name for counts in places.values() for name in counts)
        body = [[name, *(_count(counts[name]) for counts in places.values())] for name in names]
        parts.append(table([f"round trips a file, {direction}", *places], body))
    return "\n\n".join(parts) or "(not measured)"


def _count(told: float | str) -> str:
    return told if isinstance(told, str) else f"{told:.1f}"


def _turns(results: Results) -> str:
    parts = [
        "# Every turn\n\nMade by `make bench` from performance.json. Seconds from the start of a program to "
        "its end; `faster`: `towline run` is so many times as fast as this contestant [95 %]."
    ]
    for row in results.rows:
        told = row.told
        parts.append(f"## {row.id}\n\n{told['title']}, {where(row)}. {told['at']}, load {told['load']:.1f}.")
        if told.get("not_run"):
            parts.append(f"Not run: {told['not_run']}")
            continue
        head = ["", "median s", "turns", "quartiles apart", "faster", "client CPU s", "server CPU s"]
        head += ["peak MiB", "system calls", "round trips", "why not"]
        parts.append(table(head, _details(row)))
        commands = [f"# {name}\n{one['command']}" for name, one in row.entrants() if one["command"]]
        parts.append("```\n" + "\n".join(commands) + "\n```")
    return "\n\n".join(parts) + "\n"


def _details(row: Row) -> Iterator[list[str]]:
    for name, entrant in row.entrants():
        if not entrant["samples"]:
            yield [name, *[""] * 9, entrant["why"] or ""]
            continue
        middle = {
            field: median(row.values(name, field))
            for field in ("wall_s", "client_cpu_s", "server_cpu_s", "peak_bytes")
        }
        than = faster(row, RUN, [name]) if name != RUN else None
        trips = row.median(name, "round_trips")
        yield [
            name,
            f"{middle['wall_s']:.2f}",
            str(len(entrant["samples"])),
            f"{spread(row.values(name)):.0%}",
            str(than[1]) if than else "",
            f"{middle['client_cpu_s']:.2f}",
            f"{middle['server_cpu_s']:.2f}",
            f"{middle['peak_bytes'] / MIB:.0f}",
            f"{entrant['syscalls']:,}" if entrant["syscalls"] else "",
            f"{trips:.0f}" if trips is not None else "",
            entrant["why"] or "",
        ]


PLACES: dict[str, Callable[[Results], str]] = {
    "machine": _machine,
    "bars": _bars,
    "profiles": _profiles,
    "contests": _contests,
    "limits": _limits,
    "phases": _phases,
    "objects": _objects,
    "trips": _trips,
    "fleet": model,
}

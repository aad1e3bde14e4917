"""Round trips a file, counted on the wire: the figure that decides far away, and no busy machine changes.

Each contestant moves a few small files over the far link, and then some more; what the additional ones cost
leaves out connecting, login and listing.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.bench.contestants import NotHere
from tests.bench.far import FarLink
from tests.bench.items import BEST, KIB, Scale
from tests.bench.measure import TurnFailed, run
from tests.bench.scene import Turns, make_files, serving
from tests.bench.turns import BARE, COMMANDS
from tests.bench.work import Direction, Item, Work, same
from tests.servers.certificates import Certificates
from tests.servers.server import TlsVersion

ONE_WAY_S = 0.005
FEW, MORE = 3, 9
LIMIT_S = 60.0
NAMES = ("towline run", "towline's protocol alone", "curl", "lftp", "rclone", "ftplib, resuming", BARE)

Trips = dict[str, dict[str, dict[str, float | str]]]


def round_trips(folder: Path, certificates: Certificates, scale: Scale) -> Trips:
    """By direction, server and contestant; a text where a contestant failed. Raises NoFarLink."""
    quick = scale.name == "quick"
    offers: list[tuple[str, TlsVersion]] = list(BEST[1:2] if quick else BEST)
    if not quick and scale.name != "bars":
        offers += [("vsftpd", "1.2"), ("proftpd", "1.2")]
    found: Trips = {}
    directions: tuple[Direction, ...] = ("down",) if quick else ("down", "up")
    names = (NAMES[0], BARE) if quick else NAMES
    for direction in directions:
        for server, tls in offers:
            counts = {}
            for number in (FEW, MORE):
                work = Work("trips", "", direction, same(number, 10 * KIB))
                item = Item(work, server, tls, 1, names)
                counts[number] = _counted(item, folder / f"{direction}-{server}-{tls}-{number}")
            found.setdefault(direction, {})[f"{server}, TLS {tls}"] = {
                name: _difference(counts[FEW][name], counts[MORE][name]) for name in names
            }
    return found


def _difference(few: int | str, more: int | str) -> float | str:
    if isinstance(few, str) or isinstance(more, str):
        return few if isinstance(few, str) else str(more)
    return (more - few) / (MORE - FEW)


def _counted(item: Item, folder: Path) -> dict[str, int | str]:
    """Round trips of each contestant's whole turn, or why it had none."""
    make_files(item.work, folder / "source")
    counted: dict[str, int | str] = {}
    with contextlib.closing(FarLink(ONE_WAY_S)) as link:
        host, far = link.far_address, link.far.entered()
        certificates = Certificates.make(folder / "certificates", host)
        with serving(item, folder / "server", certificates, host=host, namespace=far) as place:
            turns = Turns(item, place, folder / "turns", folder / "source")
            for name in item.contestants:
                try:
                    counted[name] = _turn(name, turns, link)
                except (NotHere, TurnFailed):
                    counted[name] = "failed"
    return counted


def _turn(name: str, turns: Turns, link: FarLink) -> int:
    with turns.next() as job:
        # The towline contestant makes its ledger first, which talks to nobody.
        command = COMMANDS[name](job)
        link.forget()
        pid = job.place.pid
        run(command, scratch=job.scratch, server_pid=pid, limit_s=LIMIT_S, namespace=link.near.entered())
        trips = link.round_trips
        if not (name == BARE and job.work.direction == "down"):
            turns.check(job)
    return trips

"""Rounds of a route against a real server: what a poll writes down, what a fetch takes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.servers.server import FtpServer
from tests.waiting import wait_until
from workers import errors, rounds
from workers.ledger.tables import versions
from workers.ledger.values import temp_name
from workers.process import Process
from workers.rounds import Fetched, Polled, Skipped
from workers.session import Tally
from workers.settings import Route, Settings
from workers.upkeep import upkeep

Begin = Callable[..., tuple[Process, Route]]


@pytest.fixture
def server(start_server: Callable[..., FtpServer]) -> FtpServer:
    server = start_server("vsftpd")
    (server.root / "out").mkdir()
    return server


@pytest.fixture
def begin(server: FtpServer, tmp_path: Path) -> Iterator[Begin]:
    """Makes the process's holder for one route of the server; `changes` are keys of the route."""
    made: list[Process] = []

    def begin(**changes: Any) -> tuple[Process, Route]:
        (tmp_path / "in").mkdir(exist_ok=True)
        endpoint = {
            "name": "bank",
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "password": server.password,
            "ca_file": server.ca_file,
        }
        route = {
            "name": "statements",
            "endpoint": "bank",
            "remote": b"/out",
            "local": tmp_path / "in",
            "every": 600.0,
            "settle": 0.0,
        }
        settings = Settings.model_validate(
            {
                "path": tmp_path / "towline.toml",
                "state_dir": tmp_path / "state",
                "endpoints": {"bank": endpoint},
                "routes": {"statements": route | changes},
            }
        )
        made.append(Process(settings))
        return made[-1], settings.route("statements")

    yield begin
    for process in made:
        process.close()


def polled(process: Process, route: Route) -> Polled:
    found = rounds.poll(process, route, Tally())
    assert isinstance(found, Polled)
    return found


def fetched(process: Process, route: Route, **how: Any) -> Fetched:
    done = rounds.fetch(process, route, Tally(), **how)
    assert isinstance(done, Fetched)
    return done


def test_an_empty_folder_after_a_full_one_wants_a_second_look(server: FtpServer, begin: Begin) -> None:
    """An unmounted disk at the partner's looks like an empty folder (field note 28)."""
    process, route = begin(settle=3600.0)
    file = server.root / "out" / "a.xml"
    file.write_bytes(b"<a/>")
    assert polled(process, route).waiting == 1
    file.unlink()
    assert polled(process, route).waiting == 1, "one look is no proof"
    assert polled(process, route).waiting == 0


def test_a_folder_that_is_missing_or_forbidden_is_a_failure_and_takes_nothing_away(
    server: FtpServer, begin: Begin
) -> None:
    """The route's last error says so; what was known stays known, and the next poll is not blocked."""
    process, route = begin(settle=3600.0)
    (server.root / "out" / "a.xml").write_bytes(b"<a/>")
    polled(process, route)
    (server.root / "out").rename(server.root / "elsewhere")
    for _ in range(2):
        with pytest.raises(errors.ListingFailed, match="/out: "):
            rounds.poll(process, route, Tally())
    assert process.ledger.polls.counts("statements").waiting == 1
    assert "/out" in (process.ledger.routes.get("statements").last_error or "")


def test_two_polls_of_a_route_exclude_each_other(begin: Begin) -> None:
    """The second is skipped, not queued behind the first."""
    process, route = begin()
    assert process.ledger.polls.begin("statements", str(route.local), until_s=60) is not None
    assert rounds.poll(process, route, Tally()) == Skipped("statements", "polling")


def test_a_paused_route_is_neither_polled_nor_fetched(server: FtpServer, begin: Begin) -> None:
    """And the server is not even asked."""
    process, route = begin()
    process.ledger.routes.pause("statements", "audit")
    assert rounds.poll(process, route, Tally()) == Skipped("statements", "paused")
    assert rounds.fetch(process, route, Tally()) == Skipped("statements", "paused")
    assert server.connections() == 0


def test_a_hint_without_work_connects_to_nobody(server: FtpServer, begin: Begin) -> None:
    """A doubled message claims nothing and ends at once."""
    process, route = begin()
    assert fetched(process, route).outcome.published == 0
    assert server.connections() == 0


def test_a_batch_that_was_filled_says_that_there_may_be_more(server: FtpServer, begin: Begin) -> None:
    """By its count of files; the last one, half full, does not."""
    process, route = begin(batch={"files": 2, "bytes": 1 << 20})
    for number in range(3):
        (server.root / "out" / f"{number}.xml").write_bytes(b"<a/>")
    assert polled(process, route).ready == 3
    first, second = fetched(process, route), fetched(process, route)
    assert (first.outcome.published, first.more) == (2, True)
    assert (second.outcome.published, second.more) == (1, False)


def test_a_batch_is_filled_by_bytes_as_well(server: FtpServer, begin: Begin) -> None:
    """Two files of 600 KiB are a batch of 1 MiB each."""
    process, route = begin(batch={"bytes": 1 << 20})
    for number in range(2):
        (server.root / "out" / f"{number}.xml").write_bytes(bytes(600 * 1024))
    assert polled(process, route).ready == 2
    assert [fetched(process, route).outcome.published for _ in range(2)] == [1, 1]


def test_paths_are_fetched_without_settling_or_filters_and_only_in_versions_not_yet_published(
    server: FtpServer, begin: Begin, tmp_path: Path
) -> None:
    """What somebody asks for by name: relative to the route's folder, or absolute; gone ones are counted."""
    process, route = begin(settle=3600.0, include=("*.xml",))
    (server.root / "out" / "a.txt").write_bytes(b"one")
    asked = ["a.txt", "/out/gone.txt"]
    first = fetched(process, route, paths=asked).outcome
    assert (first.published, first.already, first.vanished) == (1, 0, 1)
    again = fetched(process, route, paths=asked).outcome
    assert (again.published, again.already, again.vanished) == (0, 1, 1)
    (server.root / "out" / "a.txt").write_bytes(b"another size")
    assert fetched(process, route, paths=asked).outcome.published == 1
    assert (tmp_path / "in" / "a.txt").read_bytes() == b"another size"


def test_a_target_that_cannot_be_written_keeps_no_claims(
    server: FtpServer, begin: Begin, tmp_path: Path
) -> None:
    """The route's fault, told as such: no attempt is counted and nothing stays claimed."""
    process, route = begin(local=tmp_path / "not" / "there")
    (server.root / "out" / "a.xml").write_bytes(b"<a/>")
    polled(process, route)
    with pytest.raises(errors.StoreRefused):
        rounds.fetch(process, route, Tally())
    counts = process.ledger.polls.counts("statements")
    assert (counts.ready, counts.claimed, counts.later) == (1, 0, 0)


def test_upkeep_leaves_a_temp_alone_that_was_touched_just_now(begin: Begin, tmp_path: Path) -> None:
    """Not yet: it was touched just now, and may be somebody's who is about to claim it."""
    process, _ = begin()
    fresh = tmp_path / "in" / ".towline-fresh"
    fresh.write_bytes(b"half")
    with closing(process):
        assert upkeep(process).temps_removed == 0
    assert fresh.exists()


def test_what_is_published_is_cleared_at_its_source_by_the_same_fetch(
    server: FtpServer, begin: Begin
) -> None:
    """The file is FINISHED when the task ends."""
    process, route = begin(after="delete")
    (server.root / "out" / "a.xml").write_bytes(b"<a/>")
    polled(process, route)
    assert fetched(process, route).outcome.published == 1
    assert list((server.root / "out").iterdir()) == []
    assert process.ledger.polls.counts("statements").finished == 1


def test_a_later_poll_does_what_a_fetch_had_to_leave_at_the_source(server: FtpServer, begin: Begin) -> None:
    """Refused once; when it is due again no file need be ready for it to be done, by a poll or by a hint."""
    process, route = begin(after="move:/archive")
    for name in ("a.xml", "b.xml"):
        (server.root / "out" / name).write_bytes(b"<a/>")
    polled(process, route)
    assert fetched(process, route).outcome.published == 2
    assert process.ledger.polls.counts("statements").published == 2
    (server.root / "archive").mkdir()
    assert fetched(process, route).outcome.published == 0
    assert process.ledger.polls.counts("statements").published == 2, "spaced"
    due_now(process, b"/out/a.xml")
    polled(process, route)
    assert [file.name for file in (server.root / "archive").iterdir()] == ["a.xml"]
    due_now(process, b"/out/b.xml")
    fetched(process, route)
    assert process.ledger.polls.counts("statements").finished == 2


def due_now(process: Process, path: bytes) -> None:
    """As if its time had come."""
    [version] = process.ledger.history.explain("statements", path).versions
    with process.ledger._database.write() as connection:
        here = versions.c.version_id == version.version_id
        connection.execute(update(versions).where(here).values(after_next_at=0.0))


def test_what_rounds_did_is_counted_for_the_whole_fleet(server: FtpServer, begin: Begin) -> None:
    """Files, bytes, listings and data channels, by the names that Prometheus is told."""
    process, route = begin()
    (server.root / "out" / "a.xml").write_bytes(b"<a/>")
    polled(process, route)
    fetched(process, route)
    counted = {
        (metric, *(value for _, value in labels)): amount
        for (metric, labels), amount in process.ledger.counters.all().items()
    }
    assert counted["towline_files_total", "statements", "published"] == 1
    assert counted["towline_bytes_total", "statements", "in"] == 4
    assert counted["towline_listing_seconds_sum", "statements"] > 0
    assert counted["towline_transfer_seconds_sum", "statements", "published"] > 0
    assert counted["towline_tls_data_sessions_total", "bank", "true"] == 2, "a listing and a file"


def test_a_path_that_no_command_can_carry_is_one_failed_file(server: FtpServer, begin: Begin) -> None:
    """A line end, or a lone backslash: the others are fetched all the same."""
    process, route = begin()
    (server.root / "out" / "a.xml").write_bytes(b"<a/>")
    done = fetched(process, route, paths=["a\\x0ab", "x\\zz", "a.xml"]).outcome
    assert (done.published, done.failed) == (1, 2)
    assert done.first_error == "'a\\\\x0ab': no command can carry a line end or NUL"


def test_a_batch_that_went_well_is_not_lost_for_its_figures(
    server: FtpServer, begin: Begin, tmp_path: Path
) -> None:
    """A ledger that takes the file and not the count has done what matters."""
    process, route = begin()
    (server.root / "out" / "a.xml").write_bytes(b"<a/>")
    polled(process, route)
    with closing(sqlite3.connect(tmp_path / "state" / "ledger.sqlite3")) as meddler:
        meddler.execute("DROP TABLE counters")
    assert fetched(process, route).outcome.published == 1


def outgoing(server: FtpServer, folder: Path) -> dict[str, Any]:
    """The keys of a push route from a folder `leaves` to the server's /in."""
    (server.root / "in").mkdir()
    (server.root / "in").chmod(0o777)
    (folder / "leaves").mkdir()
    return {"direction": "push", "remote": b"/in", "local": folder / "leaves"}


def test_a_file_that_has_not_settled_is_not_sent(server: FtpServer, begin: Begin, tmp_path: Path) -> None:
    """Somebody still writes to it: it waits for as long as its size and time change, and `settle` longer."""
    keys = outgoing(server, tmp_path)
    file = keys["local"] / "a"
    process, route = begin(**keys, settle=3600.0)
    for content in (b"begun", b"begun, and gone on with"):
        file.write_bytes(content)
        found = polled(process, route)
        assert (found.ready, found.waiting) == (0, 1)
        assert fetched(process, route).outcome.published == 0
    assert server.stored() == []
    process, route = begin(**keys, settle=0.05)
    wait_until(lambda: polled(process, route).ready == 1)
    assert fetched(process, route).outcome.published == 1
    assert (server.root / "in" / "a").read_bytes() == b"begun, and gone on with"


@pytest.mark.long
def test_what_a_dead_sender_left_at_the_partner_is_removed_by_the_next_round(
    server: FtpServer, begin: Begin, tmp_path: Path
) -> None:
    """Its source is gone, so nobody will ever send it: a line is built for the temp alone."""
    keys = outgoing(server, tmp_path)
    process, route = begin(**keys)
    (keys["local"] / "a").write_bytes(b"content")
    assert polled(process, route).ready == 1
    ledger = process.ledger
    [claim] = ledger.claims.claim(route.name, route.target, files=1, bytes=1, lease_s=60)
    left = server.root / "in" / temp_name(ledger.id, claim.path_id, claim.version_id, claim.fence)
    left.write_bytes(b"con")
    ledger.claims.give_back([claim])
    (keys["local"] / "a").unlink()
    wait_until(lambda: polled(process, route).ready == 0)  # one empty look is not believed
    assert fetched(process, route).outcome.published == 0
    assert list((server.root / "in").iterdir()) == []

"""Below the books: transactions, forks, migrations, and where a ledger may lie."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tests.unit.ledger.scene import ONLY_SQLITE, SLOW_ON_POSTGRESQL, Other, Scene, names
from workers.errors import LedgerRefused
from workers.ledger import Ledger
from workers.ledger.engine import Database, refuse_network_disk
from workers.ledger.indexes import metadata
from workers.ledger.migrate import HEAD, MIGRATIONS
from workers.ledger.mounts import network_file_system

MOUNTINFO = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
40 22 0:40 / /srv rw,relatime shared:1 - nfs4 server:/export rw
41 40 8:2 / /srv/local rw,relatime - xfs /dev/sdb1 rw
42 22 0:41 / /mnt/with\\040blank rw,relatime - cifs //server/share rw
43 22 0:42 / /over rw,relatime - cifs //server/share rw
44 43 8:3 / /over rw,relatime - ext4 /dev/sdc1 rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/towline", None),
        ("/srv/towline", "nfs4"),
        ("/srv/local/towline", None),
        ("/srvother", None),
        ("/mnt/with blank/x", "cifs"),
        ("/over/x", None),
    ],
)
def test_the_deepest_and_latest_mount_decides(path: str, kind: str | None) -> None:
    """A local disk below a network mount is local, and a mount hides the one under it."""
    assert network_file_system(Path(path), MOUNTINFO) == kind


def test_sqlite_on_a_network_disk_is_refused() -> None:
    """Its locks and shared memory do not reach other hosts: it would lose data without a word."""
    with pytest.raises(LedgerRefused, match="nfs4"):
        refuse_network_disk(Path("/srv/towline/ledger.sqlite3"), MOUNTINFO)


@pytest.mark.parametrize("url", ["sqlite://", "mysql://host/db", "not a url"])
def test_only_databases_that_can_hold_a_ledger_are_taken(url: str, home: Path) -> None:
    """A ledger in memory forgets; anything else is not supported, and is said so at once."""
    with pytest.raises(LedgerRefused):
        Ledger.open(url, state_dir=home)


@ONLY_SQLITE
def test_published_means_on_the_disk(scene: Scene) -> None:
    """The pragmas that make a commit survive a power cut, and those that make writers wait for each other."""
    with scene.ledger._database.read() as connection:
        found = {
            pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


@ONLY_SQLITE
def test_a_writing_transaction_has_the_lock_before_it_reads(scene: Scene) -> None:
    """Reading first and writing later would fail when somebody else wrote in between."""
    database = scene.ledger._database
    count = sqlalchemy.text("SELECT value FROM meta WHERE key = 'counter'")
    with database.write() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO meta VALUES ('counter', '0')"))

    def add(times: int) -> None:
        for _ in range(times):
            with database.write() as connection:
                value = int(connection.execute(count).scalar_one())
                connection.execute(
                    sqlalchemy.text("UPDATE meta SET value = :value WHERE key = 'counter'"),
                    {"value": str(value + 1)},
                )

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, [25] * 4))
    with database.read() as connection:
        assert connection.execute(count).scalar_one() == "100"


def test_a_failed_transaction_leaves_nothing(scene: Scene) -> None:
    """What was written before the failure is rolled back."""
    scene.appear(b"/a")

    def fail_half_way() -> None:
        with scene.ledger._database.write() as connection:
            connection.execute(sqlalchemy.text("DELETE FROM versions"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert len(scene.known()) == 1


@ONLY_SQLITE
def test_a_writer_in_a_loop_lets_others_pass(scene: Scene) -> None:
    """SQLite has no queue: without ours, a poll's next chunk takes the lock before anybody sees the gap."""
    database, order, over = scene.ledger._database, [], threading.Event()

    def write_chunks() -> None:
        while not over.is_set():
            with database.write():
                order.append("chunk")
                over.wait(0.02)

    thread = threading.Thread(target=write_chunks)
    thread.start()
    try:
        second = Database(database.url)
        waited: list[int] = []
        for _ in range(5):
            before = len(order)
            while len(order) == before:
                over.wait(0.001)
            before = len(order)
            with second.write():
                waited.append(len(order) - before)
        # The chunk under way, and one that was already waiting. Or more, where we were kept from asking.
        assert sorted(waited)[2] <= 2
    finally:
        over.set()
        thread.join()
        second.close()


def test_the_migrated_tables_are_those_of_the_program(scene: Scene) -> None:
    """tables.py, indexes.py and migrations/ say the same, to the last index."""
    with scene.ledger._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_programs_newest_revision_is_the_newest_there_is() -> None:
    """migrate.py knows it by heart, so that Alembic need not be imported to compare."""
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD


def test_a_ledger_keeps_its_id(scene: Scene, second: Scene) -> None:
    """It is what tells a worker that it has the ledger the others have."""
    assert scene.ledger.id == second.ledger.id
    assert len(scene.ledger.id) == 36


def test_a_newer_ledger_is_refused(url: str, home: Path) -> None:
    """An older program would not know what the newer one's columns mean; it touches nothing."""
    Ledger.open(url, state_dir=home).close()
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerRefused, match=r"newer Towline.*9999"):
        Ledger.open(url, state_dir=home)
    with engine.begin() as connection:
        found = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar()
    engine.dispose()
    assert found == "9999"


@SLOW_ON_POSTGRESQL
def test_four_processes_may_open_a_ledger_that_is_not_there_yet(bare_url: str, home: Path) -> None:
    """One of them makes it, the others wait for it, all have the same."""
    with ExitStack() as ends, ThreadPoolExecutor(4) as threads:
        started = list(threads.map(lambda _: ends.enter_context(Other(bare_url, home)), range(4)))
        assert len({process.owner for process in started}) == 4
        assert len({process.ask("ledger_id") for process in started}) == 1


def test_a_forked_child_is_another_owner_with_its_own_connections(scene: Scene) -> None:
    """It may go on with the ledger object it inherited; parent and child don't share claims, locks or
    connections."""
    scene.appear(b"/a", b"/b")
    mine = scene.claim_one()
    child = os.fork()
    if child == 0:
        ok = names(scene.claim()) == [b"/b"] and scene.ledger.claims.renew(60) != {mine.path_id}
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert scene.ledger.claims.renew(60) == {mine.path_id}
    assert names(scene.claim()) == [b"/b"], "the child is gone, and with it its claim"


@ONLY_SQLITE
def test_no_connection_is_open_while_a_process_forks(scene: Scene) -> None:
    """SQLite's own bookkeeping of locks would be inherited, and be wrong in the child."""
    file = str(scene.ledger._database.file)
    scene.appear(b"/a")
    assert file in open_files(os.getpid()), "the pool keeps its connection"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"1" if any(file in name for name in open_files(os.getpid())) else b"0")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"0"
    os.close(reader)
    os.close(writer)


def test_a_fork_waits_for_the_transactions_of_other_threads(scene: Scene) -> None:
    """A transaction that is half-way at the fork would be half-way in the child for ever."""
    inside, finish = threading.Event(), threading.Event()
    order: list[str] = []

    def transaction() -> None:
        with scene.ledger._database.write():
            inside.set()
            finish.wait()
            order.append("committed")

    def let_it_finish() -> None:
        finish.wait(0.2)
        finish.set()

    thread, timer = threading.Thread(target=transaction), threading.Thread(target=let_it_finish)
    thread.start()
    inside.wait()
    timer.start()
    child = os.fork()
    if child == 0:
        os._exit(0)
    order.append("forked")
    os.waitpid(child, 0)
    thread.join()
    timer.join()
    assert order == ["committed", "forked"]
    scene.appear(b"/a")


def open_files(pid: int) -> set[str]:
    """What the process has open, by name."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(entry.readlink()))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found

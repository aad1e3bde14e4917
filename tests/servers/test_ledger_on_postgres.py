"""What a ledger in PostgreSQL meets with that a file does not: logins, restarts, other hosts, rows' locks.

What it shares with SQLite is in tests/unit/ledger, on both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.engine import make_url

from tests.servers.postgres import Databases, Postgres
from tests.unit.ledger.scene import REPOSITORY, ROUTE, TARGET, Clock, Other, Scene, names
from tests.waiting import wait_until
from workers.cli.exits import code_of, sentence
from workers.errors import LedgerRefused, LedgerUnavailable
from workers.ledger import Changed, Ledger, LineFacts, Seen, State
from workers.ledger.locks import lock_paths
from workers.ledger.tables import paths, versions


@pytest.fixture
def url(databases: Databases) -> str:
    """A database without a ledger."""
    return databases.make()


@pytest.fixture
def scene(url: str, tmp_path: Path) -> Iterator[Scene]:
    """A ledger by PostgreSQL's own clock."""
    with closing(Ledger.open(url, state_dir=tmp_path)) as ledger:
        yield Scene(ledger, Clock())


# -- what does not work, and how it is told


def changed(url: str, **parts: object) -> str:
    return make_url(url).set(**parts).render_as_string(hide_password=False)  # type: ignore[arg-type]


WRONG: tuple[tuple[dict[str, object], str], ...] = (
    ({"database": "nowhere"}, 'database "nowhere" does not exist'),
    ({"password": "wrong-battery-9"}, "authentication failed"),
    ({"username": "nobody"}, "authentication failed"),
    ({"query": {"colour": "blue"}}, 'invalid connection option "colour"'),
)


def test_a_database_that_lets_nobody_in_is_told_as_what_it_is(postgres: Postgres, tmp_path: Path) -> None:
    """The server's own words, which ledger it is, exit code 2, and never a password."""
    for wrong, said in WRONG:
        url = changed(postgres.url(), **wrong)
        with pytest.raises(LedgerRefused) as refused:
            Ledger.open(url, state_dir=tmp_path)
        told = sentence(refused.value) + repr(refused.value)
        assert said in told
        assert f"postgresql+psycopg://{make_url(url).username}:***@127.0.0.1" in told
        assert postgres.password not in told
        assert "wrong-battery-9" not in told


def test_a_server_that_is_not_there_is_a_matter_of_time(free_port: Callable[[], int], tmp_path: Path) -> None:
    """Exit code 3, like an endpoint that can't be reached: it may be there tomorrow."""
    url = f"postgresql+psycopg://towline:correct-horse-7@127.0.0.1:{free_port()}/towline?password=battery-staple"
    with pytest.raises(LedgerUnavailable) as away:
        Ledger.open(url, state_dir=tmp_path)
    assert code_of(away.value) == 3
    assert "refused" in sentence(away.value)
    for secret in ("correct-horse-7", "battery-staple"):
        assert secret not in sentence(away.value) + repr(away.value)


def test_a_missing_driver_is_told_with_its_remedy(url: str, tmp_path: Path) -> None:
    """An installation without the extra: one sentence, and no traceback of an import."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pathlib import Path; from workers.errors import LedgerRefused\n"
        "from workers.ledger import Ledger\n"
        "try: Ledger.open(sys.argv[1], state_dir=Path(sys.argv[2]))\n"
        "except LedgerRefused as refused: print(refused)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, url, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'towline[postgres]'" in ended.stdout
    assert "***" in ended.stdout


def test_the_servers_settings_are_those_of_the_ledger(databases: Databases, scene: Scene) -> None:
    """What ends a wait and a frozen transaction; and a commit that a crash may lose is made a safe one."""
    database = make_url(scene.ledger._database.url).database
    databases.say(f"ALTER DATABASE {database} SET synchronous_commit = off")
    scene.ledger._database.close()
    shown = ("synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout", "application_name")
    with scene.ledger._database.write() as connection:
        found = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in shown]
    assert found == ["on", "30s", "30s", "towline"]


# -- its clock, its snapshots, its locks


def test_time_is_the_databases(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts disagree about the time; leases are held against one clock."""
    true = time.time()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert abs(scene.ledger.now() - true) < 60


def test_what_is_read_together_belongs_to_one_moment(scene: Scene) -> None:
    """A reader does not see what another commits between its two statements, and can write nothing."""
    scene.appear(b"/a")
    count = sqlalchemy.select(sqlalchemy.func.count()).select_from(versions)
    with scene.ledger._database.read() as connection:
        before = connection.execute(count).scalar_one()
        scene.appear(b"/b")
        assert connection.execute(count).scalar_one() == before
    with scene.ledger._database.read() as connection:
        assert connection.execute(count).scalar_one() == before + 1


def test_who_waited_for_a_path_sees_what_happened_meanwhile(scene: Scene) -> None:
    """A claim given back while a newer version is being written down ends as superseded, not as ready.

    A statement that joins the path it waits for with its version would show the version from before.
    """
    scene.appear(b"/a")
    claim = scene.claim_one()
    with ThreadPoolExecutor(1) as threads:
        with scene.ledger._database.write() as connection:
            lock_paths(connection, paths.c.path_id == claim.path_id)
            giving_back = threads.submit(scene.ledger.claims.give_back, [claim])
            wait_until(lambda: waiting(scene), what="it waits for the path")
            connection.execute(sqlalchemy.update(versions).values(latest=False))
        giving_back.result(60)
    assert scene.state(b"/a") == State.SUPERSEDED


def test_a_claim_waits_for_nobody(scene: Scene) -> None:
    """What another has locked is left out; the rest is claimed at once."""
    scene.appear(b"/a", b"/b")
    with scene.ledger._database.write() as connection:
        lock_paths(connection, paths.c.remote == b"/a")
        with ThreadPoolExecutor(1) as threads:
            assert names(threads.submit(scene.claim).result(30)) == [b"/b"]


def waiting(scene: Scene) -> bool:
    """Whether some backend waits for a lock."""
    asked = sqlalchemy.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with scene.ledger._database.read() as connection:
        return bool(connection.execute(asked).scalar_one())


def test_polls_fetches_and_renewals_at_once_never_wait_in_a_ring(scene: Scene, tmp_path: Path) -> None:
    """Three processes fetch what a fourth lists anew in changing orders: no deadlock, no fence twice."""
    everything = [b"/%03d" % number for number in range(120)]
    scene.appear(*everything)
    over = threading.Event()

    def renew() -> None:
        while not over.is_set():
            scene.ledger.claims.renew(60)
            scene.ledger.claims.end_leases()

    with ExitStack() as ends, ThreadPoolExecutor(1) as threads:
        url = scene.ledger._database.url
        others = [ends.enter_context(Other(url, tmp_path / str(number))) for number in range(3)]
        ends.callback(over.set)
        renewing = threads.submit(renew)
        for other in others:
            other.tell("work")
        for turn in range(30):
            given = scene.claim(5)
            known = scene.known()
            order = everything[::-1] if turn % 2 else everything
            scene.apply(
                Changed(known[path], 20 + turn, 2.0, 1.0, None, ready=True)
                if number % 7 == turn % 7
                else Seen(known[path], ready=True)
                for number, path in enumerate(order)
            )
            scene.ledger.claims.give_back(given)
        seen = [tuple(one) for other in others for one in other.answer()]
        over.set()
        renewing.result(60)
    assert len(seen) == len(set(seen)), "no fence was given out twice"


@pytest.mark.parametrize("who", ["upkeep", "a taker"])
def test_a_permit_that_is_renewed_while_the_dead_are_swept_stays(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """Its holder was late, and is told that the permit still is its own; then nobody else may have it."""
    clock, facts = Clock(), LineFacts(5.0, 2.0, "TLSv1.3", {}, None)
    with ExitStack() as opened:
        holder, sweeper = (
            opened.enter_context(closing(Ledger.open(url, state_dir=tmp_path, clock=clock))).permits
            for _ in range(2)
        )
        assert holder.take("bank", 1, lease_s=60, wait_s=6)
        clock.pass_(61)
        dead = sweeper._dead
        # Upkeep looks once before it locks anything, and again.
        late: list[Callable[..., Any]] = [dead] if who == "upkeep" else []
        renewed: list[set[str]] = []

        def renewed_meanwhile(*told: Any) -> Any:
            found = dead(*told)
            renewed.append(holder.renew({"bank": facts}, lease_s=60))
            return found

        late.append(renewed_meanwhile)
        monkeypatch.setattr(sweeper, "_dead", lambda *told: late.pop(0)(*told))
        if who == "upkeep":
            assert sweeper.sweep() == 0
        else:
            assert not sweeper.take("bank", 1, lease_s=60, wait_s=6)
        assert renewed == [{"bank"}]
        assert holder.renew({"bank": facts}, lease_s=60) == {"bank"}


# -- restarts, and forks


def test_a_restart_is_noticed_before_a_connection_is_used(postgres: Postgres, tmp_path: Path) -> None:
    """The connections of the pool are dead, and nobody has to know: the next transaction has a new one."""
    with closing(Ledger.open(postgres.url(), state_dir=tmp_path)) as ledger:
        Scene(ledger, Clock()).appear(b"/a")
        postgres.stop()
        with pytest.raises(LedgerUnavailable, match="refused"):
            ledger.now()
        postgres.start()
        assert len(Scene(ledger, Clock()).claim()) == 1


def test_a_database_that_goes_away_in_a_transaction_fails_it_whole(
    postgres: Postgres, tmp_path: Path
) -> None:
    """One class for whoever asked; nothing of it is written, and nothing of the password is told."""
    with closing(Ledger.open(postgres.url(), state_dir=tmp_path)) as ledger:
        scene = Scene(ledger, Clock())
        scene.appear(b"/a")

        def fail_half_way() -> None:
            with ledger._database.write() as connection:
                connection.execute(sqlalchemy.delete(versions))
                postgres.stop()
                connection.execute(sqlalchemy.delete(paths))

        with pytest.raises(LedgerUnavailable) as away:
            fail_half_way()
        assert postgres.password not in repr(away.value)
        postgres.start()
        assert len(scene.known()) == 1


def test_what_ended_while_the_ledger_was_away_is_free_as_soon_as_it_is_back(
    postgres: Postgres, tmp_path: Path
) -> None:
    """A poll and a batch of ours that could not be ended: no lease has to run out, and no file is blamed."""
    with closing(Ledger.open(postgres.url(), state_dir=tmp_path)) as ledger:
        scene = Scene(ledger, Clock())
        scene.appear(b"/a", b"/b")
        claims = scene.claim(lease_s=3600)
        ledger.claims.begin(claims[0])
        poll = ledger.polls.begin(ROUTE, TARGET, until_s=3600)
        assert poll is not None
        postgres.stop()
        with pytest.raises(LedgerUnavailable):
            ledger.claims.give_back(claims)
        with pytest.raises(LedgerUnavailable):
            ledger.polls.failed(poll, "the ledger is away")
        postgres.start()
        ledger.claims.end_leases()
        assert names(scene.claim()) == [b"/a", b"/b"]
        assert scene.attempts(b"/a") == 0
        assert ledger.polls.begin(ROUTE, TARGET, until_s=60) is not None


def test_no_connection_is_open_while_a_process_forks(postgres: Postgres, tmp_path: Path) -> None:
    """A child that closed its copy would tell the server to end its parent's session."""
    port = make_url(postgres.url()).port
    assert port is not None
    with closing(Ledger.open(postgres.url(), state_dir=tmp_path)) as ledger:
        ledger.now()
        assert port in peers(os.getpid())
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, b"1" if port in peers(os.getpid()) else b"0")
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 1) == b"0"
        os.close(reader)
        os.close(writer)
        ledger.now()


def peers(pid: int) -> set[int]:
    """The ports that a process is connected to."""
    import psutil

    return {one.raddr.port for one in psutil.Process(pid).net_connections("tcp") if one.raddr}


# -- other hosts


def test_on_another_host_leases_alone_decide(url: str, tmp_path: Path) -> None:
    """Two hosts, each with a state_dir of its own: neither sees the other's locks, and both die sometimes."""
    with closing(Ledger.open(url, state_dir=tmp_path / "here")) as ledger:
        here = Scene(ledger, Clock())
        here.appear(b"/a", b"/b")
        there = Other(url, tmp_path / "there", host="there")
        with there:
            assert there.ask("claim", 1, 3600) == ["/a"]
            assert there.ask("poll") is not None
            there.kill()
            assert names(here.claim()) == [b"/b"], "its lease is not over, and its lock can't be asked"
            assert here.ledger.polls.begin(ROUTE, TARGET, until_s=60) is None
            with ledger._database.write() as connection:
                ends_at = sqlalchemy.text("extract(epoch FROM clock_timestamp()) + 0.5")
                left = paths.c.remote == b"/a"
                connection.execute(sqlalchemy.update(paths).where(left).values(lease_until=ends_at))
            again = wait_until(here.claim, what="the lease ends by the database's clock")
        assert names(again) == [b"/a"]
        assert here.attempts(b"/a") == 0
        assert not list((tmp_path / "here" / "owners").glob(f"{there.owner}*"))

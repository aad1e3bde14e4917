"""Routes into Azure's blob store, as Azurite keeps it: the same promises as in S3's."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from tests.servers.azurite import Azurite, Container, point_at
from tests.servers.http_proxy import Fault, HttpProxy
from tests.servers.object_stories import fetching, keeps_to_on_exists, put
from tests.servers.packages import Unavailable
from tests.servers.ports import FreePorts
from tests.servers.server import FtpServer
from workers import findings
from workers.errors import StoreRefused
from workers.process import Process
from workers.settings import Settings
from workers.stores.objects import ObjectFolder
from workers.stores.store import Occupied

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # the package is fetched first

BIG = 20 << 20
_numbers = count()


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One that all tests here share."""
    ports = FreePorts()
    try:
        server = Azurite(tmp_path_factory.mktemp("azurite"), ports.next())
    except Unavailable as why:
        pytest.skip(str(why))
    with server:
        yield server
    ports.close()


@pytest.fixture
def container(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Container:
    point_at(azurite.url(), monkeypatch)
    return azurite.container(f"bank-{next(_numbers)}")


@pytest.fixture
def ftp(start_server: Callable[..., FtpServer]) -> FtpServer:
    return start_server("vsftpd")


def test_a_batch_of_mixed_sizes_arrives_whole(ftp: FtpServer, tmp_path: Path, container: Container) -> None:
    """Empty, small, odd names, and in blocks: the bytes, marked, and the sources go."""
    sizes = {"empty": 0, "a b#%.xml": 1, "ü": 70_000, "big": BIG}
    sent = {name: put(ftp, name, size) for name, size in sizes.items()}
    one = fetching(ftp, tmp_path, container, after="delete", verify="hash")
    assert one.poll() == 4
    outcome = one.fetch()
    assert (outcome.published, outcome.bytes) == (4, sum(sizes.values()))
    found = container.objects()
    assert {name: there.content for name, there in found.items()} == {
        f"in/{name}": sent[name] for name in sent
    }
    assert all(there.metadata["towlinemark"].startswith(".towline-") for there in found.values())
    one.clear()
    assert list(ftp.root.iterdir()) == []
    one.close()


@pytest.mark.parametrize("size", [1000, BIG])
def test_on_exists_is_kept_to(ftp: FtpServer, tmp_path: Path, container: Container, size: int) -> None:
    """replace, keep and version, on the conditions that Azure has."""
    keeps_to_on_exists(ftp, tmp_path, container, size)


def test_an_upload_that_is_given_up_leaves_nothing(
    ftp: FtpServer, tmp_path: Path, container: Container
) -> None:
    """Its blocks were never committed; the next claim sends them anew."""
    content = put(ftp, "a", BIG)
    one = fetching(ftp, tmp_path, container)
    asked = count()
    assert one.poll() == 1
    assert one.fetch(holds=lambda _: next(asked) < 200).published == 0
    assert container.objects() == {}
    assert one.fetch().published == 1
    assert container.get("in/a").content == content
    one.close()


@pytest.mark.parametrize("size", [1_000, BIG])
def test_a_worker_that_thaws_does_not_put_an_older_version_over_a_newer(
    container: Container, size: int
) -> None:
    """Its request is on the condition that nothing was written since it looked."""
    frozen, newer = (ObjectFolder(f"az://{container.name}", route="r") for _ in range(2))
    container.put("a", b"earlier")
    for folder, temp, content in ((frozen, ".towline-1", b"o"), (newer, ".towline-2", b"n")):
        folder.open_temp(b"a", temp, resume=True).write(content * size)
        with pytest.raises(Occupied):  # it learns what is there; the fence is asked once more
            folder.publish(b"a", temp, replace=True)
    newer.publish(b"a", ".towline-2", replace=True)
    with pytest.raises(Occupied):
        frozen.publish(b"a", ".towline-1", replace=True)
    assert container.get("a").content == b"n" * size


def test_what_was_put_though_the_answer_was_lost_is_not_doubled(
    ftp: FtpServer, tmp_path: Path, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found by its mark, whatever the second asking was told."""
    content = put(ftp, "a", 5_000)
    with HttpProxy(container.server.port) as proxy:
        point_at(f"{proxy.url}/devstoreaccount1", monkeypatch)
        proxy.faults = [Fault(lambda method, _: method == "PUT", lost=True)]
        one = fetching(ftp, tmp_path, container)
        assert one.poll() == 1
        assert one.fetch().published == 1
        assert proxy.faults[0].met > 1
    assert container.objects()["in/a"].content == content
    one.close()


def test_check_asks_the_container(ftp: FtpServer, tmp_path: Path, container: Container) -> None:
    """Whether it answers, and that nobody need clear up after a killed worker."""
    one = fetching(ftp, tmp_path, container)
    settings = Settings(
        path=tmp_path / "towline.toml",
        state_dir=tmp_path,
        endpoints={"bank": one.endpoint},
        routes={"statements": one.route},
    )  # type: ignore[call-arg]  # the ledger is in state_dir
    with closing(Process(settings)) as process:
        found = {one.what: one.told for one in findings.endpoint(process, "bank").findings}
    one.close()
    assert found["target"].startswith(f"az://{container.name}/in answers;")
    assert found["uploads"].endswith("Azure drops after a week")


def test_what_is_refused_is_told_with_a_way_out(
    ftp: FtpServer, tmp_path: Path, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that is not there, and a key that is not the account's, which is not repeated."""
    put(ftp, "a", 1)
    one = fetching(ftp, tmp_path / "missing", container, local="az://not-there/in")
    assert one.poll() == 1
    with pytest.raises(StoreRefused, match=r"az://not-there/in.*make the (container|bucket)"):
        one.fetch()
    with pytest.raises(StoreRefused, match="ContainerNotFound; make the container"):
        one.store.room_for(1)
    assert [row.attempts for row in one.ledger.history.rows("statements", limit=5)] == [0]
    one.close()

    wrong = base64.b64encode(b"somebody-else's" * 4).decode()
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", wrong)
    with pytest.raises(StoreRefused, match="AuthorizationFailure; let these credentials") as told:
        ObjectFolder(f"az://{container.name}", route="r").room_for(1)
    assert wrong not in repr(told.value)

"""Routes into an object store: real FTP servers on one side, S3 over real HTTP on the other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from tests.faults.acts import answer
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.object_stories import fetching, keeps_to_on_exists, put
from tests.servers.s3 import KEY, S3, SECRET, Bucket, point_at
from tests.servers.server import FtpServer
from workers import findings
from workers.errors import StoreRefused
from workers.process import Process
from workers.receiving import Wanted, receive
from workers.settings import Settings
from workers.stores.object_temp import IN_MEMORY
from workers.stores.objects import ObjectFolder
from workers.stores.store import OVERLAP

BIG = 20 << 20
"""More than is held in memory, and more than two parts."""
_numbers = count()


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    point_at(s3.url, monkeypatch)
    return s3.bucket(f"bank-{next(_numbers)}")


@pytest.fixture
def ftp(start_server: Callable[..., FtpServer]) -> FtpServer:
    return start_server("vsftpd")


def test_a_batch_of_mixed_sizes_arrives_whole(ftp: FtpServer, tmp_path: Path, bucket: Bucket) -> None:
    """Empty, small, odd names, and larger than memory holds: the bytes, and nothing beside them; no upload is
    left, and the sources go, since they are durable elsewhere."""
    sizes = {"empty": 0, "a b#%.xml": 1, "ü": 70_000, "big": BIG}
    sent = {name: put(ftp, name, size) for name, size in sizes.items()}
    one = fetching(ftp, tmp_path, bucket, after="delete", verify="hash")
    assert one.poll() == 4
    outcome = one.fetch()
    assert (outcome.published, outcome.bytes) == (4, sum(sizes.values()))
    found = bucket.objects()
    assert {key: one.content for key, one in found.items()} == {f"in/{name}": sent[name] for name in sent}
    assert found["in/ü"].metadata["towlinesha256"] == hashlib.sha256(sent["ü"]).hexdigest()
    assert all(one.metadata["towlinemark"].startswith(".towline-") for one in found.values())
    assert {receipt.local.decode() for receipt in outcome.files} == {
        f"s3://{bucket.name}/in/{name}" for name in sent
    }
    assert bucket.uploads() == []
    one.clear()
    assert list(ftp.root.iterdir()) == []
    one.close()


@pytest.mark.parametrize("size", [1000, pytest.param(BIG, marks=pytest.mark.long)])
def test_on_exists_is_kept_to(ftp: FtpServer, tmp_path: Path, bucket: Bucket, size: int) -> None:
    """replace, keep, for which no upload is begun, and version."""
    keeps_to_on_exists(ftp, tmp_path, bucket, size)
    assert bucket.uploads() == []


@pytest.mark.long
def test_a_newer_version_replaces_the_older(ftp: FtpServer, tmp_path: Path, bucket: Bucket) -> None:
    """Under the same key, and on the condition that nobody else has written there meanwhile."""
    one = fetching(ftp, tmp_path, bucket)
    for size in (500, 700, BIG, 900):
        body = put(ftp, "a", size)
        assert one.poll() == 1
        assert one.fetch().published == 1
        assert bucket.get("in/a").content == body
    one.close()


@pytest.mark.parametrize("size", [1000, BIG])
def test_what_is_being_received_is_not_visible(
    ftp: FtpServer, tmp_path: Path, bucket: Bucket, size: int
) -> None:
    """Under no name, until the request that publishes it; and an upload that is given up is aborted."""
    put(ftp, "a", size)
    one = fetching(ftp, tmp_path, bucket)
    visible: list[object] = []
    asked: list[bool] = []

    def holds(_: int) -> bool:
        asked.append(True)
        if size == BIG and len(asked) % 16:
            return True  # a look at the bucket at each block would take longer than the transfer
        visible.append(bucket.objects())
        return len(asked) == 1 or (size == BIG and bucket.uploads() == [])

    assert one.poll() == 1
    assert one.fetch(holds=holds).published == 0
    assert len(asked) > 1
    assert visible
    assert not any(visible)
    assert (bucket.objects(), bucket.uploads()) == ({}, [])
    assert one.fetch().published == 1
    one.close()


@pytest.mark.parametrize("size", [1000, IN_MEMORY + 100_000])
def test_a_hash_that_differs_leaves_nothing_there(
    certificates: Certificates, tmp_path: Path, bucket: Bucket, size: int
) -> None:
    """SHA-512, taken of a large file's bytes as they pass: no object, no upload; then the right one."""
    content = os.urandom(size)
    told = f"213 SHA-512 0-{size} {{}} /a"
    with (
        ScriptedServer(certificates, files={b"/a": content}) as server,
        closing(fetching(server, tmp_path, bucket, verify="hash")) as one,  # type: ignore[arg-type]
    ):
        server.when(
            "FEAT",
            answer("211-F\r\n MLST type*;size*;modify*;\r\n SIZE\r\n MDTM\r\n HASH SHA-512*\r\n211 End"),
        )
        server.when("HASH", answer(told.format("0" * 128)), times=1)
        assert one.poll() == 1
        assert one.fetch().failed == 1
        assert (bucket.objects(), bucket.uploads()) == ({}, [])
        server.when("HASH", answer(told.format(hashlib.sha512(content).hexdigest())))
        one.ledger.claims.retry("statements", b"/a")
        assert one.fetch().published == 1
    assert bucket.get("in/a").content == content


@pytest.mark.parametrize("place", [0, OVERLAP - 1])
def test_a_resume_compares_as_much_as_into_a_folder(
    certificates: Certificates, tmp_path: Path, bucket: Bucket, place: int
) -> None:
    """The partner's file is another one of the same size: the first and the last byte of the 64 KiB before
    the cut both count, though all but these are on their way to the store by then."""
    content, cut = os.urandom(IN_MEMORY + 400_000), IN_MEMORY + 200_000
    held = bytearray(content[:cut])
    held[cut - OVERLAP + place] ^= 1
    with (
        ScriptedServer(certificates, files={b"/a": content}) as server,
        closing(fetching(server, tmp_path, bucket)) as one,  # type: ignore[arg-type]
    ):
        with closing(one.store.open_temp(b"a", ".towline-1", resume=True)) as temp:
            temp.write(bytes(held))
            receive(
                one.session, Wanted(b"/a", len(content), None, 1.0), temp, tally=one.tally, go_on=lambda: None
            )
            one.store.publish(b"a", ".towline-1", replace=True)
        asked = [command for command in server.commands if command.startswith(("REST", "RETR"))]
        assert asked == [f"REST {cut - OVERLAP}", "RETR /a", "RETR /a"], "all of it anew"
    assert bucket.get("in/a").content == content
    assert bucket.uploads() == []


def test_a_bucket_that_is_not_there_stops_the_batch(ftp: FtpServer, tmp_path: Path, bucket: Bucket) -> None:
    """It is the place's fault: no file is charged, and the remedy is told."""
    put(ftp, "a", 1)
    one = fetching(ftp, tmp_path, bucket, local="s3://not-there/in")
    assert one.poll() == 1
    for ask in (one.fetch, lambda: one.store.room_for(1)):
        with pytest.raises(StoreRefused, match=r"s3://not-there/in.*NoSuchBucket; make the bucket"):
            ask()
    assert [row.attempts for row in one.ledger.history.rows("statements", limit=5)] == [0]
    one.close()


def test_a_profile_leads_to_the_store(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys and its endpoint, from the files in ~/.aws, where the environment has none."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_PROFILE", "bank")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        f"[bank]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    (tmp_path / ".aws/config").write_text(
        f"[profile bank]\nregion = us-east-1\nendpoint_url = {bucket.server.url}\n"
    )
    assert ObjectFolder(f"s3://{bucket.name}/in", route="r").size_of(b"a") is None
    bucket.put("in/a", b"12345")
    assert ObjectFolder(f"s3://{bucket.name}/in", route="r").size_of(b"a") == 5


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_an_endpoint_without_tls_is_taken_by_any_of_its_names(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whoever writes http:// there means it."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv(name, bucket.server.url)
    ObjectFolder(f"s3://{bucket.name}/in", route="r").room_for(1)


@pytest.mark.parametrize("there", [True, False])
def test_check_asks_the_bucket(ftp: FtpServer, tmp_path: Path, bucket: Bucket, there: bool) -> None:
    """Whether it answers, what has no meaning there, and what becomes of a killed worker's uploads."""
    local = f"s3://{bucket.name if there else 'not-there'}/in"
    one = fetching(ftp, tmp_path, bucket, local=local)
    settings = Settings(
        path=tmp_path / "towline.toml",
        state_dir=tmp_path,
        endpoints={"bank": one.endpoint},
        routes={"statements": one.route},
    )  # type: ignore[call-arg]  # the ledger is in state_dir
    with closing(Process(settings)) as process:
        found = {one.what: one for one in findings.endpoint(process, "bank").findings}
    one.close()
    if there:
        assert found["target"].told == f"{local} answers; mode and keep_mtime mean nothing there"
        assert "aborted after a day" in found["uploads"].told
    else:
        assert found["target"].told == f"{local}: NoSuchBucket"
        assert found["target"].remedy == "make the bucket, or correct `local`"
        assert isinstance(found["target"].failure, StoreRefused)

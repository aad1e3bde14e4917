"""A store that fails, loses answers or is slow; workers that are killed, or thaw: one object a version."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import psutil
import pytest

from tests.faults.nursery import Nursery
from tests.servers.fetching import Fetching
from tests.servers.http_proxy import Fault, HttpProxy
from tests.servers.s3 import KEY, S3, SECRET, Bucket, point_at
from tests.servers.server import FtpServer
from tests.waiting import wait_until
from workers.errors import StoreRefused
from workers.names import printable
from workers.stores import bucket as requests
from workers.stores.bucket import PART
from workers.stores.objects import ObjectFolder
from workers.stores.store import Occupied
from workers.upkeep import sweep, upkeep

if TYPE_CHECKING:
    from workers.process import Process

BIG = 20 << 20
SIZES = {"a": BIG, "b": 0, "c": 5_000}
_numbers = count()


@pytest.fixture
def bucket(s3: S3) -> Bucket:
    return s3.bucket(f"faults-{next(_numbers)}")


@pytest.fixture
def proxy(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpProxy]:
    with HttpProxy(s3.port) as one:
        point_at(one.url, monkeypatch)
        yield one


@pytest.fixture
def reached(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is found without anything in between."""
    point_at(s3.url, monkeypatch)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has two seconds."""
    monkeypatch.setattr(requests, "_REQUEST_S", 2)


@pytest.fixture(scope="module")
def killed(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Workers that know the store from their environment, as users' do."""
    with pytest.MonkeyPatch.context() as patch:
        point_at(s3.url, patch)
        with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
            yield nursery


@pytest.fixture
def one(start_server: Callable[..., FtpServer], tmp_path: Path, bucket: Bucket) -> Iterator[Fetching]:
    """A route with a large, an empty and a small file, all ready; nothing is asked of the store yet."""
    server = start_server("pyftpdlib")
    for name, size in SIZES.items():
        (server.root / name).write_bytes(os.urandom(size))
    fetching = Fetching(server, tmp_path / "towline", local=f"s3://{bucket.name}/in")
    assert fetching.poll() == len(SIZES)
    yield fetching
    fetching.close()


def of(method: str, *, query: str = "") -> Callable[[str, str], bool]:
    return lambda met, path: met == method and query in path


PUTS = of("PUT")
PARTS = of("PUT", query="partNumber=")
COMPLETIONS = of("POST", query="uploadId=")


def landed_once(one: Fetching, bucket: Bucket) -> None:
    """Each version whole, under its own key, written once; nothing else is there, nobody was charged."""
    there = {key: hashlib.sha256(found.content).hexdigest() for key, found in bucket.objects().items()}
    rows = one.ledger.history.rows("statements", limit=9)
    assert there == {f"in{printable(row.path)}": row.sha256 for row in rows}
    assert {key: len(found.content) for key, found in bucket.objects().items()} == {
        f"in/{name}": size for name, size in SIZES.items()
    }
    assert bucket.writings() == dict.fromkeys(there, 1)
    assert one.states() == dict.fromkeys(("/a", "/b", "/c"), "FINISHED")
    assert {row.attempts for row in rows} == {0}


def test_passing_faults_are_waited_out(proxy: HttpProxy, bucket: Bucket, one: Fetching) -> None:
    """503 and 500 for a part and for whole files: asked again, and nobody learns of it."""
    proxy.faults = [Fault(PUTS, times=2, status=503), Fault(COMPLETIONS, times=1, status=500)]
    assert one.fetch().published == 3
    assert [fault.met for fault in proxy.faults] == [2, 1]
    landed_once(one, bucket)


def test_a_group_is_put_side_by_side(proxy: HttpProxy, bucket: Bucket, one: Fetching) -> None:
    """A far store's answers are waited for together; each file is written once, by one request."""
    proxy.faults = [Fault(PUTS, hold_s=60.0)]
    small = [claim for claim in one.claim() if claim.path != b"/a"]  # whose parts are two at once anyway
    with ThreadPoolExecutor(1) as beside:
        two = beside.submit(wait_until, lambda: proxy.most_at_once == 2, what="two requests side by side")
        two.add_done_callback(lambda _: proxy.let_go())
        assert one.fetch(small).published == 2
    assert two.result()
    assert [method for method, _ in proxy.seen] == ["PUT", "PUT"]
    assert bucket.writings() == {"in/b": 1, "in/c": 1}


@pytest.mark.long
def test_a_store_that_goes_on_failing_stops_the_batch(
    proxy: HttpProxy, bucket: Bucket, one: Fetching
) -> None:
    """The place is named, with what can be done; all is fetched once it is well again."""
    proxy.faults = [Fault(PUTS, status=503)]
    with pytest.raises(
        StoreRefused, match=rf"s3://{bucket.name}/in.*503 Service Unavailable; the store fails"
    ):
        one.fetch()
    assert bucket.objects() == {}
    proxy.faults = []
    assert one.fetch().published == 3
    landed_once(one, bucket)
    assert bucket.uploads() == []


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.long), 1 << 30], ids=["once", "always"])
def test_what_was_put_though_the_answer_was_lost_is_not_doubled(
    proxy: HttpProxy, bucket: Bucket, one: Fetching, times: int
) -> None:
    """HEAD finds the version's own mark: it was published, whatever the second asking was told."""
    proxy.faults = [
        Fault(lambda method, path: PUTS(method, path) and "uploadId" not in path, times=times, lost=True),
        Fault(COMPLETIONS, times=times, lost=True),
    ]
    assert one.fetch().published == 3
    assert all(fault.met for fault in proxy.faults)
    landed_once(one, bucket)


@pytest.mark.long
def test_a_store_that_answers_too_late_is_asked_what_became_of_it(
    impatient: None, proxy: HttpProxy, bucket: Bucket, one: Fetching
) -> None:
    """The time for a request ends after the store has done it: settled by HEAD."""
    proxy.faults = [Fault(lambda method, path: method == "PUT" and path.endswith("/c"), hold_s=60)]
    assert one.fetch().published == 3
    landed_once(one, bucket)


@pytest.mark.long
def test_a_slow_store_slows_the_line_and_breaks_nothing(
    proxy: HttpProxy, bucket: Bucket, one: Fetching
) -> None:
    """Each part takes two seconds: the transfer waits for it, and goes on."""
    proxy.faults = [Fault(PARTS, hold_s=2.0)]
    assert one.fetch().published == 3
    assert proxy.faults[0].met == BIG // PART + 1
    landed_once(one, bucket)


@pytest.mark.long
def test_a_store_that_stands_still_stops_the_batch(
    impatient: None, proxy: HttpProxy, bucket: Bucket, one: Fetching
) -> None:
    """No part is answered any more: that is the place's fault, and ends the fetch; then all comes."""
    proxy.faults = [Fault(PARTS, hold_s=600.0)]
    with pytest.raises(StoreRefused, match=f"s3://{bucket.name}/in"):
        one.fetch()
    assert "in/a" not in bucket.objects()
    proxy.faults = []
    while one.fetch().published:
        pass
    landed_once(one, bucket)


def test_a_refusal_tells_no_secret(proxy: HttpProxy, one: Fetching) -> None:
    """S3 repeats the access key in what it answers; neither it nor the secret leaves the process."""
    answer = f"<Error><Code>AccessDenied</Code><AWSAccessKeyId>{KEY}</AWSAccessKeyId></Error>".encode()
    proxy.faults = [Fault(PUTS, status=403, body=answer)]
    with pytest.raises(StoreRefused, match="AccessDenied; let these credentials") as told:
        one.fetch()
    proxy.faults = [Fault(of("GET"), status=403, body=answer)]
    with pytest.raises(StoreRefused, match="AccessDenied; let these credentials") as asked:
        one.store.room_for(1)
    shown = "".join(f"{failure.value!r} {failure.value.__cause__!r}" for failure in (told, asked))
    assert KEY not in shown
    assert SECRET not in shown
    assert {row.attempts for row in one.ledger.history.rows("statements", limit=9)} == {0}


SEEN = {
    "intended": {0},
    "renamed:1": {1, 2, 3},
    "receiving:9": {0},
    "received:2": {0, 1},
    "renamed:2": {2, 3},
    "renamed:3": {3},
    "published": {1, 2, 3},
}
"""How many objects there may be then: puts go side by side, and the large file ends a group."""
LATER = tuple(SEEN)[2:]


@pytest.mark.parametrize(
    "at", ["intended", "renamed:1", *(pytest.param(at, marks=pytest.mark.long) for at in LATER)]
)
def test_a_killed_worker_loses_and_doubles_nothing(
    reached: None, bucket: Bucket, one: Fetching, killed: Nursery, at: str
) -> None:
    """What it had published bears its mark, and counts; what it had not is fetched anew."""
    killed.dies_of_fetching(one, at)
    wait_until(
        bucket.server.is_through_with_the_dead, 60, what="what the killed worker had asked for is done"
    )
    assert len(bucket.objects()) in SEEN[at]
    while one.fetch().published:
        pass
    landed_once(one, bucket)


@pytest.mark.parametrize("size", [1_000, pytest.param(BIG, marks=pytest.mark.long)])
@pytest.mark.parametrize("before", [True, False], ids=["replacing", "first"])
def test_a_worker_that_thaws_does_not_put_an_older_version_over_a_newer(
    reached: None, bucket: Bucket, size: int, before: bool
) -> None:
    """It froze after its intent; its request is on the condition that nothing was written since."""
    frozen, newer = (ObjectFolder(f"s3://{bucket.name}", route="r") for _ in range(2))

    def receive(folder: ObjectFolder, temp: str, content: bytes) -> None:
        folder.open_temp(b"a", temp, resume=True).write(content)

    if before:
        bucket.put("a", b"earlier")
    receive(frozen, ".towline-1", b"o" * size)
    receive(newer, ".towline-2", b"n" * size)
    if before:
        for folder, temp in ((frozen, ".towline-1"), (newer, ".towline-2")):
            with pytest.raises(Occupied):  # it learns what is there; the fence is asked once more
                folder.publish(b"a", temp, replace=True)
    newer.publish(b"a", ".towline-2", replace=True)
    with pytest.raises(Occupied):
        frozen.publish(b"a", ".towline-1", replace=True)
    assert bucket.get("a").content == b"n" * size
    assert newer.bears(b"a", ".towline-2")
    assert not newer.bears(b"a", ".towline-1")


STRANGERS = "in/theirs"


def begun(bucket: Bucket, key: str) -> str:
    """An upload in parts that nobody ends; its id. moto says of each that it began in 2010."""
    upload = bucket.server.client.create_multipart_upload(Bucket=bucket.name, Key=key)["UploadId"]
    bucket.server.client.upload_part(
        Bucket=bucket.name, Key=key, UploadId=upload, PartNumber=1, Body=bytes(PART)
    )
    return str(upload)


def swept(one: Fetching) -> int:
    """What upkeep does of this route, in a new process."""
    settings = SimpleNamespace(routes={one.route.name: one.route}, history=30 * 86_400.0)
    process = SimpleNamespace(ledger=one.ledger, settings=settings, store=ObjectFolder.of)
    return upkeep(cast("Process", process)).temps_removed


def test_what_a_killed_worker_left_is_aborted_and_nothing_else(
    reached: None, bucket: Bucket, one: Fetching, killed: Nursery
) -> None:
    """When its file has come anew; strangers' uploads, of names that are no file's of ours, go on."""
    begun(bucket, STRANGERS)
    begun(bucket, "ina")
    killed.dies_of_fetching(one, "intended")
    wait_until(bucket.server.is_through_with_the_dead, 60, what="the killed worker's requests are done")
    one.ledger.claims.end_leases({"statements": 5})
    assert swept(one) == 0, "it may be about to be completed"
    while one.fetch().published:
        pass
    landed_once(one, bucket)
    assert sorted(bucket.uploads()) == ["in/a", STRANGERS, "ina"]
    assert swept(one) == 1
    assert sorted(bucket.uploads()) == [STRANGERS, "ina"]
    landed_once(one, bucket)


def test_an_upload_of_a_file_in_hand_is_not_aborted(reached: None, bucket: Bucket, one: Fetching) -> None:
    """However old it is: another worker sweeps while this one still sends."""
    begun(bucket, "in/a")
    claims = one.claim()
    assert swept(one) == 0
    one.ledger.claims.give_back(claims)
    assert swept(one) == 1
    assert bucket.uploads() == []


@pytest.mark.parametrize(("hours", "aborted"), [(23, 0), (25, 1)])
def test_an_upload_has_a_day(
    proxy: HttpProxy, bucket: Bucket, one: Fetching, hours: int, aborted: int
) -> None:
    """It may be another ledger's. The listing is made up, since moto tells no times; the upload is real."""
    began = datetime.now(UTC) - timedelta(hours=hours)
    listed = f"<Upload><Key>in/a</Key><UploadId>{begun(bucket, 'in/a')}</UploadId>"
    listed += f"<Initiated>{began:%Y-%m-%dT%H:%M:%S.000Z}</Initiated></Upload>"
    answer = f"<ListMultipartUploadsResult>{listed}</ListMultipartUploadsResult>".encode()
    proxy.faults = [Fault(of("GET", query="uploads"), status=200, body=answer)]
    assert swept(one) == aborted
    assert proxy.faults[0].met == 1
    assert len(bucket.uploads()) == 1 - aborted


def test_a_store_is_asked_for_left_uploads_once_an_hour(
    proxy: HttpProxy, bucket: Bucket, one: Fetching
) -> None:
    """Upkeep comes once a minute; requests are paid for."""
    for _ in range(3):
        assert sweep(one.route, one.store, one.ledger) == 0
    assert len([path for _, path in proxy.seen if "uploads" in path]) == 1


def test_without_botocore_a_sweep_says_what_to_install(
    reached: None, one: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """obstore may have been installed alone: files come all the same."""
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(StoreRefused, match=r"pip install 'towline\[object\]'"):
        sweep(one.route, one.store, one.ledger)
    assert one.fetch().published == 3


def test_an_endpoint_that_is_no_url_is_told_by_a_sweep_too(
    one: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upkeep goes on with the other routes: it is the place's fault."""
    point_at("localhost:9000", monkeypatch)
    with pytest.raises(StoreRefused, match="lifecycle rule"):
        sweep(one.route, ObjectFolder.of(one.route), one.ledger)


def test_who_looked_for_left_uploads_leaves_no_line_open(proxy: HttpProxy, bucket: Bucket) -> None:
    """Closed when it is left, not when somebody collects it."""
    port = int(proxy.url.rpartition(":")[2])

    def lines() -> int:
        found = psutil.Process().net_connections("tcp")
        return sum(bool(one.raddr) and one.raddr.port == port for one in found if one.status == "ESTABLISHED")

    uploads = requests.Bucket(f"s3://{bucket.name}/in", "r").left_uploads()
    assert uploads is not None
    with uploads:
        assert uploads.begun_before(0) == []
        assert lines() == 1
    assert lines() == 0


def test_a_sweep_tells_no_token(
    reached: None, one: Fetching, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Though everything is logged that anybody says."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-this-test")
    with caplog.at_level(logging.DEBUG):
        assert swept(one) == 0
    assert "a-token-of-this-test" not in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (501, "NotImplemented")])
def test_a_store_that_lets_nobody_see_uploads_says_what_to_do(
    proxy: HttpProxy, one: Fetching, status: int, code: str
) -> None:
    """By S3's code, and without its words, which may name the key."""
    answer = f"<Error><Code>{code}</Code><Message>{KEY}</Message></Error>".encode()
    proxy.faults = [Fault(of("GET", query="uploads"), status=status, body=answer)]
    with pytest.raises(StoreRefused, match=f"{code}; what killed workers left.*lifecycle rule") as told:
        sweep(one.route, one.store, one.ledger)
    assert KEY not in f"{told.value!r} {told.value.__cause__!r}"
    assert one.fetch().published == 3

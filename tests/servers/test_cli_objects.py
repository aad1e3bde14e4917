"""`towline run` into a bucket, what the reading verbs tell of it, and what memory a large file takes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.servers.command import Site
from tests.servers.packages import Unavailable
from tests.servers.s3 import KEY, S3, SECRET, Bucket, point_at
from tests.servers.server import FtpServer

MOST_RSS = 150 << 20
_numbers = count()


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    point_at(s3.url, monkeypatch)
    return s3.bucket(f"cli-{next(_numbers)}")


def test_the_verbs_tell_of_objects_by_their_url(
    start_server: Callable[..., FtpServer], tmp_path: Path, bucket: Bucket
) -> None:
    """run, history, explain, routes and check; none of them tells a key."""
    url = f"s3://{bucket.name}/in"
    site = Site(tmp_path, start_server("pyftpdlib"), route={"local": url})
    site.put("a.xml")
    ran = site.towline("run", "statements")
    assert ran.returncode == 0, ran.stderr
    assert bucket.get("in/a.xml").content == b"hello\n"
    [row] = site.json("history", "--route", "statements")["files"]
    assert row["local"] == f"{url}/a.xml"
    explained = site.towline("explain", "statements", "/out/a.xml")
    assert f"{url}/a.xml" in explained.stdout
    said = ran.stdout + ran.stderr + explained.stdout + site.towline("check").stdout
    assert url in said
    assert KEY not in said
    assert SECRET not in said


@pytest.mark.long
def test_a_bucket_that_is_not_there_is_told(
    start_server: Callable[..., FtpServer], tmp_path: Path, bucket: Bucket
) -> None:
    """By run, at once and with what can be done, and by routes for as long as it lasts."""
    site = Site(tmp_path, start_server("pyftpdlib"), route={"local": "s3://not-there"})
    site.put("a.xml")
    ran = site.towline("run", "statements")
    assert ran.returncode == 1
    assert "s3://not-there" in ran.stderr
    assert "make the bucket" in ran.stderr
    assert "NoSuchBucket; make the bucket" in site.towline("routes").stdout


@pytest.mark.long
def test_a_large_file_takes_little_memory(
    start_server: Callable[..., FtpServer], tmp_path: Path, bucket: Bucket
) -> None:
    """1 GiB goes through in parts: the whole process stays below 150 MiB, and leaves no copy here."""
    arrives_in_little_memory(start_server("vsftpd"), tmp_path, bucket, 1 << 30)


@pytest.mark.long
def test_many_large_files_take_little_memory(
    start_server: Callable[..., FtpServer], tmp_path: Path, bucket: Bucket
) -> None:
    """Uploads that wait to be completed each hold a part or two: few of them wait at a time."""
    site = Site(tmp_path, start_server("vsftpd"), route={"local": f"s3://{bucket.name}"})
    for number in range(20):
        with (site.out / str(number)).open("wb") as file:
            file.truncate(9 << 20)
    assert peak_of_run(site) < MOST_RSS
    assert len(site.json("history", "--state", "FINISHED")["files"]) == 20


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_gib_take_no_more_memory(
    start_server: Callable[..., FtpServer],
    tmp_path: Path,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same into a server that keeps its objects on the disk; moto's would hold them in memory, twice."""
    try:
        server = S3.of_rclone(tmp_path / "s3", free_port())
    except Unavailable as why:
        pytest.skip(str(why))
    with server:
        point_at(server.url, monkeypatch)
        bucket = server.bucket("large", versions=False)
        arrives_in_little_memory(start_server("vsftpd"), tmp_path / "site", bucket, 10 << 30)
        bucket.delete("large")


def arrives_in_little_memory(server: FtpServer, folder: Path, bucket: Bucket, size: int) -> None:
    """A file of this size is fetched, and compared with what lies in the bucket then.

    It is sparse, and each MiB of it begins with its number: no two parts are alike.
    """
    site = Site(folder, server, route={"local": f"s3://{bucket.name}"})
    digest = hashlib.sha256()
    with (site.out / "large").open("wb") as file:
        for number in range(size >> 20):
            head = number.to_bytes(8, "big")
            file.seek(number << 20)
            file.write(head)
            digest.update(head + bytes((1 << 20) - 8))
        file.truncate(size)
    assert peak_of_run(site) < MOST_RSS
    here = [path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(server.root)]
    assert max(path.stat().st_size for path in here) < size >> 4, "a copy of it is here"
    [row] = site.json("history", "--route", "statements")["files"]
    assert (row["sha256"], row["bytes"]) == (digest.hexdigest(), size)
    there = hashlib.sha256()
    body = bucket.server.client.get_object(Bucket=bucket.name, Key="large")["Body"]
    for chunk in body.iter_chunks(1 << 20):
        there.update(chunk)
    assert there.hexdigest() == digest.hexdigest()


def peak_of_run(site: Site) -> int:
    """`towline run` to its end: the most memory it had resident; bytes."""
    began = time.monotonic()
    peak = site.peak_rss("run", "statements")
    print(f"{time.monotonic() - began:.0f} s; peak RSS {peak >> 20} MiB")
    return peak

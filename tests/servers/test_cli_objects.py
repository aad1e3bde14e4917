"""`towline run` into a bucket, what the reading verbs tell of it, and what memory a large file takes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.servers.command import Site
from tests.servers.s3 import KEY, S3, SECRET, Bucket, point_at
from tests.servers.server import FtpServer

MOST_RSS = 150 << 20
LARGE = 1 << 30
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
    site = Site(tmp_path, start_server("vsftpd"), route={"local": f"s3://{bucket.name}"})
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()
    with (site.out / "large").open("wb") as file:
        for number in range(LARGE >> 20):
            written = block[number % 1024 :] + block[: number % 1024]
            digest.update(written)
            file.write(written)
    with site.started("run", "statements") as process:
        _, status, used = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert used.ru_maxrss << 10 < MOST_RSS
    print(f"peak RSS {used.ru_maxrss >> 10} MiB")
    [row] = site.json("history", "--route", "statements")["files"]
    assert (row["sha256"], row["bytes"]) == (digest.hexdigest(), LARGE)
    there = hashlib.sha256()
    body = bucket.server.client.get_object(Bucket=bucket.name, Key="large")["Body"]
    for chunk in body.iter_chunks(1 << 20):
        there.update(chunk)
    assert there.hexdigest() == digest.hexdigest()

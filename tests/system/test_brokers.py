"""Brokers other than the embedded one, as `[towline] broker` names them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.servers.certificates import Certificates
from tests.servers.packages import Unavailable
from tests.servers.redis_tls import RedisTls
from tests.servers.server import FtpServer
from tests.system.stack import Stack, endpoint
from tests.waiting import wait_until

WITHIN = 60.0  # seconds, on a busy machine


@pytest.fixture
def redis_tls(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, free_port: Callable[[], int]
) -> Iterator[RedisTls]:
    """A Redis that takes TLS only; without it the test is skipped at home and fails in CI."""
    try:
        server = RedisTls(tmp_path_factory.mktemp("redis"), certificates, free_port())
    except Unavailable as why:
        if os.environ.get("CI") == "true":
            pytest.fail(str(why), pytrace=False)
        pytest.skip(str(why))
    with server:
        yield server


def test_a_file_arrives_by_a_broker_that_takes_tls_only(
    start_server: Callable[..., FtpServer], redis_tls: RedisTls, tmp_path: Path
) -> None:
    """Messages and results go over rediss://, the server's certificate proven; no log has the password."""
    with pytest.raises(redis.ConnectionError):  # else all of this could go unencrypted
        redis.Redis("127.0.0.1", redis_tls.port, password=redis_tls.password).ping()
    server = start_server("vsftpd")
    (server.root / "statement").write_bytes(b"12.50 EUR")
    with Stack(
        tmp_path,
        redis_tls.url(),
        endpoints={"bank": endpoint(server)},
        routes={"in": {"endpoint": "bank", "remote": "/", "every": "1h"}},
    ) as stack:
        stack.start("polls", "transfers")
        stack.send("poll", "polls", route="in")
        wait_until(lambda: stack.landed("in") == {b"statement"}, WITHIN, what="the file")
        assert (stack.landing("in") / "statement").read_bytes() == b"12.50 EUR"
        (server.root / "another").write_bytes(b"0.75 EUR")
        outcome = stack.send("fetch", "transfers", route="in", paths=["/another"]).get(timeout=WITHIN)
        assert (outcome["published"], outcome["bytes"]) == (1, 8)
        assert redis_tls.password not in stack.said()


def test_a_broker_whose_certificate_nobody_vouches_for_is_sent_nothing(
    redis_tls: RedisTls, tmp_path: Path
) -> None:
    """The authority that the URL names has not signed it: `towline submit` fails, no result is asked for."""
    other = Certificates.make(tmp_path / "other")
    with Stack(
        tmp_path,
        redis_tls.url(ca_file=other.ca_file),
        endpoints={
            "bank": {"host": "127.0.0.1", "port": 1, "user": "acme", "password": {"env": "STACK_PASSWORD"}}
        },
        routes={"in": {"endpoint": "bank", "remote": "/"}},
    ) as stack:
        ended = stack.towline("submit", "poll", "in")
        assert ended.returncode != 0
        assert "CERTIFICATE_VERIFY_FAILED" in ended.stderr
        assert redis_tls.password not in ended.stdout + ended.stderr
        # Celery opens the line for results by a way of its own.
        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            stack.app.backend.client.ping()
        with redis.Redis.from_url(redis_tls.url()) as queues:
            assert queues.keys() == []

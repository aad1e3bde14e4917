"""Azurite, Microsoft's own stand-in for Azure's blob store: an npm package, fetched at its first use."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Self

import obstore
import pytest
from obstore.store import AzureStore

from tests.servers.packages import Unavailable, cache_folder
from tests.servers.s3 import Object
from tests.waiting import wait_until

PACKAGE = "azurite@3.37.0"
FETCH_LIMIT_S = 300.0
ACCOUNT = "devstoreaccount1"
# The one key that every Azurite has; no secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def _program() -> Path:
    """Its blob service, fetched at first use. Raises Unavailable."""
    final = cache_folder() / PACKAGE
    program = final / "node_modules/.bin/azurite-blob"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable("azurite: this machine has no npm")
        with tempfile.TemporaryDirectory(prefix="azurite.", dir=final.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            # No package's own script is run: none of them is needed.
            command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE]
            said = subprocess.run(
                command, cwd=made, capture_output=True, text=True, check=False, timeout=FETCH_LIMIT_S
            )
            if said.returncode:
                raise Unavailable(f"azurite: npm could not fetch it: {said.stderr.strip()[-200:]}")
            if not final.exists():
                made.rename(final)
    return program


class Azurite:
    """One server; all it holds lies in `folder`."""

    def __init__(self, folder: Path, port: int) -> None:
        """Raises Unavailable."""
        self.port = port
        self._log = folder / "azurite.log"
        program = _program()
        options = ["--location", str(folder), "--blobPort", str(port), "--skipApiVersionCheck"]
        # Else it tells its maker that it runs.
        options.append("--disableTelemetry")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            wait_until(self._answers, 60, what="Azurite answers")
        except BaseException:
            self.close()
            raise

    def container(self, name: str) -> Container:
        """A new, empty one."""
        self._ask("PUT", name, "restype=container")
        return Container(self, name)

    def url(self) -> str:
        """The account's address."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def _ask(self, method: str, path: str, query: str) -> None:
        """One signed request (Shared Key), of a kind that obstore has none for."""
        told = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        ours = "".join(f"{name}:{value}\n" for name, value in told.items())
        unused = "\n" * 12  # lengths, types and conditions
        text = f"{method}{unused}{ours}/{ACCOUNT}/{ACCOUNT}/{path}\n{query.replace('=', ':')}"
        digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
        told["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        request = urllib.request.Request(f"{self.url()}/{path}?{query}", method=method, headers=told)
        urllib.request.urlopen(request, timeout=30).close()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
        try:
            urllib.request.urlopen(self.url(), timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Idempotent."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Container:
    """One container, seen by its owner."""

    def __init__(self, server: Azurite, name: str) -> None:
        self.server = server
        self.name = name
        self.url = f"az://{name}"
        self._store = AzureStore(
            name,
            account_name=ACCOUNT,
            account_key=KEY,
            endpoint=server.url(),
            client_options={"allow_http": True, "timeout": timedelta(seconds=60)},
        )

    def objects(self) -> dict[str, Object]:
        """All that is visible, by name."""
        return {one["path"]: self.get(one["path"]) for one in obstore.list(self._store).collect()}

    def get(self, name: str) -> Object:
        """One blob."""
        got = obstore.get(self._store, name)
        return Object(bytes(got.bytes()), {key: str(value) for key, value in got.attributes.items()})

    def put(self, name: str, content: bytes) -> None:
        """As a stranger does."""
        obstore.put(self._store, name, content)


def point_at(url: str, patch: pytest.MonkeyPatch) -> None:
    """Let this process, and those it starts, find the server and its credentials as users have them."""
    told = {"STORAGE_ENDPOINT": url, "STORAGE_ACCOUNT_NAME": ACCOUNT, "STORAGE_ACCOUNT_KEY": KEY}
    for name, value in told.items():
        patch.setenv(f"AZURE_{name}", value)

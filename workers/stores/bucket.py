"""Bucket: the requests that are made of an object store, and their failures told as what they are.

The only module that knows obstore. What a store says of a failure is never repeated whole: its answer may
name the access key. The error's class, S3's code and the HTTP status tell enough.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import obstore
from obstore import exceptions
from obstore.store import from_url

from workers.errors import StoreRefused
from workers.stores.aws_profile import of_profile
from workers.stores.left_uploads import LeftUploads

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

MARK = "towlinemark"
"""The metadata that names the temp an object was published from: ledger, path, version and fence in one.
Without a hyphen, which Azure refuses, and without an underscore, which proxies drop."""
DIGEST = "towlinesha256"
"""The metadata that holds the SHA-256; only where it is known before the first byte is sent."""

PART = 8 << 20
"""Bytes of a part. S3 takes 10,000 of them, 78 GiB."""
MOST_BYTES = 10_000 * PART
_SIDE_BY_SIDE = 2
"""Parts on their way at once: with the one being filled, three are in memory."""

_RETRY: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
_REQUEST_S = 60
"""For one request, a part included: 8 MiB in a minute are 1.1 Mbit/s."""

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3} [A-Za-z ]+)")
_AFTER_THE_LAST = "\U0010ffff"

_REMEDIES = {
    "NoSuchBucket": "make the bucket, or correct `local`",
    "ContainerNotFound": "make the container, or correct `local`",
    "SlowDown": "it takes fewer requests than it gets: try later, or with fewer workers",
    "SignatureDoesNotMatch": "correct the secret key",
    "InvalidAccessKeyId": "correct the access key",
    "ExpiredToken": "renew the credentials",
}


@dataclass(frozen=True, slots=True)
class _Maker:
    """What obstore reads from the environment. endpoint: what leads to another store than the maker's own,
    the likeliest name first. keys: what gives credentials."""

    endpoint: tuple[str, ...]
    keys: str

    def named(self) -> str:
        """The endpoint that the environment names, or ""."""
        return next((told for name in self.endpoint if (told := os.environ.get(name))), "")


_MAKERS = {
    "s3": _Maker(
        ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"),
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "gs": _Maker(("GOOGLE_BASE_URL",), "GOOGLE_SERVICE_ACCOUNT"),
    "az": _Maker(
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    ),
}


class Conflict(Exception):
    """What lies under the key is not what was expected there."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object as HEAD tells it. mark: of the temp that it was published from, None for a stranger's."""

    size: int
    mark: str | None
    e_tag: str | None
    version: str | None


class Bucket:
    """A prefix in an object store. Its connections are obstore's own, and end with it."""

    def __init__(self, url: str, route: str) -> None:
        """Nothing is asked yet. Raises StoreRefused where the environment's settings can't be used."""
        self._url = url
        self._route = route
        self._maker = _MAKERS[url.partition(":")[0]]
        try:
            self._profile = of_profile(os.environ) if url.startswith("s3:") else {}
        except ValueError as unreadable:
            raise StoreRefused(route, url, str(unreadable)) from None
        with self._told():
            # http:// is somebody's explicit choice of an endpoint; the stores' own are https.
            self._endpoint = endpoint = self._profile.get("endpoint") or self._maker.named()
            options: ClientConfig = {
                "timeout": timedelta(seconds=_REQUEST_S),
                "allow_http": endpoint.startswith("http://"),
            }
            self._store: ObjectStore = from_url(
                url, config=cast("S3Config", self._profile), client_options=options, retry_config=_RETRY
            )

    def look(self) -> None:
        """Ask for a listing that holds nothing. Raises StoreRefused where there is no such bucket."""
        with self._told():
            obstore.list(self._store, offset=_AFTER_THE_LAST).collect()

    def head(self, key: str) -> Found | None:
        """What lies under the key; None when nothing does. Raises StoreRefused."""
        with self._told():
            try:
                got = obstore.get(self._store, key, options={"head": True})
            except FileNotFoundError:
                return None
            meta = got.meta
            return Found(meta["size"], got.attributes.get(MARK), meta["e_tag"], meta["version"])

    def put(
        self, key: str, content: bytes | bytearray, expected: Found | None, mark: str, sha256: str
    ) -> None:
        """Put a whole object in one request, if `expected` is still what lies there.

        Raises Conflict, and StoreRefused: then it may have been put all the same.
        """
        with self._told():
            try:
                obstore.put(
                    self._store,
                    key,
                    content,
                    attributes={MARK: mark, DIGEST: sha256},
                    mode="create" if expected is None else _version(expected),
                    use_multipart=False,
                )
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                raise Conflict from None
            except FileNotFoundError:
                if expected is None:
                    raise
                raise Conflict from None  # it has been deleted since

    def put_parts(self, key: str, blocks: Iterator[bytes], mark: str) -> None:
        """Put an object in parts as `blocks` gives them; it appears when `blocks` ends.

        What `blocks` raises aborts the upload and leaves here. Raises StoreRefused.
        """
        with self._told():
            obstore.put(
                self._store,
                key,
                blocks,
                attributes={MARK: mark},
                use_multipart=True,
                chunk_size=PART,
                max_concurrency=_SIDE_BY_SIDE,
            )

    def left_uploads(self) -> LeftUploads | None:
        """Uploads in parts that nobody has ended; None of stores where they can't be asked for.

        Raises StoreRefused.
        """
        if not self._url.startswith("s3:"):
            return None
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
        settings = {"region": region} | self._profile
        return LeftUploads(self._url, self._route, endpoint=self._endpoint, settings=settings)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (exceptions.BaseError, OSError, ValueError) as failure:
            # The chain would bring the store's whole answer into logs and tracebacks.
            raise StoreRefused(self._route, self._url, _reason(failure, self._maker)) from None


def _version(found: Found) -> UpdateVersion:
    version: UpdateVersion = {}
    if found.e_tag is not None:
        version["e_tag"] = found.e_tag
    if found.version is not None:
        version["version"] = found.version
    return version


def _reason(failure: Exception, maker: _Maker) -> str:
    """What went wrong and what can be done, without the store's own words."""
    text = str(failure)
    code, status = _CODE.search(text), _STATUS.search(text)
    told = code[1] if code else status[1].strip() if status else type(failure).__name__
    return f"{told}; {_REMEDIES.get(told) or _remedy(failure, status[1] if status else None, text, maker)}"


def _remedy(failure: Exception, status: str | None, text: str, maker: _Maker) -> str:
    # A listing that is refused is told by its status only.
    refused = status is not None and status.startswith(("401", "403"))
    if refused or isinstance(failure, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return "let these credentials list, read and write there"
    if isinstance(failure, FileNotFoundError):
        return _REMEDIES["NoSuchBucket"]
    if status is not None and status.startswith("5"):
        return "the store fails, and was asked again in vain: what is due is fetched later"
    if "credential" in text.lower():
        return f"set {maker.keys}, or run where a role gives credentials"
    return f"see that its address ({maker.endpoint[0]}) is right and can be reached"

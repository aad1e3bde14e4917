"""Uploads in parts that were begun and never ended, as a bucket of S3 lists them.

obstore can neither list nor abort them, so that is botocore's. Nothing tells whose an upload is but its key,
and when it was begun (S3 API, ListMultipartUploads): what may be aborted is for the caller to say.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from workers.errors import StoreRefused

_REMEDY = (
    "what killed workers left of large uploads stays there: let these credentials list and abort multipart "
    "uploads, or give the bucket a lifecycle rule"
)
_REQUEST_S = 20


@dataclass(frozen=True, slots=True)
class LeftUpload:
    """relative: the key below the prefix, in bytes of UTF-8. id: the store's own of the upload."""

    relative: bytes
    id: str


class LeftUploads:
    """Those below one prefix, which may be empty. Holds lines to the store: leave it, or close it."""

    def __init__(self, url: str, route: str, *, endpoint: str, settings: Mapping[str, str]) -> None:
        """endpoint: "" for Amazon's own. settings: region and keys as obstore has them; what is not there is
        looked for where AWS's own programs look. Nothing is asked yet. Raises StoreRefused."""
        self._url = url
        self._route = route
        self._bucket, _, prefix = url.partition("://")[2].partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        # Loaded by whoever sweeps, and by nobody else: it takes 50 MB, and a third of a second.
        try:
            from botocore import exceptions  # type: ignore[import-untyped]
            from botocore.config import Config  # type: ignore[import-untyped]
            from botocore.session import Session  # type: ignore[import-untyped]
        except ModuleNotFoundError:
            raise StoreRefused(route, url, f"no botocore: pip install 'towline[object]'; {_REMEDY}") from None

        # At DEBUG it tells each request with all its headers: a session's token is one of them.
        logging.getLogger("botocore").setLevel(logging.INFO)
        self._failures = (exceptions.ClientError, exceptions.BotoCoreError)
        try:
            self._client: Any = Session().create_client(
                "s3",
                endpoint_url=endpoint or None,
                region_name=settings.get("region") or "us-east-1",
                aws_access_key_id=settings.get("access_key_id"),
                aws_secret_access_key=settings.get("secret_access_key"),
                aws_session_token=settings.get("session_token"),
                config=Config(
                    connect_timeout=_REQUEST_S,
                    read_timeout=_REQUEST_S,
                    retries={"max_attempts": 2},
                    s3={"addressing_style": "path"} if endpoint else {},
                ),
            )
        except (*self._failures, ValueError) as failure:  # ValueError: an endpoint that is no URL
            raise self._refused(failure) from None

    def begun_before(self, age_s: float) -> list[LeftUpload]:
        """Those that were begun longer ago than this, by the store's clock and ours. Raises StoreRefused."""
        latest = time.time() - age_s
        pages = self._client.get_paginator("list_multipart_uploads")
        try:
            return [
                LeftUpload(one["Key"].removeprefix(self._prefix).encode(), one["UploadId"])
                for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix)
                for one in page.get("Uploads", ())
                if one["Initiated"].timestamp() <= latest
            ]
        except self._failures as failure:
            raise self._refused(failure) from None

    def abort(self, upload: LeftUpload) -> None:
        """Have the store forget its parts; one that has ended meanwhile is let be. Raises StoreRefused."""
        key = self._prefix + upload.relative.decode()
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload.id)
        except self._failures as failure:
            if _code(failure) != "NoSuchUpload":
                raise self._refused(failure) from None

    def close(self) -> None:
        """Close its lines. Idempotent."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refused(self, failure: Exception) -> StoreRefused:
        # Without the store's own words, which may name the access key.
        return StoreRefused(self._route, self._url, f"{_code(failure)}; {_REMEDY}")


def _code(failure: Exception) -> str:
    """S3's code, or what kind of failure of ours it is."""
    answer: Mapping[str, Any] = getattr(failure, "response", {})
    return str(answer.get("Error", {}).get("Code") or type(failure).__name__)

"""Finds unfinished uploads in parts, and ends them. Until an upload is ended, its parts are in the bucket. They are
invisible, but cost money.

Obstore has no call for this. So this module makes the S3 requests itself, and signs them as Amazon describes
("Signature Version 4"). It can't do so with credentials that only obstore can get (an instance's role, a web identity).
With such credentials, set the bucket's lifecycle rule `AbortIncompleteMultipartUpload`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import http.client
import math
import os
from collections.abc import Iterator, Mapping
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

from msgspec import Struct

from headrace.spec.address import StoreAddress
from headrace.store.bucket.bucket import endpoint_of, region_of
from headrace.store.bucket.credentials import Credential, Profile

TIMEOUT_S = 30
NOTHING = hashlib.sha256(b"").hexdigest()


class Upload(Struct, frozen=True):
    """An unfinished upload: its object's name, its id, and when its last part arrived (Unix seconds)."""

    key: str
    id: str
    modified: float


class Uploads:
    """The unfinished uploads of blobs below an address's prefix."""

    def __init__(self, address: StoreAddress, environment: Mapping[str, str] = os.environ) -> None:
        profile = Profile(environment)
        region = region_of(address, profile, environment)
        parts = urlsplit(address.url)
        endpoint = endpoint_of(address, profile, environment) or f"https://s3.{region}.amazonaws.com"
        self._prefix = f"{parts.path.strip('/')}/blobs/".lstrip("/")  # other uploads in the bucket aren't ours
        self._server = urlsplit(endpoint)
        hosted = dict(address.options).get("virtual_hosted_style_request", "").lower() == "true"
        self._bucket = "" if hosted else f"/{parts.netloc}"
        self._region = region
        self._environment = environment

    def begun(self) -> Iterator[Upload]:
        """Yield the unfinished uploads, or nothing if the credentials don't permit listing them."""
        marker: dict[str, str] = {}
        while (answer := self._ask("GET", "", {"uploads": "", "prefix": self._prefix, **marker})) is not None:
            for upload in answer.iter("Upload"):
                key, number = upload.findtext("Key", ""), upload.findtext("UploadId", "")
                yield Upload(key, number, self._last(key, number, upload.findtext("Initiated", "")))
            if answer.findtext("IsTruncated") != "true":
                return
            marker = {
                "key-marker": answer.findtext("NextKeyMarker", ""),
                "upload-id-marker": answer.findtext("NextUploadIdMarker", ""),
            }

    def end(self, key: str, number: str) -> None:
        """End the upload with id `number` of object `key`, and delete its parts. It is no error if the upload has
        already ended."""
        self._ask("DELETE", key, {"uploadId": number})

    def _last(self, key: str, number: str, initiated: str) -> float:
        parts = self._ask("GET", key, {"uploadId": number})
        times = [] if parts is None else [time.findtext("LastModified", "") for time in parts.iter("Part")]
        return max(_seconds(time) for time in (initiated, *times))

    def _ask(self, method: str, key: str, query: Mapping[str, str]) -> ET.Element | None:
        """Make a request and return its XML answer without XML namespaces, or None if there is no usable answer."""
        credential = self._credential()
        if credential is None:
            return None
        path = quote(f"{self._bucket}/{key}" if key else self._bucket or "/", safe="/-_.~")
        words = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        secure = self._server.scheme == "https"
        make = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = make(self._server.netloc, timeout=TIMEOUT_S)
        try:
            connection.request(method, f"{path}?{words}", headers=self._signed(credential, method, path, words))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return _plain(body) if answer.status == http.client.OK else None

    def _credential(self) -> Credential | None:
        variables = self._environment
        if key := variables.get("AWS_ACCESS_KEY_ID"):
            until = dt.datetime.max.replace(tzinfo=dt.UTC)
            return Credential(
                key, variables.get("AWS_SECRET_ACCESS_KEY", ""), variables.get("AWS_SESSION_TOKEN"), until
            )
        profile = Profile(variables)
        return profile.credential() if profile.has_credentials() else None

    def _signed(self, credential: Credential, method: str, path: str, words: str) -> dict[str, str]:
        now = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}"
        headers = {"host": self._server.netloc, "x-amz-content-sha256": NOTHING, "x-amz-date": now}
        if credential.token:
            headers["x-amz-security-token"] = credential.token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        asked = hashlib.sha256(f"{method}\n{path}\n{words}\n{lines}\n{names}\n{NOTHING}".encode()).hexdigest()
        scope = f"{now[:8]}/{self._region}/s3/aws4_request"
        key = f"AWS4{credential.secret}".encode()
        for step in scope.split("/"):
            key = hmac.digest(key, step.encode(), "sha256")
        signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{asked}".encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credential.key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return headers


def _plain(body: bytes) -> ET.Element | None:
    try:
        root = ET.fromstring(body)
    except ET.ParseError:
        return None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _seconds(text: str) -> float:
    """Return a time in Unix seconds. If the text isn't a time, return infinity, so that the upload doesn't count as
    old."""
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return math.inf

"""A bucket: named objects on a server. The requests are made by the library obstore, whose errors are translated
here."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import obstore
from msgspec import Struct
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnknownConfigurationKeyError
from obstore.store import AzureStore, GCSStore, S3Store

from headrace.errors import ConfigError, StoreError
from headrace.spec.address import StoreAddress, check_endpoint
from headrace.store.bucket.credentials import Profile
from headrace.store.bucket.refusal import GONE, Act, code_of, is_missing, is_passing, refusal, status_of
from headrace.waits import waiting

PATIENCE_S = 60.0
"""If a server doesn't answer, or answers with an error, requests are repeated for this many seconds. The server may be
restarting."""

PART_BYTES = 8 << 20
"""The size of one part, if a large object is sent or fetched in parts."""

PARTS_AT_ONCE = 8
"""How many parts are sent or fetched at once. So a transfer needs `PARTS_AT_ONCE * PART_BYTES` bytes of memory."""

PARTS_LIMIT = 9_000
"""The most parts of an upload. Amazon allows 10,000."""

TRIES = 6
"""How many times an object is requested if its bytes arrive incomplete. If there is no answer at all, obstore itself
repeats the request."""

TROUBLES = (BaseError, OSError)
"""The exceptions that obstore raises: exceptions of its own, and Python's `FileNotFoundError` and similar ones."""

READ_S, REQUEST_S, CONNECT_S = 60, 600, 5


class Absent(Exception):
    """The bucket has no object of this name."""


class Object(Struct, frozen=True):
    """An object in a listing of a bucket.

    `modified` is in Unix seconds by the server's clock. `tag` is the server's identifier of the bytes (ETag), or empty
    if the server gives none.
    """

    name: str
    size: int
    modified: float
    tag: str = ""


class Bucket:
    """Those objects of a bucket that have names beginning with the prefix in the store's address."""

    _used_in: ClassVar[int | None] = None  # process id; obstore's threads belong to the process, not to a client

    def __init__(
        self, address: StoreAddress, *, environment: Mapping[str, str] = os.environ, patience_s: float = PATIENCE_S
    ) -> None:
        parts = urlsplit(address.url)
        self.url = address.url
        self.endpoint = address.endpoint or f"the cloud's own address for {parts.scheme}://"
        self._tags_are_digests = True
        self._patience_s = patience_s
        try:
            self._client, self._keys = _open(address, environment, patience_s)
        except (BaseError, ValueError) as error:
            raise ConfigError(
                f"the address of the store `{address.url}` can't be used: {str(error).partition(chr(10))[0]}",
                hint="check `url`, `endpoint`, `region` and the options of the store in headrace.toml",
            ) from error

    @property
    def _store(self) -> Any:
        """The client of obstore.

        Raises:
            StoreError: this process was forked from a process that had used a client. Obstore's threads don't survive a
                fork, and without them, a request would wait forever.
        """
        if Bucket._used_in not in (None, os.getpid()):
            raise StoreError(
                f"the store `{self.url}` was used in a process that was forked from one that had used a store",
                hint="start the process without a fork: in `multiprocessing`, use the start method `spawn`",
            )
        Bucket._used_in = os.getpid()
        return self._client

    def put(self, name: str, data: bytes, *, replace: bool = False) -> None:
        """Write an object with these bytes. The name must be new, unless `replace` is true."""
        mode: Literal["create", "overwrite"] = "overwrite" if replace else "create"
        try:
            with self._waiting():
                tag = obstore.put(self._store, name, data, mode=mode, use_multipart=False)["e_tag"]
        except AlreadyExistsError:
            # All names are unique, so the object is from our own request, whose answer was lost. Some servers keep an
            # incomplete object of a request that was cut off.
            if self.head(name) != len(data) or bytes(self.range(name, 0, len(data))) != data:
                self.put(name, data, replace=True)
            return
        except TROUBLES as error:
            raise self._refusal(error, "write") from error
        if not self._tags_are_digests or (tag or "").strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest():
            return
        if data and bytes(self.range(name, 0, len(data))) != data:
            raise StoreError(
                f"the store `{self.url}` has other bytes than those that were sent to it",
                hint="check the server and the network; then run again",
            )
        self._tags_are_digests = False  # as with some encryption; the request's signature has covered the bytes

    def put_file(self, name: str, path: Path, size: int, *, alone: bool = True) -> None:
        """Write an object with the bytes of a large file, in parts that are sent in parallel.

        The object appears only when all parts have arrived. `alone` is False if others may replace the object with
        their own right after that.
        """
        part = max(PART_BYTES, -(-size // PARTS_LIMIT))
        try:
            with self._waiting():
                sent = obstore.put(
                    self._store, name, path, use_multipart=True, chunk_size=part, max_concurrency=PARTS_AT_ONCE
                )
        except TROUBLES as error:
            if not path.exists():
                raise StoreError(f"`{path}` was removed while it was sent to the store", hint="run again") from error
            raise self._refusal(error, "write") from error
        arrived = self.look(name)
        is_replaced = not alone and arrived is not None and arrived.tag != (sent["e_tag"] or "")
        if (arrived is None or arrived.size != size) and not is_replaced:
            raise StoreError(
                f"of {size:,} bytes sent to the store `{self.url}`, {0 if arrived is None else arrived.size:,} arrived",
                hint="check the server and the network; then run again",
            )

    def range(self, name: str, start: int, length: int) -> Any:
        """Return `length` bytes of an object, from position `start` on, as a buffer.

        Raises:
            Absent: there is no such object.
        """
        until = time.monotonic() + self._patience_s
        for left in reversed(range(TRIES)):
            try:
                with self._waiting():
                    data = obstore.get_range(self._store, name, start=start, length=length)
            except TROUBLES as error:
                if left and is_passing(error) and time.monotonic() < until:
                    continue
                raise self._absent(error) from error
            if len(data) == length:
                return data
        raise StoreError(
            f"the store `{self.url}` sent only {len(data):,} of {length:,} requested bytes",
            hint="check the server and the network; then run again",
        )

    def begin(self, name: str, length: int) -> tuple[Any, int]:
        """Return the first `length` bytes of an object, as a buffer, and the size of the whole object.

        For a small object, this is the only request that is needed.
        """
        until = time.monotonic() + self._patience_s
        for left in reversed(range(TRIES)):
            try:
                with self._waiting():
                    answer = obstore.get(self._store, name, options={"range": (0, length)})
                    size = answer.meta["size"]
                    data = answer.bytes()
            except TROUBLES as error:
                if left and is_passing(error) and time.monotonic() < until:
                    continue
                if self.head(name) == 0:
                    return b"", 0  # servers refuse a range of an empty object
                raise self._absent(error) from error
            if len(data) == min(length, size):
                return data, size
        raise StoreError(
            f"the store `{self.url}` sent only {len(data):,} of {min(length, size):,} requested bytes",
            hint="check the server and the network; then run again",
        )

    def head(self, name: str) -> int | None:
        """Return the size of an object in bytes, or None if there is no such object."""
        head = self.look(name)
        return None if head is None else head.size

    def look(self, name: str) -> Object | None:
        """Return the size, time and tag of an object, or None if there is no such object."""
        try:
            with self._waiting():
                return _object(obstore.head(self._store, name))
        except TROUBLES as error:
            if is_missing(error):
                return None
            raise self._refusal(self._in_words(error, name), "read") from error

    def objects(self, prefix: str) -> Iterator[Object]:
        """Yield the objects whose names begin with `prefix`, in the order of their names."""
        last: str | None = None
        left, until = TRIES, time.monotonic() + self._patience_s
        while True:
            try:
                for chunk in obstore.list(self._store, prefix, offset=last, chunk_size=1000):
                    for meta in chunk:
                        yield _object(meta)
                        last, left, until = meta["path"], TRIES, time.monotonic() + self._patience_s
                return
            except TROUBLES as error:
                left -= 1
                if not left or not is_passing(error) or time.monotonic() > until:
                    raise self._refusal(error, "list") from error

    def delete(self, *names: str) -> None:
        """Delete objects. It is no error if an object doesn't exist."""
        until = time.monotonic() + self._patience_s
        for left in reversed(range(TRIES)):
            try:
                with self._waiting():
                    obstore.delete(self._store, list(names))
            except FileNotFoundError:
                return
            except TROUBLES as error:
                if left and is_passing(error) and time.monotonic() < until:
                    continue
                raise self._refusal(error, "delete") from error
            return

    def _waiting(self) -> AbstractContextManager[None]:
        """Return a context that records a wait for the server's answer. The wait ends in any case, because obstore ends
        a request if no bytes arrive for `READ_S` seconds."""
        return waiting(f"an answer of the store `{self.url}`", self._patience_s + READ_S)

    def _absent(self, error: Exception) -> Exception:
        return Absent() if is_missing(error) else self._refusal(error, "read")

    def _refusal(self, error: Exception, act: Act) -> StoreError:
        if self._keys is not None and self._keys.trouble is not None:
            return self._keys.trouble
        if isinstance(error, PermissionDeniedError) and act == "write" and (gone := self._is_gone()) is not None:
            error = gone  # some servers deny access if the bucket doesn't exist
        return refusal(error, url=self.url, endpoint=self.endpoint, act=act)

    def _in_words(self, error: Exception, name: str) -> Exception:
        """Return the error of a request for an object's bytes, instead of `error` from a request for its size. Only
        answers to the former say why a server refuses. If this request succeeds, return `error`."""
        if status_of(error) is None or code_of(error) or is_passing(error):
            return error
        try:
            obstore.get_range(self._store, name, start=0, length=1)
        except TROUBLES as told:
            return error if is_missing(told) else told
        return error

    def _is_gone(self) -> BaseError | None:
        try:
            next(iter(obstore.list(self._store, chunk_size=1)), None)
        except BaseError as error:
            return error if code_of(error) in GONE else None
        return None


def _object(meta: Any) -> Object:
    modified: datetime = meta["last_modified"]
    return Object(meta["path"], int(meta["size"]), modified.timestamp(), meta["e_tag"] or "")


_OWN = {S3Store: ("AWS_",), GCSStore: ("GOOGLE_", "SERVICE_ACCOUNT"), AzureStore: ("AZURE_", "IDENTITY_", "MSI_")}
"""For each kind of store: obstore takes an environment variable as an option if its name begins with one of these
texts."""


def _with_own(kind: Any, options: Mapping[str, str], environment: Mapping[str, str]) -> Any:
    """Return `options`, with those of obstore's options added that are in `environment`, but not in this process's own
    environment.

    Obstore itself reads the process's environment. `environment` may have more variables, such as credentials. These
    are kept out of the process's environment so that no stage finds them.
    """
    config = dict(options)
    for name in environment:
        if name.startswith(_OWN[kind]) and name not in os.environ and _takes(kind, [*config, name.lower()]):
            config[name.lower()] = environment[name]
    return config


def _takes(kind: Any, names: list[str]) -> bool:
    """Return True if obstore knows all of these option names, and no two of them stand for the same option."""
    try:
        kind("any", config=dict.fromkeys(names, ""))
    except UnknownConfigurationKeyError:
        return False
    except (BaseError, ValueError) as error:
        return "Duplicate key" not in str(error)
    return True


def _open(address: StoreAddress, environment: Mapping[str, str], patience_s: float) -> tuple[Any, Keys | None]:
    parts = urlsplit(address.url)
    profile = Profile(environment) if parts.scheme == "s3" else None
    endpoint = address.endpoint if profile is None else endpoint_of(address, profile, environment)
    client: Any = {
        "allow_http": (endpoint or "").startswith("http://"),
        "connect_timeout": timedelta(seconds=CONNECT_S),
        "read_timeout": timedelta(seconds=READ_S),
        "timeout": timedelta(seconds=REQUEST_S),
    }
    retry: Any = {
        "max_retries": 20,
        "retry_timeout": timedelta(seconds=patience_s),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
    }
    prefix = parts.path.strip("/") or None
    kind: Any = {"s3": S3Store, "gs": GCSStore}.get(parts.scheme, AzureStore)
    config: Any = dict(address.options)
    if profile is None:
        if endpoint is not None:
            config["endpoint"] = endpoint
        config = _with_own(kind, config, environment)
        return kind(parts.netloc, prefix=prefix, client_options=client, retry_config=retry, config=config), None
    if endpoint is not None:
        config["aws_endpoint_url_s3"] = endpoint  # because the environment's variable would override `endpoint`
    config["region"] = region_of(address, profile, environment)
    keys = Keys(profile) if profile.has_credentials() else None
    store = S3Store(
        parts.netloc,
        prefix=prefix,
        client_options=client,
        retry_config=retry,
        credential_provider=keys,
        config=_with_own(kind, config, environment),
    )
    return store, keys


def endpoint_of(address: StoreAddress, profile: Profile, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the S3 server, or None for Amazon's own server.

    Raises:
        ConfigError: the endpoint in the environment or the profile is no valid URL.
    """
    variables = (environment.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"))
    endpoint = address.endpoint or next(filter(None, variables), None) or profile.endpoint
    if endpoint is not None:
        check_endpoint(endpoint)
    return endpoint


def region_of(address: StoreAddress, profile: Profile, environment: Mapping[str, str]) -> str:
    """Return the region in which the bucket is, by Amazon's name: from the address, the environment or the profile.

    If none of them names a region, return `us-east-1`.
    """
    region = address.region or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    return region or profile.region or "us-east-1"


class Keys:
    """Passes the credentials of a profile to obstore.

    If the last call got no credentials from the profile, `trouble` is the error of that call; otherwise it is None.
    """

    def __init__(self, profile: Profile) -> None:
        self.trouble: StoreError | None = None
        self._profile = profile

    def __call__(self) -> Any:
        self.trouble = None
        try:
            credential = self._profile.credential()
        except StoreError as error:
            self.trouble = error
            raise
        return {
            "access_key_id": credential.key,
            "secret_access_key": credential.secret,
            "token": credential.token,
            "expires_at": credential.until,
        }

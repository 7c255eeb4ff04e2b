"""A bucket: objects by name on a server, with what a store needs of obstore, and its refusals in the user's words."""

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
from headrace.store.credentials import Profile
from headrace.store.refusal import GONE, Act, code_of, is_missing, is_passing, refusal
from headrace.waits import waiting

PATIENCE_S = 60.0
"""So long a server that gives no answer, or is in trouble, is asked again: it may be starting anew."""

PART_BYTES = 8 << 20
"""Bytes of one request of many that move something big."""

PARTS_AT_ONCE = 8
"""Their product is what a transfer holds in memory."""

PARTS_LIMIT = 9_000
"""Amazon takes 10,000 parts."""

TRIES = 6
"""A body that broke off is asked for so many times; requests that got no answer obstore repeats by itself."""

TROUBLES = (BaseError, OSError)
"""What obstore raises: its own errors, and Python's for what isn't there."""

READ_S, REQUEST_S, CONNECT_S = 60, 600, 5


class Absent(Exception):
    """There is no object of this name."""


class Object(Struct, frozen=True):
    """An object as a listing gives it; `modified` is in seconds since the epoch, by the server's clock, and `tag` what
    the server names these bytes by, if it does."""

    name: str
    size: int
    modified: float
    tag: str = ""


class Bucket:
    """The part of a bucket that lies below an address's prefix."""

    _used_in: ClassVar[int | None] = None  # obstore's threads belong to the process, not to a client

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
        """The client, in the process that first used one: its threads don't come along through a fork, and whoever
        asked without them would wait for ever."""
        if Bucket._used_in not in (None, os.getpid()):
            raise StoreError(
                f"the store `{self.url}` was asked in a process that forked from one that had used a store",
                hint="begin the process anew (`multiprocessing`: the start method `spawn`)",
            )
        Bucket._used_in = os.getpid()
        return self._client

    def put(self, name: str, data: bytes, *, replace: bool = False) -> None:
        """Make an object of these bytes: under a name that no one else gives, or in the place of what is there."""
        mode: Literal["create", "overwrite"] = "overwrite" if replace else "create"
        try:
            with self._waiting():
                tag = obstore.put(self._store, name, data, mode=mode, use_multipart=False)["e_tag"]
        except AlreadyExistsError:
            # No name is given twice, so this is what became of our own request, whose answer was lost. Some servers
            # keep what had arrived of one that broke off.
            if self.head(name) != len(data) or bytes(self.range(name, 0, len(data))) != data:
                self.put(name, data, replace=True)
            return
        except TROUBLES as error:
            raise self._refusal(error, "write") from error
        if not self._tags_are_digests or (tag or "").strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest():
            return
        if data and bytes(self.range(name, 0, len(data))) != data:
            raise StoreError(
                f"the store `{self.url}` keeps other bytes than it was sent",
                hint="look at the server, and at what lies between; then run again",
            )
        self._tags_are_digests = False  # some encryption: the signature covers the bytes that arrive

    def put_file(self, name: str, path: Path, size: int) -> None:
        """Make an object of a big file's bytes, in parts side by side: all of it is there then, or nothing."""
        part = max(PART_BYTES, -(-size // PARTS_LIMIT))
        try:
            with self._waiting():
                obstore.put(self._store, name, path, use_multipart=True, chunk_size=part, max_concurrency=PARTS_AT_ONCE)
        except TROUBLES as error:
            if not path.exists():
                raise StoreError(f"`{path}` was removed while it was sent to the store", hint="run again") from error
            raise self._refusal(error, "write") from error
        if (arrived := self.head(name)) != size:
            raise StoreError(
                f"of {size:,} bytes sent to the store `{self.url}`, {arrived or 0:,} arrived",
                hint="look at the server, and at what lies between; then run again",
            )

    def range(self, name: str, start: int, length: int) -> Any:
        """Give this many bytes of an object, as a buffer.

        Raises:
            Absent: it isn't there.
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
            f"the store `{self.url}` gave {len(data):,} of {length:,} bytes that it has",
            hint="look at the server, and at what lies between; then run again",
        )

    def begin(self, name: str, length: int) -> tuple[Any, int]:
        """Give the first bytes of an object, as a buffer, and the size of all of it: one request for what is small."""
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
                    return b"", 0  # no range can be asked of nothing
                raise self._absent(error) from error
            if len(data) == min(length, size):
                return data, size
        raise StoreError(
            f"the store `{self.url}` gave {len(data):,} of {min(length, size):,} bytes that it has",
            hint="look at the server, and at what lies between; then run again",
        )

    def head(self, name: str) -> int | None:
        """Give an object's size, or None."""
        found = self.look(name)
        return None if found is None else found.size

    def look(self, name: str) -> Object | None:
        """Give what a listing would say of an object, or None."""
        try:
            with self._waiting():
                return _object(obstore.head(self._store, name))
        except TROUBLES as error:
            if is_missing(error):
                return None
            raise self._refusal(error, "read") from error

    def objects(self, prefix: str) -> Iterator[Object]:
        """Go over the objects below a folder, by name."""
        last: str | None = None
        left, until = TRIES, time.monotonic() + self._patience_s
        while True:
            try:
                for chunk in obstore.list(self._store, prefix, offset=last, chunk_size=1000):
                    for each in chunk:
                        yield _object(each)
                        last, left, until = each["path"], TRIES, time.monotonic() + self._patience_s
                return
            except TROUBLES as error:
                left -= 1
                if not left or not is_passing(error) or time.monotonic() > until:
                    raise self._refusal(error, "list") from error

    def delete(self, *names: str) -> None:
        """Delete objects; one that is gone already is no error."""
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
        """Note that an answer is waited for: obstore ends that where nothing has come for `READ_S`."""
        return waiting(f"an answer of the store `{self.url}`", self._patience_s + READ_S)

    def _absent(self, error: Exception) -> Exception:
        return Absent() if is_missing(error) else self._refusal(error, "read")

    def _refusal(self, error: Exception, act: Act) -> StoreError:
        if self._keys is not None and self._keys.trouble is not None:
            return self._keys.trouble
        if isinstance(error, PermissionDeniedError) and act == "write" and (gone := self._is_gone()) is not None:
            error = gone  # some servers deny what would be an object of a bucket that isn't there
        return refusal(error, url=self.url, endpoint=self.endpoint, act=act)

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
"""How the variables begin that obstore takes as options, their names in small letters."""


def _with_own(kind: Any, options: Mapping[str, str], environment: Mapping[str, str]) -> Any:
    """Return obstore's options, and those that the environment says beside them. obstore reads the process's own
    environment by itself; this one may hold more, which no stage of the process is to find there."""
    found = dict(options)
    for name in environment:
        if name.startswith(_OWN[kind]) and name not in os.environ and _takes(kind, [*found, name.lower()]):
            found[name.lower()] = environment[name]
    return found


def _takes(kind: Any, names: list[str]) -> bool:
    """Return whether obstore knows all of these options, and no two of them as one."""
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
        config["aws_endpoint_url_s3"] = endpoint  # the environment's would come before `endpoint`
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
    """Give the URL of the S3 server, or None for Amazon's own.

    Raises:
        ConfigError: what the environment or the profile says is no URL.
    """
    told = (environment.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"))
    found = address.endpoint or next(filter(None, told), None) or profile.endpoint
    if found is not None:
        check_endpoint(found)
    return found


def region_of(address: StoreAddress, profile: Profile, environment: Mapping[str, str]) -> str:
    """Give Amazon's name of the region that a bucket is asked for in."""
    told = address.region or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    return told or profile.region or "us-east-1"


class Keys:
    """Gives obstore a profile's credentials, and keeps the error where there are none."""

    def __init__(self, profile: Profile) -> None:
        self.trouble: StoreError | None = None
        self._profile = profile

    def __call__(self) -> Any:
        self.trouble = None
        try:
            found = self._profile.credential()
        except StoreError as error:
            self.trouble = error
            raise
        return {
            "access_key_id": found.key,
            "secret_access_key": found.secret,
            "token": found.token,
            "expires_at": found.until,
        }

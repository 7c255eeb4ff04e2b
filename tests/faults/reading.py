"""Rows and blobs as they are kept, read without any of Headrace's code."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import obstore
import psycopg
from obstore.store import S3Store

BLOB = re.compile(r"(?:^|/)([0-9a-f]{64}\.[0-9a-z]+)$")


class Rows(Protocol):
    """Rows of a ledger."""

    def query(self, text: str, *params: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query, whose parameters are written `?`."""
        ...


class Things(Protocol):
    """Things in a store: files or objects, by their paths."""

    def paths(self) -> Mapping[str, int]:
        """Return all paths with their sizes."""
        ...

    def blobs(self) -> Mapping[str, int]:
        """Return the blobs by name, `DIGEST.NONCE`, with their sizes."""
        ...

    def read(self, name: str) -> bytes:
        """Return the bytes of a blob."""
        ...

    def write(self, name: str, data: bytes | None) -> None:
        """Put other bytes in the place of a blob's; None removes it."""
        ...


class SqliteRows:
    """Rows of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = self._open("ro")

    def _open(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(f"{self._path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=10)

    def query(self, text: str, *params: object) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(text, params).fetchall()
        except sqlite3.OperationalError as error:
            if "readonly" not in str(error):
                raise
            self._db.close()  # the file has a transaction of somebody who was killed: it is rolled back first
            self._db = self._open("rw")
            return self._db.execute(text, params).fetchall()

    def close(self) -> None:
        self._db.close()


class PostgresRows:
    """Rows of a database."""

    def __init__(self, url: str) -> None:
        self._db = psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="faults-witness")

    def query(self, text: str, *params: object) -> list[tuple[Any, ...]]:
        return self._db.execute(text.replace("?", "%s").encode(), params).fetchall()

    def close(self) -> None:
        self._db.close()


@contextmanager
def rows_of(url: str) -> Iterator[Rows]:
    """Read the rows of a ledger."""
    file = url.removeprefix("sqlite:///")
    rows = PostgresRows(url) if file == url else SqliteRows(Path(file))
    try:
        yield rows
    finally:
        rows.close()


class Files:
    """Things in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def paths(self) -> Mapping[str, int]:
        found = {}
        for path in self._root.rglob("*"):
            if path.is_file():
                found[str(path.relative_to(self._root))] = path.stat().st_size
        return found

    def blobs(self) -> Mapping[str, int]:
        return _blobs(self.paths())

    def read(self, name: str) -> bytes:
        return self._path(name).read_bytes()

    def write(self, name: str, data: bytes | None) -> None:
        path = self._path(name)
        path.chmod(0o644)
        path.unlink() if data is None else path.write_bytes(data)

    def _path(self, name: str) -> Path:
        return next(iter(self._root.rglob(name)))


class Both:
    """The things in the stores of two regions, as one: a blob may lie in either, or in both."""

    def __init__(self, *stores: Things) -> None:
        self._stores = stores

    def paths(self) -> Mapping[str, int]:
        return {path: size for store in self._stores for path, size in store.paths().items()}

    def blobs(self) -> Mapping[str, int]:
        return {name: size for store in self._stores for name, size in store.blobs().items()}

    def read(self, name: str) -> bytes:
        return next(store.read(name) for store in self._stores if name in store.blobs())

    def write(self, name: str, data: bytes | None) -> None:
        for store in self._stores:
            if name in store.blobs():
                store.write(name, data)


class Objects:
    """Things under a prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str, *, endpoint: str, key: str, secret: str) -> None:
        self._prefix = prefix
        self._found: dict[str, str] = {}
        self._store = S3Store(
            bucket,
            endpoint=endpoint,
            region="us-east-1",
            access_key_id=key,
            secret_access_key=secret,
            client_options={"allow_http": True},
        )

    def paths(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for chunk in obstore.list(self._store, self._prefix):
            found.update((each["path"].removeprefix(f"{self._prefix}/"), each["size"]) for each in chunk)
        self._found = {match.group(1): path for path in found if (match := BLOB.search(path))}
        return found

    def blobs(self) -> Mapping[str, int]:
        return _blobs(self.paths())

    def read(self, name: str) -> bytes:
        return bytes(obstore.get(self._store, self._path(name)).bytes())

    def write(self, name: str, data: bytes | None) -> None:
        if data is None:
            obstore.delete(self._store, self._path(name))
        else:
            obstore.put(self._store, self._path(name), data)

    def _path(self, name: str) -> str:
        if name not in self._found:
            self.paths()
        return f"{self._prefix}/{self._found[name]}"


def _blobs(paths: Mapping[str, int]) -> Mapping[str, int]:
    return {match.group(1): size for path, size in paths.items() if (match := BLOB.search(path))}

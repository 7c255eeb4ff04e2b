"""The servers that tests share; each test has a database or a bucket of its own. And what is collected here."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from _pytest.doctest import DoctestModule

from tests.servers.missing import Missing
from tests.servers.postgres import Postgres
from tests.servers.s3 import S3

# As in a worker with one cpu: threads that spin while they wait make a busy machine many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are collected: there is hardly any, and each look at all that is imported would
    take a second, again and again: two thirds of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for no doctests in tests: a file of tests that can't be imported would be skipped for it, and not fail."""
    found = yield
    return [each for each in found if not isinstance(each, DoctestModule)]


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Collect what a file's tests leave as garbage, so that a file they left open is laid to them, not to a later file.
    (The last test of a file still holds what it made; that is collected in the next file.)

    What is alive when a file begins is left out: these are mostly modules, and each look at them would take a second.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.collect()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    # Not among pytest's folders: each session closes those to all but its own user, and the server may be another.
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-", ignore_cleanup_errors=True) as folder:
        try:
            server = Postgres(Path(folder) / "server")
        except Missing as missing:
            pytest.skip(str(missing))
        yield server
        server.kill()  # asked to stop, it writes all that it has in memory


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 server."""
    try:
        server = S3(tmp_path_factory.mktemp("s3"))
    except Missing as missing:
        pytest.skip(str(missing))
    yield server
    server.kill()  # asked to stop, it takes its time

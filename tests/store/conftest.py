"""Buckets for tests of stores: each test has a place of its own in one of a real server's."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from headrace.spec.address import StoreAddress
from headrace.store.bucket.object_store import ObjectStore
from tests.servers.s3 import S3

numbers = itertools.count()


@pytest.fixture(scope="session")
def bucket(s3: S3) -> str:
    return s3.bucket()


@pytest.fixture
def address(s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> StoreAddress:
    """The address of an empty store, whose credentials are in the environment."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return StoreAddress(url=f"s3://{bucket}/t{next(numbers)}", endpoint=s3.endpoint, region="us-east-1")


@pytest.fixture
def store(address: StoreAddress, tmp_path: Path) -> ObjectStore:
    return ObjectStore(address, local=tmp_path / "local")

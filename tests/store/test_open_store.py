"""Addresses of stores: which store each one opens, and what none may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import ConfigError
from headrace.spec.address import StoreAddress
from headrace.store.open_store import open_store


def test_a_path_and_a_file_url_open_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    for url in (str(folder), folder.as_uri()):
        store = open_store(StoreAddress(url=url))
        assert store.url == str(folder)
        assert store.local == folder


def test_a_folder_on_a_shared_disk_may_have_its_scratch_elsewhere(tmp_path: Path) -> None:
    store = open_store(StoreAddress(url=str(tmp_path / "shared")), local=tmp_path / "here")
    assert store.local == tmp_path / "here"


def test_a_url_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="ftp://") as caught:
        open_store(StoreAddress(url="ftp://host/folder"))
    assert "s3://" in (caught.value.hint or "")


def test_credentials_in_an_address_are_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        StoreAddress(url="s3://AKIA:sesame@bucket/prefix")
    assert "sesame" not in caught.value.message + (caught.value.hint or "")
    with pytest.raises(ConfigError, match="aws_secret_access_key") as caught:
        StoreAddress(url="s3://bucket", options=(("aws_secret_access_key", "sesame"),))
    assert "sesame" not in caught.value.message + (caught.value.hint or "")


def test_an_endpoint_is_the_address_of_a_server_and_holds_no_credentials() -> None:
    for good in ("http://127.0.0.1:9000", "https://minio.example.com/", "http://[::1]:9000"):
        StoreAddress(url="s3://bucket", endpoint=good)
    for bad in ("127.0.0.1:9000", "localhost", "ftp://host", "http://", "http://host:port"):
        with pytest.raises(ConfigError, match="is not an address of a server") as caught:
            StoreAddress(url="s3://bucket", endpoint=bad)
        assert "`http://HOST:PORT`" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="holds credentials") as caught:
        StoreAddress(url="s3://bucket", endpoint="http://AKIA:sesame@host")
    assert "sesame" not in caught.value.message + (caught.value.hint or "")


def test_a_url_without_a_bucket_is_refused() -> None:
    with pytest.raises(ConfigError, match="no bucket"):
        StoreAddress(url="s3:///prefix")

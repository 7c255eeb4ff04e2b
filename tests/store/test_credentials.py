"""Amazon's shared files: which profile is used, when the environment comes first, and what is never shown."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import MappingProxyType

import pytest
from msgspec import structs

from headrace.errors import ConfigError, StoreError
from headrace.spec.address import StoreAddress
from headrace.store.bucket.credentials import Profile
from headrace.store.bucket.object_store import ObjectStore
from tests.servers.s3 import KEY, S3, SECRET

TWO = """\
[default]
aws_access_key_id = A
aws_secret_access_key = 1%2
[two]
aws_access_key_id = B
aws_secret_access_key = 2
aws_session_token = T
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".aws").mkdir()
    return {"HOME": str(tmp_path)}


def write(home: dict[str, str], name: str, text: str) -> None:
    (Path(home["HOME"]) / ".aws" / name).write_text(text)


def test_without_files_the_machine_is_asked(home: dict[str, str]) -> None:
    assert not Profile(home).has_credentials()


def test_the_default_profile_and_a_named_one(home: dict[str, str]) -> None:
    write(home, "credentials", TWO)
    write(home, "config", "[default]\nregion = eu-west-1\n[profile two]\nregion = us-west-2\n")
    assert Profile(home).has_credentials()
    first = Profile(home).credential()
    assert (first.key, first.secret, first.token, Profile(home).region) == ("A", "1%2", None, "eu-west-1")
    second = Profile({**home, "AWS_PROFILE": "two"})
    assert (second.credential().key, second.credential().token, second.region) == ("B", "T", "us-west-2")


def test_files_that_the_environment_names(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("[default]\naws_access_key_id = C\naws_secret_access_key = 3\n")
    assert Profile({**home, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "mine")}).credential().key == "C"


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"])
def test_the_environment_comes_first(home: dict[str, str], name: str) -> None:
    write(home, "credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = 1\n")
    assert not Profile({**home, name: "x"}).has_credentials()


def test_a_profile_may_have_a_command_make_its_credentials(home: dict[str, str], tmp_path: Path) -> None:
    told = {"Version": 1, "AccessKeyId": "D", "SecretAccessKey": "4", "Expiration": "2026-11-25T12:00:00+00:00"}
    (tmp_path / "give.py").write_text(f"print({json.dumps(json.dumps(told))})")
    write(home, "config", f"[default]\ncredential_process = {sys.executable} {tmp_path / 'give.py'}\n")
    found = Profile(home).credential()
    assert (found.key, found.secret, found.until.hour) == ("D", "4", 12)
    (tmp_path / "give.py").write_text("print('sesame')")
    with pytest.raises(StoreError, match="credential_process") as caught:
        Profile(home).credential()
    assert "sesame" not in str(caught.value) + str(caught.value.__cause__)


def test_a_profile_that_is_not_there_or_signs_in_is_said(home: dict[str, str]) -> None:
    with pytest.raises(StoreError, match="`three`"):
        Profile({**home, "AWS_PROFILE": "three"}).has_credentials()
    write(home, "config", "[profile four]\nsso_session = corp\n")
    with pytest.raises(StoreError, match="sign-in") as caught:
        Profile({**home, "AWS_PROFILE": "four"}).has_credentials()
    assert "export-credentials" in (caught.value.hint or "")


def test_a_broken_file_is_said_without_its_lines(home: dict[str, str]) -> None:
    write(home, "credentials", "[default]\nsesame\n")
    with pytest.raises(StoreError, match="can't be read") as caught:
        Profile(home).has_credentials()
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_credential_keeps_its_secret_when_shown(home: dict[str, str]) -> None:
    write(home, "credentials", "[default]\naws_access_key_id = AKIA99\naws_secret_access_key = sesame\n")
    assert "sesame" not in repr(Profile(home).credential())


def test_an_endpoint_comes_from_the_address_the_environment_or_the_profile(
    address: StoreAddress, home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert address.endpoint is not None
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://nowhere.invalid")
    ObjectStore(address, local=tmp_path / "local", patience_s=1).put(b"by the address")
    bare = structs.replace(address, endpoint=None)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address.endpoint)
    ObjectStore(bare, local=tmp_path / "local", patience_s=1).put(b"by the environment")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv("HOME", home["HOME"])
    write(home, "config", f"[default]\nendpoint_url = {address.endpoint}\n")
    store = ObjectStore(bare, local=tmp_path / "local", patience_s=1)
    store.put(b"by the profile")
    assert len(list(store.blobs())) == 3
    assert list(store.strays()) == []


def test_credentials_of_its_own_open_a_store_and_never_stand_in_the_environment(
    s3: S3, address: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker is handed is for Headrace's own code: a stage's thread may look at any instant."""
    own = s3.environment | {"AWS_REGION": "nowhere-1", "AWS_CA_BUNDLE": "what obstore doesn't know", "AWS_PROFILE": ""}
    for name in own:
        monkeypatch.delenv(name, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", MappingProxyType(dict(os.environ)))  # a change raises
        store = ObjectStore(address, local=tmp_path / "local", environment={**os.environ, **own}, patience_s=1)
    store.put(b"by what it was handed")
    assert len(list(store.blobs())) == 1


def test_an_endpoint_of_the_environment_that_is_no_url_is_refused(
    address: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9000")
    with pytest.raises(ConfigError, match=r"`127\.0\.0\.1:9000` is not an address of a server"):
        ObjectStore(structs.replace(address, endpoint=None), local=tmp_path / "local")


def test_a_store_opens_with_the_shared_files(
    address: StoreAddress, home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home["HOME"])
    monkeypatch.setenv("AWS_PROFILE", "team")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    write(home, "credentials", f"[team]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    store = ObjectStore(address, local=tmp_path / "local")
    blob = store.put(b"x")
    assert store.size(blob.digest, blob.nonce) == 1


def test_a_command_that_gives_no_credentials_is_told_as_such(
    address: StoreAddress, home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home["HOME"])
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    write(home, "config", f"[default]\ncredential_process = {sys.executable} -c pass\n")
    with pytest.raises(StoreError, match="credential_process"):
        ObjectStore(address, local=tmp_path / "local", patience_s=1).put(b"x")

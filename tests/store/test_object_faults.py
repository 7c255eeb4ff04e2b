"""A bucket's server on bad days: what passes is lived through, what doesn't is said clearly and leaves nothing."""

from __future__ import annotations

import random
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from headrace.errors import HeadraceError, StoreError
from headrace.spec.address import StoreAddress
from headrace.store.bucket.object_store import ObjectStore
from tests.servers.ports import free_port
from tests.servers.proxy import Fault, Kind, Proxy
from tests.servers.s3 import READER_KEY, READER_SECRET, S3, SECRET

BIG = random.Random(3).randbytes(20 << 20)


@pytest.fixture
def proxy(s3: S3) -> Iterator[Proxy]:
    with Proxy(s3.port, seed=5) as proxy:
        yield proxy


@pytest.fixture
def through(address: StoreAddress, proxy: Proxy) -> StoreAddress:
    return structs.replace(address, endpoint=proxy.endpoint)


def opened(address: StoreAddress, folder: Path, patience_s: float = 10) -> ObjectStore:
    return ObjectStore(address, local=folder, patience_s=patience_s)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "locks"]


@pytest.mark.parametrize("kind", ["500", "503", "late 500", "slow", "truncated", "reset"])
def test_what_befalls_a_quarter_of_the_requests_is_lived_through(
    kind: Kind, through: StoreAddress, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.fault = Fault(kind, share=0.25, seconds=0.05)
    store = opened(through, tmp_path / "one", 60)
    with store.batch() as batch:
        kept = [batch.put(b"%d" % each) for each in range(40)]
        kept.append(batch.put(BIG))
    store.spool.spill("run", "w", b"spilled")
    other = opened(through, tmp_path / "other", 60)
    assert other.sizes([(each.digest, each.nonce) for each in kept]) == [each.size for each in kept]
    assert [other.path(each.digest, each.nonce).read_bytes() for each in kept[:5]] == [b"%d" % i for i in range(5)]
    assert other.path(kept[-1].digest, kept[-1].nonce).read_bytes() == BIG
    other.verify(kept[-1].digest, kept[-1].nonce)
    assert list(other.spool.spills("run")) == [("w", b"spilled")]
    proxy.fault = None
    assert {f"{each.digest}.{each.nonce}" for each in other.blobs()} == {f"{each.digest}.{each.nonce}" for each in kept}
    assert proxy.befallen > 5


def test_a_put_whose_answer_was_lost_is_not_taken_for_anothers(
    through: StoreAddress, proxy: Proxy, tmp_path: Path
) -> None:
    store = opened(through, tmp_path)
    proxy.fault = Fault("late 500", share=0.5, methods=("PUT",))
    kept = {store.put(b"%d" % each) for each in range(20)}
    assert proxy.befallen > 0
    assert len(list(store.blobs())) == len(kept)


def test_bytes_that_never_arrive_whole_are_an_error_and_leave_nothing(
    through: StoreAddress, proxy: Proxy, tmp_path: Path
) -> None:
    blob = opened(through, tmp_path / "one").put(BIG)
    other = opened(through, tmp_path / "other", 0.3)
    proxy.fault = Fault("truncated", methods=("GET",))
    with pytest.raises(StoreError, match="broke off"):
        other.path(blob.digest, blob.nonce)
    assert files(tmp_path / "other") == []
    proxy.fault = None
    assert other.path(blob.digest, blob.nonce).read_bytes() == BIG


def test_a_batch_whose_server_goes_leaves_nothing_behind(through: StoreAddress, proxy: Proxy, tmp_path: Path) -> None:
    store = opened(through, tmp_path, 1)
    batch = store.batch()
    batch.put(BIG)
    for each in range(10):
        batch.put(b"%d" % each)
    proxy.fault = Fault("503", methods=("PUT", "POST"))
    with pytest.raises(StoreError, match="503"):
        batch.__exit__(None, None, None)
    proxy.fault = None
    assert list(store.blobs()) == []
    assert files(tmp_path) == []


REFUSALS = {
    "no bucket": (Fault("answer", status=404, code="NoSuchBucket"), "no bucket", "make the bucket"),
    "no right": (Fault("answer", status=403, code="AccessDenied"), "may not write", "s3:PutObject"),
    "expired": (Fault("answer", status=400, code="ExpiredToken"), "have expired", "headrace resume"),
    "unknown key": (Fault("answer", status=403, code="InvalidAccessKeyId"), "access key", "AWS_ACCESS_KEY_ID"),
    "clock": (Fault("answer", status=403, code="RequestTimeTooSkewed"), "clock", "NTP"),
    "region by redirect": (Fault("answer", status=301, code="PermanentRedirect"), "another region", "region ="),
    "region by header": (
        Fault(
            "answer", status=400, code="AuthorizationHeaderMalformed", detail="<Region>eu-central-1</Region>"
        ),
        "another region: `eu-central-1`",
        'region = "eu-central-1"',
    ),
    "quota": (Fault("answer", status=403, code="QuotaExceeded"), "no room left", "headrace gc"),
    "busy": (Fault("answer", status=503, code="SlowDown"), "503", "health"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_said_with_its_part_and_its_remedy(
    case: str, through: StoreAddress, proxy: Proxy, tmp_path: Path
) -> None:
    fault, told, remedy = REFUSALS[case]
    proxy.fault = fault
    with pytest.raises(StoreError) as caught:
        opened(through, tmp_path, 1).put(b"x")
    assert told in caught.value.message
    assert through.url in caught.value.message
    assert remedy in (caught.value.hint or "")
    clean(caught.value)
    assert files(tmp_path) == []


def clean(error: HeadraceError) -> None:
    """Hold an error, with all that stands behind it, against the secrets that must not be in it."""
    text = "".join(traceback.format_exception(error))
    assert SECRET not in text
    assert READER_SECRET not in text
    assert "\n" not in error.message


def test_a_server_that_is_not_there(address: StoreAddress, tmp_path: Path) -> None:
    for endpoint in (f"http://127.0.0.1:{free_port()}", "http://no-such-host.invalid:9000"):
        store = opened(structs.replace(address, endpoint=endpoint), tmp_path, 0.3)
        with pytest.raises(StoreError, match="can't be reached") as caught:
            store.put(b"x")
        assert endpoint in caught.value.message
        assert "endpoint" in (caught.value.hint or "")
        with pytest.raises(StoreError, match="can't be reached"):
            list(store.blobs())


def test_a_server_in_trouble_is_asked_as_long_as_was_said_and_no_longer(
    through: StoreAddress, proxy: Proxy, tmp_path: Path
) -> None:
    store = opened(through, tmp_path, 1)
    proxy.fault = Fault("503")
    for ask in (lambda: list(store.blobs()), lambda: store.path("0" * 64, "nonce")):
        proxy.requests.clear()
        with pytest.raises(StoreError, match="503"):
            ask()
        assert 1 < len(proxy.requests) <= 24  # at most 11 in a second, a tenth apart; what is read is then looked for


def test_a_wrong_secret_and_a_key_that_may_only_read(
    address: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = opened(address, tmp_path / "one").put(b"there")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    with pytest.raises(StoreError, match="signature") as caught:
        opened(address, tmp_path).put(b"x")
    clean(caught.value)
    with pytest.raises(StoreError, match="signature"):
        opened(address, tmp_path).size(blob.digest, blob.nonce)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    reader = opened(address, tmp_path / "reader")
    assert reader.path(blob.digest, blob.nonce).read_bytes() == b"there"
    for data in (b"x", BIG):
        with pytest.raises(StoreError, match="may not write") as caught:
            reader.put(data)
        clean(caught.value)


def test_no_credentials_at_all(address: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_port()}")  # no instance gives any
    with pytest.raises(StoreError, match="no credentials") as caught:
        opened(address, tmp_path / "local", 1).put(b"x")
    assert "AWS_ACCESS_KEY_ID" in (caught.value.hint or "")


def test_no_disk_for_the_cache(address: StoreAddress, tmp_path: Path) -> None:
    (tmp_path / "local").write_text("a file")
    with pytest.raises(StoreError, match="cache") as caught:
        opened(address, tmp_path / "local").put(bytes(100_000))
    assert caught.value.hint


FULL = """
import os, sys
from pathlib import Path
from headrace.errors import StoreError
from headrace.codec.codecs import Codecs
from headrace.spec.address import StoreAddress
from headrace.store.bucket.object_store import ObjectStore
address, small = StoreAddress(url=sys.argv[2], endpoint=sys.argv[3]), Path(sys.argv[1])
store = ObjectStore(address, local=small / "one")
big = ObjectStore(address, local=Path(sys.argv[4])).put(bytes(3 << 20))
for act in (
    lambda: store.put(bytes(3 << 20)),
    lambda: Codecs().save(b"x" * (3 << 20), store),
    lambda: store.path(big.digest, big.nonce),
):
    try:
        act()
    except StoreError as error:
        assert "no room left in the cache" in error.message, error
        assert "cache_gib" in error.hint
    else:
        raise SystemExit("it found room")
    assert list(store.strays()) == []
assert len(list(store.blobs())) == 1
old = store.put(b"old" * 200_000)
os.utime(store.path(old.digest, old.nonce), (1, 1))
new = ObjectStore(address, local=Path(sys.argv[4])).put(b"new" * 200_000)
assert store.path(new.digest, new.nonce).stat().st_size == 600_000  # the old one made room
"""


def test_a_disk_too_small_for_the_cache_is_said_clearly(address: StoreAddress, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = f'mount -t tmpfs -o size=1m none {small} && exec {sys.executable} -c "$@"'
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]
    done = subprocess.run(
        [*words, FULL, str(small), address.url, address.endpoint or "", str(tmp_path / "elsewhere")],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("this system gives users no mounts of their own")
    assert done.returncode == 0, done.stderr

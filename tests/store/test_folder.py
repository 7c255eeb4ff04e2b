"""A folder as a store: the contract, and what only a folder can do or suffer."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import BlobMissing, StoreError
from headrace.store.blob import Blob
from headrace.store.draft import STEP_BYTES, Steps
from headrace.store.folder.digest_folders import DigestFolders
from headrace.store.folder.folder import FolderStore
from headrace.testing.store_contract import StoreContract


class TestFolderStore(StoreContract):
    def make(self, folder: Path) -> FolderStore:
        return FolderStore(folder)

    def change(self, store: Any, blob: Blob, how: Callable[[bytes], bytes]) -> None:
        path = store.path(blob.digest, blob.nonce)
        path.chmod(0o644)
        path.write_bytes(how(path.read_bytes()))


def test_nothing_is_made_until_something_is_written(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    assert list(store.blobs()) == []
    assert list(store.strays()) == []
    with pytest.raises(BlobMissing):
        store.path("0" * 64, "abcd1234")
    assert not (tmp_path / "store").exists()


def test_a_blob_lies_under_its_digest_and_nonce_read_only(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    blob = store.put(b"x" * 10)
    path = tmp_path / "blobs" / blob.digest[:2] / f"{blob.digest}.{blob.nonce}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert store.path(blob.digest, blob.nonce) == path


def test_strangers_among_the_blobs_are_passed_over(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    blob = store.put(b"x")
    (tmp_path / "blobs" / "README").write_text("hello")
    (tmp_path / "blobs" / blob.digest[:2] / "note.txt").write_text("hello")
    (tmp_path / "blobs" / blob.digest[:2] / ("f" * 64)).write_text("no nonce")
    assert [each.digest for each in store.blobs()] == [blob.digest]


def test_a_library_may_replace_the_drafts_file(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with store.draft() as draft:
        aside = draft.path.with_name("aside")
        aside.write_bytes(b"written aside by a library")
        aside.rename(draft.path)
        blob = draft.keep()
    store.verify(blob.digest, blob.nonce)
    assert store.path(blob.digest, blob.nonce).read_bytes() == b"written aside by a library"


def test_a_file_where_the_store_should_be_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError, match="can't be made") as caught:
        FolderStore(tmp_path / "store").put(b"x")
    assert caught.value.hint


def test_a_file_too_big_for_the_disk_leaves_no_half_blob(tmp_path: Path) -> None:
    """The limit on a file's size stands for a full disk: the write fails in the middle in the same way."""
    store = FolderStore(tmp_path)
    store.put(b"made")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        with pytest.raises(StoreError, match="no room left") as caught:
            store.put(bytes(2 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.hint
    assert len(list(store.blobs())) == 1
    assert list(store.strays()) == []


def test_an_error_of_the_callers_own_passes_through_a_draft(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    with pytest.raises(FileNotFoundError), store.draft():
        (tmp_path / "absent").read_bytes()
    with pytest.raises(PermissionError), store.draft():
        raise PermissionError(1, "not allowed", "/somewhere/else")


def _in_a_mount(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script where `$1/small` is a file system of 1 MiB of its own."""
    (folder / "small").mkdir()
    mounted = f'mount -t tmpfs -o size=1m none {folder}/small && exec {sys.executable} -c "$0" {folder}/small'
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def _can_mount(folder: Path) -> bool:
    try:
        return _in_a_mount("", folder).returncode == 0
    except FileNotFoundError:
        return False


FULL = """
import sys
import tempfile
from headrace.errors import StoreError
from headrace.codec.codecs import Codecs
from headrace.store.folder.folder import FolderStore
store = FolderStore(sys.argv[1])
import pyarrow as pa, numpy as np
for save in (
    lambda: store.put(bytes(2 << 20)),
    lambda: Codecs().save(b"x" * (2 << 20), store),
    lambda: Codecs().save(pa.table({"a": np.zeros(1 << 18)}), store),
    lambda: Codecs().save(np.zeros(1 << 18), store),
):
    try:
        save()
    except StoreError as error:
        assert "no room left" in error.message, error
        assert error.hint
    else:
        raise SystemExit("it found room")
    assert list(store.blobs()) == [] == list(store.strays())
store.put(b"small things still fit")
"""

READ_ONLY = """
import subprocess, sys
from headrace.errors import StoreError
from headrace.store.folder.folder import FolderStore
store = FolderStore(sys.argv[1])
blob = store.put(b"x" * 100)
subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
for each in (store, FolderStore(sys.argv[1])):
    try:
        each.put(b"y")
    except StoreError as error:
        assert "can't be written to" in error.message, error
        assert error.hint
    else:
        raise SystemExit("it wrote")
    each.verify(blob.digest, blob.nonce)
"""


@pytest.mark.parametrize("script", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_a_disk_that_takes_no_more_is_said_clearly_and_keeps_what_it_has(script: str, tmp_path: Path) -> None:
    (tmp_path / "probe").mkdir()
    if not _can_mount(tmp_path / "probe"):
        pytest.skip("this system gives users no mounts of their own")
    done = _in_a_mount(script, tmp_path)
    assert done.returncode == 0, done.stderr


KILLED = """
import os, sys
from headrace.store.folder.folder import FolderStore
store = FolderStore(sys.argv[1])
print("ready", flush=True)
while True:
    with store.batch() as batch:
        kept = [batch.put(os.urandom(size)) for size in (3 << 20, 100, 200, 300)]
    print(*(f"{each.digest}.{each.nonce}" for each in kept), flush=True)
"""


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_writer_killed_at_any_instant_leaves_whole_blobs_and_all_that_it_named(count: int, tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    named = [writer.stdout.readline() for _ in range(count + 1)][1:]
    writer.kill()
    named += [line for line in writer.stdout if line.endswith("\n")]
    writer.wait()
    writer.stdout.close()
    store = FolderStore(tmp_path)
    there = {f"{each.digest}.{each.nonce}" for each in store.blobs()}
    assert {each for line in named for each in line.split()} <= there
    for each in store.blobs():
        store.verify(each.digest, each.nonce)


class TestSharedFolder(StoreContract):
    """A folder on another file system than what lies beside it, as a node of a cluster has it."""

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        if not Path("/dev/shm").is_dir():
            pytest.skip("this system has no second file system at /dev/shm")
        with tempfile.TemporaryDirectory(prefix="headrace-", dir="/dev/shm") as folder:
            self.shared = Path(folder)
            yield

    def make(self, folder: Path) -> FolderStore:
        return FolderStore(self.shared / "store", local=folder / "local")

    def change(self, store: Any, blob: Blob, how: Callable[[bytes], bytes]) -> None:
        TestFolderStore.change(TestFolderStore(), store, blob, how)


@given(st.text(max_size=70), st.text(max_size=12))
def test_a_name_is_that_of_a_file_on_its_shelf_or_refused(digest: str, nonce: str) -> None:
    folders = DigestFolders(Path("/store/blobs"))
    try:
        place = folders.place(digest, nonce)
    except StoreError:
        return
    assert place.parent.parent == folders.path
    assert place.name == f"{digest}.{nonce}"
    assert Path(os.path.normpath(place)) == place


@given(st.text("0123456789abcdef", min_size=64, max_size=64), st.text("0123456789abcdef", min_size=1, max_size=16))
def test_every_digest_and_nonce_names_a_blob(digest: str, nonce: str) -> None:
    assert DigestFolders(Path("/store/blobs")).place(digest, nonce) == Path(
        f"/store/blobs/{digest[:2]}/{digest}.{nonce}"
    )


def test_much_is_written_step_by_step(tmp_path: Path) -> None:
    data = os.urandom(2 * STEP_BYTES + 1)
    with Steps(tmp_path / "steps", "xb") as file:
        assert file.write(memoryview(data[: 2 * STEP_BYTES]).cast("H")) == 2 * STEP_BYTES
        assert file.write(data[2 * STEP_BYTES :]) == 1
    assert (tmp_path / "steps").read_bytes() == data

"""File systems that many machines share: which they are, and files that look missing for a while."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from headrace.store.blob import Blob
from headrace.store.folder.digest_folders import DigestFolders
from headrace.store.folder.folder import FolderStore
from headrace.store.folder.nfs import LAG_S, LOOK_S, appears, is_gone, is_shared, refresh

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 22 0:26 / /home rw,relatime shared:1 - nfs4 server:/home rw,vers=4.2
32 31 0:27 / /home/me/own rw - tmpfs none rw
33 22 0:28 / /mnt/my\\040disk rw - fuse.sshfs host:/ rw
34 22 0:29 / /scratch rw - lustre mgs@tcp:/scratch rw
35 22 0:30 / /Zürich rw - nfs4 server:/zuerich rw
"""


@pytest.mark.parametrize(
    ("folder", "shared"),
    [("/var", False), ("/home/me/store", True), ("/home/me/own/store", False), ("/mnt/my disk/a", True),
     ("/scratch", True), ("/scratchy", False), ("/Zürich/a", True)],
)  # fmt: skip
def test_what_lies_on_a_shared_file_system(folder: str, shared: bool, tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS, encoding="utf-8")
    assert is_shared(Path(folder), tmp_path / "mountinfo") is shared


def test_a_file_that_appears_late_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "ab" / "file"
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            path.parent.mkdir()
            path.write_bytes(b"here")

    assert appears(path, wait=wait)
    assert len(waits) == 3
    assert sorted(tmp_path.iterdir()) == [path.parent]
    assert list(path.parent.iterdir()) == [path]


def test_one_that_never_does_is_given_up(tmp_path: Path) -> None:
    waits: list[float] = []
    assert not appears(tmp_path / "ab" / "file", wait=waits.append)
    assert sum(waits) == LAG_S == len(waits) * LOOK_S
    assert not appears(tmp_path / "ab" / "file", patience_s=0, wait=waits.append)


def test_a_folder_that_may_not_be_changed_stays_as_it_is(tmp_path: Path) -> None:
    refresh(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_a_stale_handle_counts_as_gone() -> None:
    assert is_gone(OSError(errno.ESTALE, "stale"))
    assert is_gone(FileNotFoundError(errno.ENOENT, "gone"))
    assert not is_gone(OSError(errno.EIO, "broken"))


def test_a_rename_that_was_done_though_its_answer_was_lost_is_good(tmp_path: Path) -> None:
    folders = DigestFolders(tmp_path / "blobs")
    folders.path.mkdir()
    blob = Blob(digest="ab" * 32, size=3, nonce="n1")
    place = folders.place(blob.digest, blob.nonce)
    place.parent.mkdir()
    place.write_bytes(b"one")
    folders.take_in([(tmp_path / "aside", blob)])
    with pytest.raises(FileNotFoundError):
        folders.take_in([(tmp_path / "aside", Blob(digest="ab" * 32, size=4, nonce="n1"))])


def test_what_a_server_keeps_for_an_open_file_is_no_stray(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(b"x")
    (tmp_path / "tmp" / ".nfs0000000000000001").write_bytes(b"open elsewhere")
    assert list(store.strays()) == []
    os.unlink(tmp_path / "tmp" / ".nfs0000000000000001")

"""Unpacked bundles are there for those who use them, and go when nobody does."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from threading import Thread

import pytest

from headrace.errors import StoreError
from headrace.spec.bundle import Bundle
from headrace.store.folder.folder import FolderStore
from headrace.work import archive
from headrace.work.archive import clear, unpack

HOUR_S = 3600.0


def unpacked(local: Path) -> tuple[Bundle, Path]:
    """Return a bundle that was unpacked two hours ago, and its folder."""
    bundle = Bundle(digest="1" * 64, size=1, nonce="2" * 32)
    folder = local / "bundles" / bundle.digest
    folder.mkdir(parents=True)
    (folder / "pipelines.py").write_text("")
    os.utime(folder, (time.time() - 2 * HOUR_S,) * 2)
    return bundle, folder


def test_who_asks_for_a_bundle_has_it_for_an_hour(tmp_path: Path) -> None:
    bundle, folder = unpacked(tmp_path)
    clear(tmp_path, {bundle.digest}, time.time() - HOUR_S)
    assert unpack(bundle, FolderStore(tmp_path), tmp_path) == folder
    clear(tmp_path, (), time.time() - HOUR_S)
    assert (folder / "pipelines.py").exists()
    clear(tmp_path, (), time.time() + HOUR_S)
    assert [each.name for each in folder.parent.iterdir()] == [".lock"]


def test_a_bundle_that_somebody_asks_for_at_this_moment_is_not_deleted(tmp_path: Path) -> None:
    _, folder = unpacked(tmp_path)
    with (folder.parent / ".lock").open("w") as asks:
        fcntl.flock(asks, fcntl.LOCK_EX)
        collector = Thread(target=clear, args=(tmp_path, (), time.time() - HOUR_S))
        collector.start()
        collector.join(0.2)
        assert collector.is_alive()
        os.utime(folder)
    collector.join()
    assert (folder / "pipelines.py").exists()


def test_a_stopped_process_with_the_lock_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, folder = unpacked(tmp_path)
    monkeypatch.setattr(archive, "LOCK_S", 0.05)
    with (folder.parent / ".lock").open("w") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        for use in (
            lambda: unpack(bundle, FolderStore(tmp_path), tmp_path),
            lambda: clear(tmp_path, (), time.time() - HOUR_S),
        ):
            with pytest.raises(StoreError, match=r"another process holds the lock `.*\.lock` and doesn't"):
                use()
    assert unpack(bundle, FolderStore(tmp_path), tmp_path) == folder

"""Two workers on one machine don't use the same accelerator."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace.work.limits.devices import take


@pytest.fixture(autouse=True)
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5/0,7")


def test_what_is_taken_is_free_again_once_it_is_closed(tmp_path: Path) -> None:
    one, two = take(1, tmp_path), take(2, tmp_path)
    assert (one.names, two.names) == (("3",), ("GPU-5/0", "7"))
    one.close()
    one.close()
    assert take(1, tmp_path).names == ("3",)


def test_a_fork_keeps_the_lock_though_its_parent_has_closed_it(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    devices = take(1, tmp_path)
    if (pid := os.fork()) == 0:
        os.close(writes)
        os.read(reads, 1)
        os._exit(0)
    devices.close()
    os.close(reads)
    assert take(1, tmp_path).names == ("GPU-5/0",)
    os.close(writes)
    os.waitpid(pid, 0)
    assert take(1, tmp_path).names == ("3",)


def test_accelerators_that_something_else_uses_are_shared_before_one_is_missing(tmp_path: Path) -> None:
    others = take(2, tmp_path)
    assert take(2, tmp_path).names == ("7", "3")
    assert take(9, tmp_path).names == ("3", "GPU-5/0", "7")
    others.close()
    assert take(1, tmp_path).names == ("3",)


def test_where_files_cannot_be_locked_only_known_use_counts(tmp_path: Path) -> None:
    (tmp_path / "devices").write_text("no folder")
    assert take(1, tmp_path, used=["3"]).names == ("GPU-5/0",)


def test_without_the_variable_numbers_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert take(1, tmp_path).names == ("0",)
    assert take(0, tmp_path).names == ()

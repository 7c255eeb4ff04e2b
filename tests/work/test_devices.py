"""Two workers on one machine don't use the same accelerator while another one is free."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.work.environments.cache import cache_folder
from headrace.work.limits import devices
from headrace.work.limits.devices import Devices


@pytest.fixture(autouse=True)
def visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5/0,7")
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path))


def take(number: int, used: Sequence[str] = (), known: int = 0) -> Devices:
    return devices.take(number, cache_folder, used, known)


def test_what_is_taken_is_free_again_once_it_is_closed() -> None:
    one, two = take(1), take(2)
    assert (one.names, two.names) == (("3",), ("GPU-5/0", "7"))
    one.close()
    one.close()
    assert take(1).names == ("3",)


def test_a_fork_keeps_the_lock_though_its_parent_has_closed_it() -> None:
    reads, writes = os.pipe()
    taken = take(1)
    if (pid := os.fork()) == 0:
        os.close(writes)
        os.read(reads, 1)
        os._exit(0)
    taken.close()
    os.close(reads)
    assert take(1).names == ("GPU-5/0",)
    os.close(writes)
    os.waitpid(pid, 0)
    assert take(1).names == ("3",)


def test_accelerators_that_something_else_uses_are_shared_before_one_is_missing() -> None:
    others = take(2)
    some, every = take(2), take(9)
    assert (some.names, some.shared) == (("7", "3"), ("3",))
    assert every.names == every.shared == ("GPU-5/0", "7", "3")
    others.close()
    assert take(1).shared == ("GPU-5/0",)


def test_workers_that_have_to_share_accelerators_share_all_of_them_alike() -> None:
    taken = [take(1) for _ in range(8)]
    assert [name for each in taken for name in each.names] == ["3", "GPU-5/0", "7", "3", "GPU-5/0", "7", "3", "GPU-5/0"]
    assert [bool(each.shared) for each in taken] == [False] * 3 + [True] * 5


def test_an_accelerator_is_in_use_until_the_last_worker_that_shares_it_has_ended() -> None:
    firsts, sharer = [take(1) for _ in range(3)], take(1)
    for each in firsts:
        each.close()
    others = take(3)
    assert (sharer.shared, others.names, others.shared) == (("3",), ("GPU-5/0", "7", "3"), ("3",))
    others.close()
    sharer.close()
    assert take(3).shared == ()


def test_workers_that_start_at_the_same_moment_do_not_share_more_than_they_have_to() -> None:
    with ThreadPoolExecutor(6) as pool:
        for _ in range(10):
            taken = list(pool.map(lambda _: take(1), range(6)))
            assert sorted(each.names[0] for each in taken) == ["3", "3", "7", "7", "GPU-5/0", "GPU-5/0"]
            assert sum(bool(each.shared) for each in taken) == 3
            for each in taken:
                each.close()


def test_one_that_is_stopped_while_it_chooses_holds_up_the_others_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(1).close()
    (turn,) = tmp_path.rglob("choosing")
    monkeypatch.setattr(devices, "TURN_S", 0.05)
    with turn.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert take(1).names == ("3",)


def test_files_of_another_user_are_locked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "another user's", str(path))
        return open_file(path, flags, mode)

    open_file, others = os.open, take(3)
    others.close()
    one = take(1)
    monkeypatch.setattr(os, "open", refuse)
    assert [take(1).names for _ in range(2)] == [("GPU-5/0",), ("7",)]
    assert take(1).shared == ("3",)
    one.close()
    assert take(1).names == ("3",)


def test_where_files_cannot_be_locked_only_known_use_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "devices").write_text("no folder")
    assert take(1, used=["3"]).names == ("GPU-5/0",)
    monkeypatch.setenv("HEADRACE_CACHE", "~no-such-user/cache")
    assert take(1, used=["3"]).names == ("GPU-5/0",)


def test_no_accelerator_is_given_that_the_machine_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(os, "listdir", lambda _: ["dxg", "kfd", "nvidiactl"])
    taken = [take(1, known=2) for _ in range(4)]
    assert [each.names for each in taken] == [("0",), ("1",), ("0",), ("1",)]
    assert take(2).names == ("0", "1")
    assert take(0).names == ()
    monkeypatch.setattr(os, "listdir", lambda _: ["nvidia0", "nvidia1", "nvidia2", "nvidiactl"])
    assert take(3, known=1).names == ("2", "0", "1")


def test_for_a_worker_without_accelerators_nobody_looks_for_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(os, "listdir", lambda folder: pytest.fail(f"looked into {folder}"))
    assert take(0).names == ()

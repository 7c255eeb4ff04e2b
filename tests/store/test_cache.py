"""The cache of an object store: bounded, shared by processes, and never trusted after a loss of power."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.store.cache import cache as cache_module
from headrace.store.cache.cache import LOOK_SHARE, SPARED_S, STALE_S, Cache

LIMIT = 1000


def bring(cache: Cache, data: bytes, used: float | None = None) -> str:
    digest = blake3(data).hexdigest()
    aside = cache.aside()
    aside.write_bytes(data)
    path = cache.take_in(aside, digest)
    if used is not None and path.exists():
        os.utime(path, (used, used))
    return digest


def total(cache: Cache) -> int:
    return sum(path.stat().st_size for path in cache.folder.rglob("*") if path.is_file() and "locks" not in path.parts)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=40))
def test_however_files_come_and_are_used_the_bound_holds_and_the_last_used_stay(
    steps: list[tuple[int, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        now = 1e9
        cache = Cache(Path(folder), LIMIT, clock=lambda: now + 2 * SPARED_S)
        used: dict[str, float] = {}
        for number, (size, again) in enumerate(steps):
            now += 1
            if again and used:
                digest = min(used, key=lambda each: used[each])
                if (path := cache.find(digest)) is not None:
                    os.utime(path, (now, now))
                    used[digest] = now
                continue
            data = number.to_bytes(2, "big") + bytes(size)
            used[bring(cache, data, now)] = now
            cache.evict()
            assert total(cache) <= LIMIT
        there = [each for each in sorted(used, key=lambda each: used[each]) if cache.find(each) is not None]
        order = sorted(used, key=lambda each: used[each])
        assert there == order[len(order) - len(there) :]  # what is there was used last


def test_it_is_looked_over_as_files_come_in(tmp_path: Path) -> None:
    cache = Cache(tmp_path, LIMIT, clock=lambda: 4e9)
    for number in range(100):
        bring(cache, b"%03d" % number * 30)
    assert total(cache) <= LIMIT + LIMIT / LOOK_SHARE + 90


def test_what_was_just_used_is_spared_though_the_bound_is_passed(tmp_path: Path) -> None:
    cache = Cache(tmp_path, LIMIT)
    digests = [bring(cache, bytes([number]) * 600) for number in range(3)]
    cache.evict()
    assert all(cache.find(each) for each in digests)


def test_a_file_that_is_evicted_stays_for_who_reads_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, LIMIT, clock=lambda: 4e9)
    path = cache.find(bring(cache, b"x" * 900))
    assert path is not None
    with path.open("rb") as file:
        bring(cache, b"y" * 900)
        assert not path.exists()
        assert file.read() == b"x" * 900


def test_after_a_boot_a_file_is_held_against_its_digest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path, LIMIT)
    whole, torn = bring(cache, b"whole"), bring(cache, b"torn")
    path = cache.find(torn)
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(b"\0\0\0\0")
    boot = tmp_path / "boot_id"
    boot.write_text("another-boot")
    monkeypatch.setattr("headrace.store.cache.cache.BOOT", boot)
    later = Cache(tmp_path, LIMIT)
    found = later.find(whole)
    assert found is not None
    assert found.read_bytes() == b"whole"
    assert later.find(whole) == found
    assert later.find(torn) is None
    assert not path.exists()


def test_asked_to_verify_it_finds_damage_and_removes_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, LIMIT)
    digest = bring(cache, b"precious")
    path = cache.find(digest, verify=True)
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(b"?recious")
    assert cache.find(digest) == path
    assert cache.find(digest, verify=True) is None
    assert cache.find(digest) is None


def test_half_written_files_go_when_nobody_will_finish_them(tmp_path: Path) -> None:
    cache = Cache(tmp_path, LIMIT)
    old, young = cache.aside(), cache.aside()
    for each in (old, young):
        each.write_bytes(b"half")
    os.utime(old, (1, 1))
    cache.evict()
    assert (old.exists(), young.exists()) == (False, True)
    assert STALE_S > 3600


BUSY = """
import os, sys
from pathlib import Path
from blake3 import blake3
from headrace.store.cache.cache import Cache
cache = Cache(Path(sys.argv[1]), 20_000, clock=lambda: 4e9)
for number in range(400):
    data = b"%d" % (number % 50) * 200
    digest = blake3(data).hexdigest()
    with cache.alone(digest):
        path = cache.find(digest)
        if path is None:
            aside = cache.aside()
            aside.write_bytes(data)
            path = cache.take_in(aside, digest)
    try:
        assert path.read_bytes() == data
    except FileNotFoundError:
        pass  # evicted: this clock spares nothing
"""


def test_processes_share_it(tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", BUSY, str(tmp_path)]) for _ in range(3)]
    assert [each.wait() for each in workers] == [0, 0, 0]
    Cache(tmp_path, 20_000, clock=lambda: 4e9).evict()
    assert total(Cache(tmp_path, 20_000)) <= 20_000


def test_only_one_downloads_at_a_time(tmp_path: Path) -> None:
    cache = Cache(tmp_path, LIMIT)
    inside: list[int] = []

    def enter(number: int) -> None:
        with cache.alone("ab" * 32):
            inside.append(number)
            assert len(inside) == 1
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(100)))


def test_who_downloads_and_was_stopped_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "LOCK_S", 0.05)
    cache = Cache(tmp_path, LIMIT)
    with cache.alone("ab" * 32), cache.alone("ab" * 32):
        digest = bring(cache, b"downloaded twice")
    assert cache.find(digest) is not None


def test_what_is_forgotten_is_gone_whenever_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path, LIMIT)
    early, other = bring(cache, b"early"), bring(cache, b"other")
    boot = tmp_path / "boot_id"
    boot.write_text("another-boot")
    monkeypatch.setattr("headrace.store.cache.cache.BOOT", boot)
    later = Cache(tmp_path, LIMIT)
    late = bring(later, b"late")
    for digest in (early, late, late):
        later.forget(digest)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file() and len(path.name) == 64} == {other}

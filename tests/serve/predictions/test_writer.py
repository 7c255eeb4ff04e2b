"""A writer says of each answer that it is on disk once it is, and of the others why not."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from headrace.errors import LogError
from headrace.serve.predictions import segment
from headrace.serve.predictions.log import PredictionLog
from headrace.serve.predictions.prediction import PredictionId
from headrace.serve.predictions.segment import Segment, read
from headrace.serve.predictions.writer import Settled, Writer
from tests.projects import wait_for
from tests.serve.predictions.checker import check, in_segments
from tests.serve.predictions.samples import answered, feedback

PATIENCE_S = 60.0


class Collected:
    """What a writer said so far. It can be made to wait, so that what comes meanwhile is one batch."""

    def __init__(self) -> None:
        self.batches: list[list[Settled]] = []
        self.may_go_on = Event()
        self.may_go_on.set()

    def __call__(self, settled: Sequence[Settled]) -> None:
        self.batches.append(list(settled))
        self.may_go_on.wait(PATIENCE_S)

    def wait(self, token: Any) -> None:
        """Wait until the writer has said what became of an answer."""
        wait_for(lambda: token in self.told)

    @property
    def told(self) -> dict[Any, PredictionId | LogError | None]:
        return {each.token: each.first for batch in self.batches for each in batch}


def test_what_comes_while_a_batch_is_synced_is_the_next_batch(tmp_path: Path) -> None:
    log, told = PredictionLog(tmp_path / "log"), Collected()
    told.may_go_on.clear()
    writer = log.writer(told)
    for number in range(50):
        writer.log(answered(number, count=2), number)
    told.may_go_on.set()
    assert writer.close(PATIENCE_S)
    assert sum(map(len, told.batches)) == 50
    assert len(told.batches) <= 3
    assert [told.told[number].offset for number in range(50)] == [2 * number for number in range(50)]  # type: ignore[union-attr]
    (contents,) = log.contents()
    assert [each.answered for each in contents.logged] == [answered(number, count=2) for number in range(50)]
    log.close()


def test_feedback_is_logged_beside_answers_and_has_no_id(tmp_path: Path) -> None:
    told = Collected()
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told)
    for number in range(4):
        writer.log(answered(number) if number % 2 else feedback(number), number)
    assert writer.close(PATIENCE_S)
    assert (told.told[0], told.told[2]) == (None, None)
    (path,) = tmp_path.glob("*.closed")
    contents = read(path)
    assert contents.feedback == (feedback(0), feedback(2))
    assert [each.answered for each in contents.logged] == [answered(1), answered(3)]
    assert [each.offset for each in contents.logged] == [0, 1]


def test_a_segment_that_is_old_or_large_is_followed_by_another(tmp_path: Path) -> None:
    now, told = [1_000.0], Collected()
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told, most_s=60.0, most_bytes=1_000, clock=lambda: now[0])

    def log(number: int, given: bytes = b"x") -> int:
        writer.log(answered(number, given=given), number)
        told.wait(number)
        found = told.told[number]
        assert isinstance(found, PredictionId)
        return found.segment

    assert [log(0), log(1)] == [1, 1]
    now[0] += 60.0
    assert [log(2), log(3, b"x" * 1_000), log(4)] == [2, 2, 3]
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix == ".closed") == [
        "000000001.closed",
        "000000002.closed",
    ]
    assert writer.close(PATIENCE_S)
    assert len([*tmp_path.glob("*.closed")]) == 3


def test_an_idle_writer_closes_its_segment_so_that_it_can_be_sealed(tmp_path: Path) -> None:
    told = Collected()
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told, most_s=0.05)
    for number in range(2):
        writer.log(answered(number), number)
        told.wait(number)
        path = tmp_path / f"{number + 1:09}.closed"
        wait_for(path.exists)
        assert [each.answered for each in read(path).logged] == [answered(number)]
    assert writer.close(PATIENCE_S)


def test_a_writer_that_has_just_begun_is_never_taken_for_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, looks, flock = PredictionLog(tmp_path), [], fcntl.flock

    def looked(descriptor: int, how: int) -> None:
        if how & fcntl.LOCK_EX:  # the writer is about to take its lock: what does a sealer see?
            monkeypatch.setattr(fcntl, "flock", flock)
            looks.append([[*log.closed()], [path.name for path in log._writers()]])
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", looked)
    writer = log.writer(Collected())
    assert looks == [[[], []]]
    (folder,) = log._writers()
    (folder / "000000001.db").write_bytes(b"")
    assert [*log.closed()] == []
    assert writer.close(PATIENCE_S)
    log.close()
    assert [*log.closed()] == [folder / "000000001.db"]


def test_a_sync_that_failed_is_told_and_never_tried_again_on_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, append, failing = Collected(), Segment.append, [False]

    def failed(self: Segment, batch: Any) -> list[int]:
        offsets = append(self, batch)
        if failing[0]:
            raise LogError("disk I/O error")
        return offsets

    monkeypatch.setattr(Segment, "append", failed)
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told)
    for number in range(3):
        failing[0] = number == 1
        writer.log(answered(number), number)
        told.wait(number)
    assert writer.close(PATIENCE_S)
    first, second, third = (told.told[number] for number in range(3))
    assert isinstance(first, PredictionId)
    assert isinstance(second, LogError)
    assert isinstance(third, PredictionId)
    assert (first.segment, third.segment, third.offset) == (1, 2, 0)
    assert (tmp_path / "000000001.db").exists()  # it may hold what was told as failed, so it is sealed as a dead one's


def test_a_segment_that_somebody_reads_keeps_its_name_until_all_of_it_is_in_the_file(tmp_path: Path) -> None:
    written = Segment.begin(tmp_path, "0a1b2c3d4e5f", 1, now=0.0)
    written.append([answered(0)])
    with closing(sqlite3.connect(written.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM answered").fetchone() == (1,)
        written.append([answered(1)])
        written._db.execute("PRAGMA busy_timeout=10")
        assert not written.close()
    assert [each.answered for each in read(written.path).logged] == [answered(0), answered(1)]


def test_a_segment_that_can_not_be_made_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "000000001.db-wal").mkdir()  # so that SQLite fails after it has made the file
    told = Collected()
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told)
    for number in range(2):
        writer.log(answered(number), number)
        told.wait(number)
    assert [type(told.told[number]) for number in range(2)] == [LogError, PredictionId]
    assert writer.close(PATIENCE_S)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["000000002.closed"]


@pytest.mark.parametrize("error", [OSError(30, "Read-only file system"), UnicodeEncodeError("utf-8", "x", 0, 1, "no")])
def test_whatever_goes_wrong_is_told_and_the_next_answers_are_logged(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, begin = Collected(), Segment.begin

    def failed(*_: Any, **__: Any) -> Segment:
        raise error

    monkeypatch.setattr(Segment, "begin", failed)
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told)
    writer.log(answered(0), 0)
    told.wait(0)
    monkeypatch.setattr(Segment, "begin", begin)
    writer.log(answered(1), 1)
    told.wait(1)
    assert writer.close(PATIENCE_S)
    assert isinstance(told.told[0], LogError)
    assert isinstance(told.told[1], PredictionId)


class Synced:
    """Counts the syncs of buffered segments, each with what was written by then. They can be made to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ends: list[int] = []
        self.fails = False
        sync = Segment.sync

        def counted(written: Segment) -> None:
            sync(written)
            self.ends.append(written.end)
            if self.fails:
                raise LogError("disk I/O error")

        monkeypatch.setattr(Segment, "sync", counted)


def test_a_buffered_writer_syncs_once_a_second_and_not_each_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, told, synced = [1_000.0], Collected(), Synced(monkeypatch)
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told, most_s=1e9, is_buffered=True, sync_s=30.0, clock=lambda: now[0])

    def log(number: int, at: float) -> None:
        now[0] = at
        writer.log(answered(number), number)
        told.wait(number)

    for number in range(5):
        log(number, 1_000.0 + number)
    assert synced.ends == []
    log(5, 1_030.0)
    wait_for(lambda: synced.ends == [6])
    log(6, 1_031.0)
    log(7, 1_060.0)
    assert synced.ends == [6]
    log(8, 900.0)  # the clock was set back
    wait_for(lambda: synced.ends == [6, 9])
    log(9, 901.0)
    assert writer.close(PATIENCE_S)
    assert synced.ends == [6, 9, 10]
    assert len({each for each in told.told.values() if isinstance(each, PredictionId)}) == 10


def test_an_idle_buffered_writer_syncs_what_it_has_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, synced = Collected(), Synced(monkeypatch)
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told, is_buffered=True, sync_s=0.01)
    writer.log(answered(0), 0)
    wait_for(lambda: synced.ends == [1])
    writer.log(feedback(0), 1)
    wait_for(lambda: synced.ends == [1, 1])
    assert writer.close(PATIENCE_S)
    assert synced.ends == [1, 1]


def test_only_a_buffered_segment_is_committed_without_a_sync(tmp_path: Path) -> None:
    full, normal = 2, 1  # https://sqlite.org/pragma.html#pragma_synchronous
    for number, is_buffered in enumerate([False, True]):
        begun = Segment.begin(tmp_path, "0a1b2c3d4e5f", number, now=0.0, is_buffered=is_buffered)
        (how,) = begun._db.execute("PRAGMA synchronous").fetchone()
        assert how == (normal if is_buffered else full)
        assert begun.close()


def test_the_next_batch_is_told_of_a_sync_that_failed_and_later_ones_are_in_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, synced = Collected(), Synced(monkeypatch)
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told, is_buffered=True, sync_s=0.01)
    synced.fails = True
    for number in range(2):
        writer.log(answered(number), number)
        told.wait(number)
        wait_for(lambda: len(synced.ends) == 1)
    synced.fails = False
    writer.log(answered(2), 2)
    assert writer.close(PATIENCE_S)
    first, second, third = (told.told[number] for number in range(3))
    assert isinstance(first, PredictionId)
    assert isinstance(second, LogError)
    assert isinstance(third, PredictionId)
    assert (first.segment, third.segment) == (1, 2)


class Disk:
    """What `os.fsync` gets: for each call, the name and the size of the file. It can be made to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[tuple[str, int]] = []
        self.error: Exception | None = None
        monkeypatch.setattr(segment, "_FULL_SYNC", None)
        monkeypatch.setattr(os, "fsync", self._sync)

    def _sync(self, descriptor: int) -> None:
        if self.error is not None:
            raise self.error
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        self.synced.append((path.name, path.stat().st_size))


@pytest.mark.skipif(sys.platform != "linux", reason="names of open files are read from /proc")
def test_what_a_buffered_writer_syncs_is_the_log_of_changes_with_all_that_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, disk = Collected(), Disk(monkeypatch)
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told, is_buffered=True, sync_s=0.01)
    for number in range(2):
        writer.log(answered(number, given=b"x" * 100_000), number)
        told.wait(number)
        wait_for(lambda seen=number: len(disk.synced) > seen)  # type: ignore[misc]
    assert writer.close(PATIENCE_S)
    (first, first_size), (second, second_size) = disk.synced
    assert first == second == "000000001.db-wal"
    assert first_size > 100_000
    assert second_size > 200_000


TELLS_THREE = """
import os, sys
from pathlib import Path
from headrace.serve.predictions.log import PredictionLog
from tests.serve.predictions.samples import answered

log = PredictionLog(Path(sys.argv[1]))
writer = log.writer(lambda settled: [os.write(1, b"told") for _ in settled])
for number in range(3):
    writer.log(answered(number), number)
assert writer.close(60.0)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace isn't there")
def test_an_answer_is_told_only_after_the_log_of_changes_was_synced(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,write,pwrite64", "-e", "signal=none", "-o", str(trace)]
    words = [*strace, sys.executable, "-c", TELLS_THREE, str(tmp_path / "log")]
    done = subprocess.run(words, capture_output=True, check=False)
    if b"ptrace" in done.stderr:
        pytest.skip("processes can't be traced here")
    assert (done.returncode, done.stdout) == (0, b"told" * 3), done.stderr
    is_synced, told = False, 0
    for line in trace.read_text().splitlines():
        if "sync(" in line and ".db-wal>" in line:
            is_synced = True
        elif "write" in line and ".db-wal>" in line:
            is_synced = False
        elif '"told"' in line:
            assert is_synced
            told += 1
    assert told == 3


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), AttributeError("no such function")])
def test_a_sync_that_failed_when_the_log_closes_is_said(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, disk, said = Collected(), Disk(monkeypatch), list[str]()
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told, is_buffered=True, sync_s=1e9, say=said.append)
    writer.log(answered(0), 0)
    told.wait(0)
    disk.error = error
    assert not writer.close(PATIENCE_S)
    (line,) = said
    assert "the prediction log fails; about the last 1e+09 s of it may be lost" in line
    assert str(error.args[-1]) in line


def test_a_sync_that_failed_when_a_segment_was_left_is_told_to_the_batch_that_came_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, told, disk, said = [1_000.0], Collected(), Disk(monkeypatch), list[str]()
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told, is_buffered=True, sync_s=1e9, say=said.append, clock=lambda: now[0])
    for number in range(3):
        disk.error = OSError(5, "Input/output error") if number == 1 else None
        writer.log(answered(number), number)
        told.wait(number)
        now[0] += 61.0 if number == 0 else 0.0
    assert [type(told.told[number]) for number in range(3)] == [PredictionId, LogError, PredictionId]
    assert len(said) == 1
    assert writer.close(PATIENCE_S)


def test_a_thread_whose_sync_fails_in_an_unknown_way_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, disk, said = Collected(), Disk(monkeypatch), list[str]()
    disk.error = AttributeError("no such function")
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told, is_buffered=True, sync_s=0.01, say=said.append)
    writer.log(answered(0), 0)
    wait_for(lambda: said)
    for number in (1, 2):
        disk.error = None
        writer.log(answered(number), number)
        told.wait(number)
    assert [type(told.told[number]) for number in range(3)] == [PredictionId, LogError, PredictionId]
    assert writer.close(PATIENCE_S)


@pytest.mark.skipif(
    sys.version_info < (3, 12) and not hasattr(fcntl, "F_OFD_SETLK"), reason="SQLite can't be told to leave the file"
)
def test_after_a_sync_that_failed_nothing_is_copied_into_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, disk, said = Collected(), Disk(monkeypatch), list[str]()
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told, is_buffered=True, sync_s=1e9, say=said.append)
    writer.log(answered(0), 0)
    told.wait(0)
    path = tmp_path / "000000001.db"
    changes = tmp_path / "000000001.db-wal"
    before = path.read_bytes(), changes.read_bytes()
    disk.error = OSError(5, "Input/output error")
    assert not writer.close(PATIENCE_S)
    assert (path.read_bytes(), changes.read_bytes()) == before
    assert [each.answered for each in read(path).logged] == [answered(0)]


def test_entries_that_wait_for_a_disk_that_hangs_are_bounded(tmp_path: Path) -> None:
    told = Collected()
    told.may_go_on.clear()
    writer = Writer(tmp_path, "0a1b2c3d4e5f", told, most_waiting_bytes=10_000)
    writer.log(answered(0), 0)
    told.wait(0)
    for number in range(1, 11):  # each about 1,030 bytes
        writer.log(answered(number), number)
    with pytest.raises(LogError, match="10,000 bytes wait for its disk"):
        writer.log(answered(11), 11)
    told.may_go_on.set()
    told.wait(5)
    wait_for(lambda: writer._given_bytes == writer._settled_bytes)
    writer.log(answered(20), 20)
    assert writer.close(PATIENCE_S)
    assert isinstance(told.told[20], PredictionId)


PROGRAM = """
import os, sys
from pathlib import Path
from headrace.serve.predictions.log import PredictionLog
from tests.serve.predictions.samples import answered, feedback

def tell(settled):
    os.write(1, b"".join(b"%d %s\\n" % (each.token, str(each.first).encode()) for each in settled))

writer = PredictionLog(Path(sys.argv[1])).writer(tell, is_buffered=sys.argv[2] == "buffered")
for number in range(10**9):
    writer.log(answered(number), number)
    if number % 50 == 0:
        sys.stdin.readline()
"""


@pytest.mark.parametrize(("mode", "rounds"), [("durable", 3), ("durable", 200), ("buffered", 40), ("buffered", 200)])
def test_each_answer_that_was_told_is_in_the_log_of_a_writer_that_was_killed(
    tmp_path: Path, mode: str, rounds: int
) -> None:
    folder = tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    log = PredictionLog(folder)
    told: list[bytes] = []
    process.stdin.write(b"\n" * rounds)
    process.stdin.flush()
    told.append(process.stdout.readline())
    assert [*log.closed()] == []  # it lives
    os.kill(process.pid, signal.SIGKILL)
    told += process.stdout.readlines()
    process.communicate()
    acknowledged = dict(line.split() for line in told if line.endswith(b"\n"))
    check({each.decode() for each in acknowledged.values()}, in_segments(folder))
    (path,) = log.closed()
    (contents,) = log.contents()
    found = {each.offset: each.answered for each in contents.logged}
    assert acknowledged
    for number, identity in acknowledged.items():
        assert found[int(identity.split(b"-")[2])] == answered(int(number))
    assert [each.salt for each in found.values()] == [*range(len(found))]  # none in between is left out
    log.drop(path)
    assert [*folder.iterdir()] == []

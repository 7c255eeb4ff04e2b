"""What the local backend does beside its contract."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from msgspec.structs import replace

from headrace.backends.local import backend
from headrace.backends.local.backend import LocalBackend
from headrace.backends.processes import spawn
from headrace.backends.processes.channel import Channel
from headrace.backends.processes.namespace import Namespace, works
from headrace.backends.processes.orphans import MARKED, PARENT, end_orphans, note_mark
from headrace.backends.processes.spawn import Spawned
from headrace.errors import BackendError
from headrace.run.events import Checkpointed, Succeeded
from headrace.run.ports import Alive, Job
from headrace.run.spilled import spilled
from headrace.run.wire import Ack, Report, decode_up, frame
from headrace.spec.stage import Resources
from headrace.store.folder.spool import Spool
from headrace.testing.backend_listener import Ear
from headrace.testing.backend_setup import RUN
from headrace.testing.worker_contract import lives
from headrace.work import zygote
from tests.contract.stands import LocalStand

needs_namespaces = pytest.mark.skipif(not works(), reason="namespaces can't be had here: install bubblewrap")


@pytest.fixture
def stand(tmp_path: Path) -> LocalStand:
    return LocalStand(tmp_path)


@pytest.fixture
def ear(stand: LocalStand) -> Iterator[Ear]:
    ear = Ear(stand.backend())
    yield ear
    ear.backend.close(now=True)


def parent_of(stand: LocalStand) -> psutil.Process:
    """Return the process that begins workers."""
    [note] = Path(stand.hello.notes()).glob(f"{PARENT}*")
    return psutil.Process(int(note.name.removeprefix(PARENT)))


def test_the_two_sides_mean_the_same_by_the_note_of_a_parent() -> None:
    assert zygote.PARENT == PARENT


def test_a_process_that_has_no_environment_is_let_go_and_the_next_attempt_asks_anew(
    stand: LocalStand, ear: Ear
) -> None:
    ear.begin(1)
    for worker in (2, 3):
        ear.backend.start([Job(worker=worker, resources=Resources(), environment="old")])
        assert ear.wait_for_death(worker).kind == "refused"
        ear.until(lambda: len(stand.living()) == 2, "the process should have gone")  # worker 1, and what began it
    ear.tell(1, stand.order("one", "next"))
    ear.wait_for(1, Succeeded)


def test_when_the_process_that_begins_workers_dies_they_are_lost_and_others_can_be_begun(
    stand: LocalStand, ear: Ear
) -> None:
    ear.begin(1, 2)
    ear.tell(1, stand.order("breed", "breeder"), stand.order("deaf", "stubborn"))
    ear.wait_for(1, Checkpointed)
    [bred] = ear.events(1, Succeeded)
    began = stand.value(bred.out)
    assert isinstance(began, list)
    parent_of(stand).kill()
    assert {ear.wait_for_death(worker).kind for worker in (1, 2)} == {"lost"}
    ear.begin(3)
    ear.tell(3, stand.order("one", "next"))
    ear.wait_for(3, Succeeded)
    ear.until(lambda: not any(map(lives, began)), "the stage's processes should have ended")


def test_a_driver_that_was_stopped_with_the_process_that_begins_workers_loses_none_of_them(
    stand: LocalStand, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """^Z stops both: as they go on, what begins workers has had no time to say anything."""
    ear.begin(1)
    ear.tell(1, stand.order("one", "next"))
    ear.wait_for(1, Succeeded)
    parent = parent_of(stand)
    parent.suspend()
    ear.listen()  # what it had said until then
    monkeypatch.setattr(backend, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 3600.0))
    ear.listen()
    parent.resume()
    ear.tell(1, stand.order("one", "next"))
    ear.wait_for(1, Succeeded, 2)


@pytest.mark.parametrize("namespace", [False, pytest.param(True, marks=needs_namespaces)])
def test_what_a_stage_began_ends_before_the_next_driver_goes_on_though_all_above_it_were_killed_at_once(
    tmp_path: Path, namespace: bool
) -> None:
    stand = LocalStand(tmp_path, namespace=namespace)
    ear = Ear(stand.backend())
    ear.begin(1)
    ear.tell(1, stand.order("breed", "breeder"), stand.order("deaf", "stubborn"))
    ear.wait_for(1, Checkpointed)
    [bred] = ear.events(1, Succeeded)
    began = stand.value(bred.out)
    assert isinstance(began, list)
    ear.until(lambda: all(map(lives, began)), "they should have begun")
    other = subprocess.Popen(
        ["sleep", "3600.5"], env={**os.environ, spawn.MARK: uuid.uuid4().hex}, start_new_session=True
    )
    ear.backend.abandon()
    mine = [each for each in stand.living() if "headrace.work" in each.cmdline() or "bwrap" in each.name()]
    for process in mine:
        process.suspend()  # so that none sees another's end
    for process in mine:
        with suppress(psutil.NoSuchProcess):  # a namespace ends with its first process
            process.kill()
    psutil.wait_procs(mine, timeout=20)
    assert namespace or all(map(lives, began))
    list(stand.backend().adopt())
    assert not any(map(lives, began))
    assert other.poll() is None
    other.kill()
    other.wait()


def test_runs_pools_and_projects_on_one_machine_share_an_accelerator_only_if_none_is_free_and_say_so(
    stand: LocalStand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    hello, ears, seen, logs = replace(stand.hello, gpus=3), list[Ear](), list[str](), list[str]()
    project = replace(hello, local=str(tmp_path / "local"))
    for other in (hello, replace(hello, pool="there"), project, replace(hello, run=f"{RUN}-other")):
        stand.hello = other
        ear = Ear(stand.backend())
        ears.append(ear)
        ear.begin(1, needs=Resources(gpu="1"))
        ear.tell(1, stand.order("surroundings", "look"))
        [event] = ear.wait_for(1, Succeeded)
        surroundings = stand.value(event.out)
        assert isinstance(surroundings, dict)
        seen.append(surroundings["CUDA_VISIBLE_DEVICES"])
        logs.append(Path(other.local, "logs", other.run, event.log.log).read_text() if event.log else "")
    assert seen == ["3", "5", "7", "3"]
    assert logs[:3] == ["", "", ""]
    assert logs[3] == (
        "warning: when this worker started, another process used accelerator `3` too: no other one was free\n"
    )
    for ear in ears:
        ear.backend.close(now=True)


def test_a_number_that_another_process_has_by_now_ends_nobody(stand: LocalStand) -> None:
    notes = Path(stand.hello.notes())
    notes.mkdir(parents=True)
    with subprocess.Popen(["sleep", "3600"], start_new_session=True, cwd=stand.local) as other:
        (notes / f"{other.pid}").write_text(f"1 {other.pid}")
        (notes / f"{PARENT}{other.pid}").write_text(f"1 {os.getpid()}")
        (notes / f"{MARKED}{uuid.uuid4().hex}").write_text(f"1 {other.pid}")
        (stand.local / "logs" / RUN).mkdir(parents=True)
        (stand.local / "logs" / RUN / f"1-{other.pid}").write_text("printed")
        with open(stand.local / "logs" / RUN / f"1-{other.pid}") as log:
            reader = subprocess.Popen(["sleep", "3600"], stdin=log, start_new_session=True)
        list(stand.backend().adopt())
        assert (other.poll(), reader.poll()) == (None, None)
        assert not list(notes.iterdir())
        other.kill()
        reader.kill()
        reader.wait()


def test_a_note_that_another_has_just_made_or_cleared_away_ends_nobody(tmp_path: Path) -> None:
    """On a node of a cluster several of a run look at its notes at once."""
    mark = uuid.uuid4().hex  # another test may end the processes of a mark that both use
    note = tmp_path / f"{MARKED}{mark}"
    with subprocess.Popen(["sleep", "3600"], env={**os.environ, spawn.MARK: mark}, start_new_session=True) as other:
        for make in (note.touch, lambda: note.symlink_to("nowhere")):  # it is listed, and can't be read
            make()
            end_orphans(tmp_path)
            assert other.poll() is None
            note.unlink()
        with socket.socket() as control:
            note_mark(tmp_path, Spawned(other.pid, control, -1, mark))
        end_orphans(tmp_path)
        assert (other.poll(), [each.name for each in tmp_path.iterdir()]) == (None, [note.name])
        note.write_text(f"1 {other.pid}")
        end_orphans(tmp_path)
        assert (other.wait(), list(tmp_path.iterdir())) == (-signal.SIGKILL, [])


def test_the_process_that_was_begun_early_is_not_taken_for_one_that_was_left(stand: LocalStand) -> None:
    ours, theirs = socket.socketpair()
    pid = os.posix_spawnp("sleep", ["sleep", "60"], os.environ, setpgroup=0)
    backend = LocalBackend(
        stand.pool, stand.hello, stand.store.spool, spawned=Spawned(pid, ours, os.memfd_create("errors"), "a mark")
    )
    theirs.setblocking(False)
    assert list(backend.adopt()) == []
    with pytest.raises(BlockingIOError):
        theirs.recv(1)  # told of its run, it would leave its note where `adopt` looks
    os.kill(pid, signal.SIGKILL)
    backend.close()
    assert theirs.recv(1) == b""
    theirs.close()


def descriptors() -> set[tuple[str, str]]:
    """Return number and target of each open descriptor, after the garbage of earlier tests has closed its own."""
    gc.collect()
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            found.add((descriptor.name, str(descriptor.readlink())))
    return found


def test_a_driver_that_lets_go_holds_on_to_no_descriptor(stand: LocalStand) -> None:
    before = descriptors()
    ear = Ear(stand.backend())
    ear.begin(1)
    ear.tell(1, stand.order("wait", "patient"))  # a worker without an attempt leaves after a while
    ear.wait_for(1, Checkpointed)
    ear.backend.abandon()
    assert descriptors() - before == set()
    after = stand.backend()
    assert [each.job.worker for each in after.adopt() if isinstance(each, Alive)] == [1]
    after.close(now=True)
    assert descriptors() - before == set()


def test_where_no_more_files_may_be_open_that_is_said(stand: LocalStand, ear: Ear) -> None:
    ear.begin(1)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 10, limits[1]))
    try:
        with pytest.raises(BackendError, match="can't start a worker: Too many open files"):
            ear.backend.start([Job(worker=worker, resources=Resources()) for worker in range(2, 40)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_worker_that_somebody_kills_says_by_which_signal(stand: LocalStand, ear: Ear) -> None:
    ear.begin(1)
    ear.tell(1, stand.order("wait", "patient"))
    ear.wait_for(1, Checkpointed)
    [worker] = parent_of(stand).children()
    os.kill(worker.pid, signal.SIGKILL)
    died = ear.wait_for_death(1)
    assert died.kind == "crash"
    assert "signal 9" in died.why


def test_many_workers_can_be_begun_and_ended_at_once(stand: LocalStand, ear: Ear) -> None:
    workers = list(range(1, 401))
    ear.begin(*workers)
    ear.backend.close(workers, now=True)
    assert {ear.wait_for_death(worker).kind for worker in workers} == {"cancelled"}


@pytest.mark.parametrize("namespace", [False, pytest.param(True, marks=needs_namespaces)])
@pytest.mark.parametrize("now", [True, False])
def test_a_worker_that_is_ended_while_it_starts_needs_no_grace_time(tmp_path: Path, namespace: bool, now: bool) -> None:
    stand = LocalStand(tmp_path, namespace=namespace)
    backend = LocalBackend(stand.pool, stand.hello, stand.store.spool, prefix=stand.prefix, grace_s=3600.0)
    ear = Ear(backend)
    try:
        for worker in range(1, 6):
            backend.start([Job(worker=worker, resources=Resources())])
            backend.close([worker], now=now)
            assert ear.wait_for_death(worker).kind == "cancelled"
    finally:
        backend.close(now=True)


@needs_namespaces
def test_a_zygote_that_is_discarded_while_bubblewrap_starts_leaves_no_process() -> None:
    """Bubblewrap makes a process within its first milliseconds; killed alone then, it leaves this one waiting forever:
    250 of 400 times."""
    marks = []
    for tenths_of_ms in range(60):
        spawned = spawn.spawn(dict(os.environ), Namespace().command())
        time.sleep(tenths_of_ms / 1e4)
        spawned.discard()
        marks.append(spawned.mark)
    every = psutil.process_iter(["environ"])
    left = [each for each in every if (each.info["environ"] or {}).get(spawn.MARK) in marks]
    _, alive = psutil.wait_procs(left, timeout=10.0)  # a process that goes on without bubblewrap ends by itself
    for process in alive:
        process.kill()
    assert not alive


def test_what_has_arrived_on_a_line_is_read_though_nothing_can_be_sent_any_more() -> None:
    ours, theirs = socket.socketpair()
    line = Channel(ours)
    theirs.sendall(frame(Report(1, b"last words")))
    theirs.close()
    line.send(frame(Ack(1)))
    line.send(frame(Ack(1)))
    assert not line.waits
    assert [decode_up(body) for body in line.read()] == [Report(1, b"last words")]
    assert list(line.read()) == []
    assert line.closed
    ours.close()


def test_what_can_not_be_sent_at_once_is_sent_later() -> None:
    ours, theirs = socket.socketpair()
    line, other = Channel(ours), Channel(theirs)
    sent = [Report(number, bytes(50_000)) for number in range(40)]
    for report in sent:
        line.send(frame(report))
    assert line.waits
    found = []
    while len(found) < len(sent):
        line.push()
        found += [decode_up(body) for body in other.read()]
    assert found == sent
    assert not line.waits
    ours.close()
    theirs.close()


def test_a_torn_spill_gives_what_was_written_whole(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "7-123").write_bytes(frame(Report(1, b"one")) + frame(Report(2, b"two"))[:-1])
    (tmp_path / RUN / "not a worker's").write_bytes(b"")
    found = spilled(Spool(tmp_path), RUN)
    assert [(heard.worker, heard.message) for heard in found] == [(7, Report(1, b"one"))]

"""How the next driver takes over the workers that an earlier one left on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from headrace.backends.local import takeover
from headrace.backends.local.backend import LocalBackend
from headrace.backends.processes.namespace import works
from headrace.backends.processes.orphans import DOOR, living_zygotes, note_mark
from headrace.backends.processes.spawn import Spawned
from headrace.run.events import Checkpointed, Succeeded
from headrace.run.ports import Alive, Beat, Job
from headrace.run.takeover import Kept, Newer, Take, Taken, decode_answer, form
from headrace.run.wire import Ack, Do, Frames, Report, Tell, frame
from headrace.spec.artifact import Ref
from headrace.spec.failure import Failure
from headrace.spec.stage import Resources
from headrace.testing.backend_contract import assert_gone, told
from headrace.testing.backend_listener import Ear
from headrace.testing.backend_setup import RUN
from headrace.testing.worker_contract import lives
from headrace.work.adoption import successor
from tests.contract.stands import LocalStand
from tests.projects import wait_for

needs_namespaces = pytest.mark.skipif(not works(), reason="namespaces can't be had here: install bubblewrap")


class Drivers:
    """The drivers of one run, one after another; at the end, the last one ends what is left."""

    def __init__(self, stand: LocalStand) -> None:
        self.stand = stand
        self._backends: list[LocalBackend] = []

    def next(self) -> Ear:
        backend = self.stand.backend()
        self._backends.append(backend)
        return Ear(backend)

    def end(self) -> None:
        last = self.next()
        last.adopt()
        last.backend.close(now=True)
        for backend in self._backends:
            backend.abandon()
        assert_gone(self.stand)


@pytest.fixture(params=[False, pytest.param(True, marks=needs_namespaces)], ids=["open", "namespace"])
def drivers(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Drivers]:
    drivers = Drivers(LocalStand(tmp_path, namespace=request.param))
    yield drivers
    drivers.end()


def notes(stand: LocalStand) -> Path:
    return Path(stand.hello.notes())


def waiting(drivers: Drivers, deed: str = "wait", *before: Do) -> Ear:
    """Return a driver whose worker 1 runs an attempt that has begun."""
    ear = drivers.next()
    ear.begin(1)
    ear.tell(1, *before, drivers.stand.order(deed, "patient"))
    ear.wait_for(1, Checkpointed)
    return ear


def worker_of(stand: LocalStand) -> psutil.Process:
    """Return the process of the only worker."""
    ours = [each for each in stand.living() if each.cmdline()[-3:-1] == ["-m", "headrace.work"]]
    parents = {each.ppid() for each in ours}
    [worker] = [each for each in ours if each.pid not in parents and each.ppid() != os.getpid()]
    return worker


def stop(process: psutil.Process) -> None:
    """Stop a process, and wait until it has stopped: one that waits for a busy processor stops only afterwards."""
    process.suspend()
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED)


def test_16_workers_are_heard_within_a_second_and_go_on(drivers: Drivers) -> None:
    numbers = range(1, 17)
    ear = drivers.next()
    ear.begin(*numbers)
    for worker in numbers:
        ear.tell(worker, drivers.stand.order("later", f"t{worker}"))
    for worker in numbers:
        ear.wait_for(worker, Checkpointed)
    ear.backend.abandon()
    after = drivers.next()
    begun = time.monotonic()
    alive = after.adopt()
    assert time.monotonic() - begun < 1.0
    assert {each.job.worker for each in alive} == {*numbers}
    for worker in numbers:
        [event] = after.wait_for(worker, Succeeded)
        assert (event.task, event.attempt) == (f"t{worker}", 1)


def test_an_attempt_may_change_drivers_again_and_again(drivers: Drivers) -> None:
    ear = waiting(drivers, "hear", drivers.stand.order("one", "before")) if False else drivers.next()
    ear.begin(1)
    ear.tell(1, drivers.stand.order("one", "before"), drivers.stand.order("hear", "patient"))
    ear.wait_for(1, Succeeded)
    for words in (("prune",), ("checkpoint", "prune"), ()):
        ear.until(lambda: ear.beats(1), "it should run")  # noqa: B023  called at once
        ear.tell(1, *[Tell("patient", 1, word) for word in words])  # type: ignore[arg-type]
        ear.backend.abandon()
        ear = drivers.next()
        [alive] = ear.adopt()
        assert (alive.attempts, alive.done) == ((("patient", 1),), 1)
        assert told(ear, 1) == [(1, "before")], "no driver has acknowledged it"
    ear.tell(1, Ack(1), Tell("patient", 1, "stop"))
    [event] = [event for event in ear.wait_for(1, Succeeded, 2) if event.task == "patient"]
    assert drivers.stand.value(event.out) == ["prune", "checkpoint", "prune", "stop"]
    assert told(ear, 1) == [(1, "before"), (2, "patient")]


def test_what_an_idle_worker_reported_to_nobody_is_heard_once(drivers: Drivers) -> None:
    ear = waiting(drivers, "later")
    ear.backend.abandon()
    wait_for(lambda: list(drivers.stand.store.spool.spills(RUN)) and spilled_both(drivers.stand))
    after = drivers.next()
    [alive] = after.adopt()
    assert (alive.attempts, alive.done) == ((), 1)
    assert told(after, 1) == [(1, "patient"), (2, "patient")]
    after.tell(1, Ack(2), drivers.stand.order("one", "next"))
    after.wait_for(1, Succeeded, 2)
    assert told(after, 1)[2:] == [(3, "next")]


def spilled_both(stand: LocalStand) -> bool:
    return any(b"succeeded" in data for _, data in stand.store.spool.spills(RUN))


def test_orders_that_wait_behind_the_present_one_are_not_carried_out_for_the_next_driver(drivers: Drivers) -> None:
    stand = drivers.stand
    ear = drivers.next()
    ear.begin(1)
    ear.tell(1, stand.order("later", "patient"), stand.order("one", "behind"))
    ear.wait_for(1, Checkpointed)
    ear.backend.abandon()
    after = drivers.next()
    [alive] = after.adopt()
    assert alive.attempts == (("patient", 1),)
    after.wait_for(1, Succeeded)
    after.tell(1, stand.order("one", "next"))
    after.wait_for(1, Succeeded, 2)
    assert [event.task for event in after.events(1, Succeeded)] == ["patient", "next"]


def test_a_driver_that_was_only_stopped_neither_orders_nor_ends_nor_acknowledges_any_more(drivers: Drivers) -> None:
    stand = drivers.stand
    ear = waiting(drivers, "later", stand.order("one", "first"))
    after = drivers.next()
    [alive] = after.adopt()
    assert (alive.attempts, alive.done) == ((("patient", 1),), 1)
    ear.tell(1, Ack(9), stand.order("one", "late"))
    ear.backend.close([1], now=True)
    for _ in range(3):
        ear.listen()
    assert not [each for each in ear.notices if not isinstance(each, Beat) and each.worker != 1]
    after.wait_for(1, Succeeded, 2)
    assert told(after, 1) == [(1, "first"), (2, "patient"), (3, "patient")]
    assert not ear.adopt(), "the workers have a newer driver"
    ear.backend.abandon()
    third = drivers.next()
    third.adopt()
    assert told(third, 1) == [(1, "first"), (2, "patient"), (3, "patient")], "none was acknowledged"
    third.tell(1, stand.order("one", "next"))
    assert third.wait_for(1, Succeeded, 3)[-1].task == "next"


def test_a_driver_whose_turn_is_over_ends_no_worker_of_the_newer_one(drivers: Drivers) -> None:
    ear = waiting(drivers)
    late = drivers.next()  # it has taken the lease, and is stopped before it adopts
    newest = drivers.next()
    ear.backend.abandon()
    assert newest.adopt()
    assert not late.adopt()
    late.backend.abandon()
    newest.listen()
    assert worker_of(drivers.stand).is_running()
    newest.backend.close([1], now=True)
    assert newest.wait_for_death(1).kind == "cancelled"


def test_a_worker_that_is_stopped_is_ended_and_what_it_had_reported_is_heard(drivers: Drivers) -> None:
    ear = waiting(drivers, "wait", drivers.stand.order("one", "first"))
    worker = worker_of(drivers.stand)
    stop(worker)
    ear.backend.abandon()
    begun = time.monotonic()
    after = drivers.next()
    assert after.adopt() == []
    assert time.monotonic() - begun < 8
    assert told(after, 1) == [(1, "first"), (2, "patient")]
    wait_for(lambda: not worker.is_running())


def test_a_worker_that_is_stopped_for_a_moment_only_is_kept(drivers: Drivers) -> None:
    ear = waiting(drivers)
    worker = worker_of(drivers.stand)
    stop(worker)
    ear.backend.abandon()
    timer = threading.Timer(0.3, worker.resume)
    timer.start()
    assert [each.attempts for each in drivers.next().adopt()] == [(("patient", 1),)]
    timer.join()


def test_where_the_process_that_begins_workers_does_not_answer_all_is_ended(
    drivers: Drivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "ANSWER_S", 2.0)
    ear = waiting(drivers)
    zygote = worker_of(drivers.stand).parent()
    assert zygote is not None
    stop(zygote)
    ear.backend.abandon()
    after = drivers.next()
    begun = time.monotonic()
    assert after.adopt() == []
    assert time.monotonic() - begun < 12
    assert_gone(drivers.stand)


def test_a_worker_whose_parent_was_killed_is_ended(tmp_path: Path) -> None:
    drivers = Drivers(LocalStand(tmp_path))
    ear = waiting(drivers)
    worker = worker_of(drivers.stand)
    ear.backend.abandon()
    os.kill(worker.ppid(), signal.SIGKILL)
    after = drivers.next()
    assert after.adopt() == []
    assert_gone(drivers.stand)
    drivers.end()


def test_what_an_adopted_attempt_began_ends_with_its_worker(drivers: Drivers) -> None:
    stand = drivers.stand
    ear = drivers.next()
    ear.begin(1)
    ear.tell(1, stand.order("breed", "breeder"), stand.order("wait", "patient"))
    ear.wait_for(1, Checkpointed)
    [event] = ear.events(1, Succeeded)
    began = stand.value(event.out)
    assert isinstance(began, list)
    ear.backend.abandon()
    after = drivers.next()
    assert after.adopt()
    assert all(map(lives, began))
    after.backend.close([1], now=True)
    after.wait_for_death(1)
    after.until(lambda: not any(map(lives, began)), "the stage's processes should have ended")


def test_a_worker_that_nobody_takes_over_leaves_by_itself(drivers: Drivers) -> None:
    waiting(drivers, "later").backend.abandon()
    begun = time.monotonic()
    assert_gone(drivers.stand)
    assert time.monotonic() - begun < successor.PATIENCE_S + 5


def test_an_adopted_worker_keeps_its_accelerator_and_the_next_worker_gets_another(
    drivers: Drivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setenv("HEADRACE_CACHE", str(drivers.stand.local / "cache"))
    need, seen = Resources(gpu="1"), list[str]()
    for worker in (1, 2):
        ear = drivers.next()
        assert [each.job.worker for each in ear.adopt()] == [*range(1, worker)]
        ear.begin(worker, needs=need)
        ear.tell(worker, drivers.stand.order("surroundings", f"t{worker}"), drivers.stand.order("wait", f"w{worker}"))
        [event] = ear.wait_for(worker, Succeeded)
        ear.wait_for(worker, Checkpointed)
        surroundings = drivers.stand.value(event.out)
        assert isinstance(surroundings, dict)
        seen.append(surroundings["CUDA_VISIBLE_DEVICES"])
        ear.backend.abandon()
    assert seen == ["3", "5"]


def test_a_low_limit_on_open_files_costs_only_takeovers(tmp_path: Path) -> None:
    stand = LocalStand(tmp_path)
    stand.prefix = [shutil.which("prlimit") or "", "--nofile=90:90", "--"]
    drivers, numbers = Drivers(stand), range(1, 41)
    ear = drivers.next()
    ear.begin(*numbers)
    for worker in numbers:
        ear.tell(worker, stand.order("wait", f"t{worker}"))
    for worker in numbers:
        ear.wait_for(worker, Checkpointed)
    ear.backend.abandon()
    assert 0 < len(drivers.next().adopt()) < len(numbers)
    drivers.end()


def test_the_form_of_messages_covers_the_structs_in_their_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """A zygote of another release, which has other such fields, must not take a message for one of its own."""
    seen = {form()}
    for kind in (Ack, Resources, Job, Ref, Failure):
        with monkeypatch.context() as other:
            other.setitem(kind.__annotations__, "more", "int")
            seen.add(form())
    assert len(seen) == 6


# -- the socket --------------------------------------------------------------------------------------------------------


def door(stand: LocalStand) -> Path:
    [found] = notes(stand).glob(f"{DOOR}*")
    return found


def test_without_the_socket_all_is_ended(drivers: Drivers) -> None:
    ear = waiting(drivers)
    door(drivers.stand).unlink()
    ear.backend.abandon()
    assert drivers.next().adopt() == []
    assert_gone(drivers.stand)


@pytest.mark.parametrize(
    "says",
    [None, b"", b"\xff" * 100, frame(Taken(1)), frame(Taken(1))[:3]],
    ids=["nothing", "end", "noise", "no files", "half"],
)
def test_a_foreign_process_that_listens_in_its_place_is_given_up(
    tmp_path: Path, says: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "ANSWER_S", 1.0)
    monkeypatch.chdir(tmp_path)
    drivers = Drivers(LocalStand(tmp_path))
    ear = waiting(drivers)
    place = door(drivers.stand)
    place.unlink()
    ear.backend.abandon()
    with ExitStack() as exits:
        other = exits.enter_context(socket.socket(socket.AF_UNIX))
        other.bind(os.path.relpath(place))
        other.listen()

        def answer() -> None:
            connection, _ = other.accept()
            if says is None:
                exits.enter_context(connection)
                return
            with connection:
                connection.sendall(says)

        thread = threading.Thread(target=answer)
        thread.start()
        assert drivers.next().adopt() == []
        thread.join()
    assert_gone(drivers.stand)
    drivers.end()


@contextmanager
def pretending(
    folder: Path, says: Mapping[str, Callable[[socket.socket], None]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Have processes that pass for zygotes, in this order. Each says something to the driver that connects to it."""
    monkeypatch.setattr(takeover, "ANSWER_S", 1.0)
    monkeypatch.setattr(takeover, "living_zygotes", lambda folder: sorted(living_zygotes(folder)))
    with ExitStack() as exits:
        for mark, say in says.items():
            other = exits.enter_context(subprocess.Popen(["sleep", "3600"]))
            exits.callback(other.kill)
            note_mark(folder, Spawned(other.pid, exits.enter_context(socket.socket()), -1, mark))
            place = takeover.listen(folder, mark)
            assert place is not None
            exits.enter_context(place)

            def answer(place: socket.socket = place, say: Callable[[socket.socket], None] = say) -> None:
                connection, _ = place.accept()
                with connection, suppress(OSError):
                    connection.settimeout(0.5)
                    connection.recv(1000)
                    say(connection)

            thread = threading.Thread(target=answer)
            thread.start()
            exits.callback(thread.join)
        yield


def test_a_zygote_that_does_not_answer_delays_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(worker=1, resources=Resources())
    kept = Kept(job, None, 0, (Report(1, b"x" * 10_000_000),), lives=False)  # more than fits into a socket

    def say(connection: socket.socket) -> None:
        connection.sendall(frame(kept))
        socket.send_fds(connection, [frame(Taken(7))], [0])

    with pretending(tmp_path, {"a": lambda _: time.sleep(2.0), "b": say}, monkeypatch):
        [heir], others = takeover.take_over(tmp_path, 2)
        assert (heir.pid, heir.workers, others) == (7, ((kept, None),), [])
        heir.spawned.discard()


def test_nothing_that_an_unwanted_answer_brought_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(Job(worker=1, resources=Resources()), None, 0, ())

    def say(connection: socket.socket) -> None:
        with socket.socket() as line:
            socket.send_fds(connection, [frame(kept)], [line.fileno(), line.fileno()])
        connection.sendall(frame(Newer(7)))

    with pretending(tmp_path, {"a": say}, monkeypatch):
        before = len(os.listdir("/proc/self/fd"))
        assert takeover.take_over(tmp_path, 2) == ([], [(7, "a")])
        wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_an_answer_of_which_a_file_was_lost_is_not_used(tmp_path: Path) -> None:
    ours, zygote = socket.socketpair()
    kept = Kept(Job(worker=1, resources=Resources()), None, 0, ())
    with zygote, socket.socket() as line:
        files = [line.fileno()] * (takeover._MOST_FILES + 1)  # more than are taken: as if this process had no more left
        socket.send_fds(zygote, [frame(kept) + frame(Taken(7))], files)
        answer = takeover._Answer("a", os.getpid(), ours)
        answer.read()
    assert answer.is_over
    assert answer.end is None
    assert answer.heir(tmp_path) is None
    assert ours.fileno() == -1


@pytest.mark.parametrize(
    "says",
    [b"", b"\xff" * 100, b"\x00" * 3, frame(Ack(1)), frame(Take(99, "another release"))],
    ids=["nothing", "noise", "half", "another message", "another release"],
)
def test_a_foreign_process_that_connects_gets_nothing(
    tmp_path: Path, says: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drivers = Drivers(LocalStand(tmp_path))
    ear = waiting(drivers)
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(os.path.relpath(door(drivers.stand)))
        other.sendall(says)
        other.settimeout(10)
        with suppress(ConnectionResetError):
            assert other.recv(100) == b""
    beats = len(ear.beats(1))
    ear.until(lambda: len(ear.beats(1)) > beats, "its driver should go on")
    drivers.end()


def test_only_this_user_can_connect_and_only_a_higher_epoch_is_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drivers = Drivers(LocalStand(tmp_path))
    waiting(drivers)
    place = door(drivers.stand)
    assert place.stat().st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(os.path.relpath(place))
        other.sendall(frame(Take(1, form())))
        [body] = Frames().feed(other.recv(1000))
        assert isinstance(decode_answer(body), Newer)
    drivers.end()


def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    drivers = Drivers(LocalStand(deep))
    waiting(drivers).backend.abandon()
    assert [each.attempts for each in drivers.next().adopt() if isinstance(each, Alive)] == [(("patient", 1),)]
    drivers.end()

"""A worker's line to its driver, while an attempt runs."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

import pytest

from headrace.errors import StoreError
from headrace.run.events import Logged
from headrace.run.wire import Frames, Quit, Report, Tell, decode_up, frame
from headrace.work.channel import Channel
from headrace.work.stop import Stop, StopAttempt


@pytest.fixture
def stop() -> Iterator[Stop]:
    before = signal.getsignal(signal.SIGTERM)
    found = Stop()
    found.under_way = True  # so that the signal doesn't end this process
    yield found
    signal.signal(signal.SIGTERM, before)


def test_a_word_to_an_attempt_that_is_yet_to_begin_is_not_lost(stop: Stop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(theirs, lambda _: None, stop)
        ours.sendall(frame(Tell("later", 1, "stop")) + frame(Tell("fit", 1, "checkpoint")))
        assert channel.word("fit", 1) == "checkpoint"
        assert channel.word("fit", 1) is None
        assert channel.word("later", 1) == "stop"


def test_messages_that_come_while_an_attempt_asks_for_a_word_are_taken_in_beside(stop: Stop) -> None:
    ours, theirs = socket.socketpair()
    before = sys.getswitchinterval()

    def say() -> None:
        for _ in range(1000):
            ours.sendall(frame(Quit()))
            channel.look()

    with ours, theirs:
        channel = Channel(theirs, lambda _: None, stop)
        beside = threading.Thread(target=say)
        sys.setswitchinterval(1e-6)
        try:
            beside.start()
            while beside.is_alive():
                assert channel.word("fit", 1) is None
        finally:
            sys.setswitchinterval(before)
            beside.join()


def test_without_a_driver_each_report_is_written_at_once_and_only_once(stop: Stop) -> None:
    ours, theirs = socket.socketpair()
    written: list[bytes] = []
    with theirs:
        channel = Channel(theirs, written.append, stop)
        channel.report(Logged("fit", 1, 1.0))
        ours.close()
        channel.report(Logged("fit", 1, 2.0))
        assert written, "a report that waits until the end is lost if this process is killed"
        channel.report(Logged("fit", 1, 3.0))
        channel.spill()
    reports = [decode_up(body) for body in Frames().feed(b"".join(written))]
    assert [report.seq for report in reports if isinstance(report, Report)] == [1, 2, 3]


def test_reports_that_can_not_be_written_are_kept_for_the_next_try(stop: Stop) -> None:
    ours, theirs = socket.socketpair()
    full = True
    written: list[bytes] = []

    def write(data: bytes) -> None:
        if full:
            raise StoreError("the disk is full")
        written.append(data)

    with theirs:
        channel = Channel(theirs, write, stop)
        ours.close()
        channel.report(Logged("fit", 1, 1.0))
        full = False
        channel.report(Logged("fit", 1, 2.0))
    reports = [decode_up(body) for body in Frames().feed(b"".join(written))]
    assert [report.seq for report in reports if isinstance(report, Report)] == [1, 2]


def test_our_code_is_shielded_from_the_signal_whatever_other_threads_do(stop: Stop) -> None:
    def report() -> None:
        with stop.shield:
            pass

    with stop.shield:
        beside = threading.Thread(target=report)
        beside.start()
        beside.join()
        assert stop.shield.up
    assert not stop.shield.up


def test_an_attempt_that_is_stopped_before_it_begins_leaves_our_own_code_alone(stop: Stop) -> None:
    stop.told = True
    with pytest.raises(StopAttempt), stop:
        pass
    signal.raise_signal(signal.SIGTERM)  # our code is at work by now: it is noted


def test_a_process_without_an_attempt_that_is_told_to_stop_in_a_report_ends_after_it(
    stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tracer reports that it waits for a value. A plan ends the tracer then, while it may still be reporting."""

    def leave() -> NoReturn:
        raise EOFError

    stop.under_way = False
    monkeypatch.setattr(stop, "leave", leave)
    with pytest.raises(EOFError), stop.shield:
        signal.raise_signal(signal.SIGTERM)

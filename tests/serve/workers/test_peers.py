"""Each web worker finds out what all of them have counted, or says whose numbers are missing."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from headrace.serve.metrics import CONNECTIONS, LATENCY, REQUESTS, UP, Metrics, Reading, text
from headrace.serve.workers.peers import WITHIN_S, Peers

SERIES = ("lines", "production", "lines:1")


def counted(number: int, series: int = 1) -> Metrics:
    """Return what a worker has counted: its own number of requests, in so many series."""
    metrics = Metrics()
    for status in range(series):
        metrics.add(REQUESTS, *SERIES, f"{200 + status}", "", by=number)
    metrics.took(LATENCY, 0.01, *SERIES)
    metrics.gauge(CONNECTIONS, lambda: {(): number})
    return metrics


@contextmanager
def lines(count: int) -> Iterator[Peers]:
    with closing(Peers(count)) as peers:
        yield peers


def asked(peers: Peers, joining: Sequence[int], *, series: int = 1) -> Reading:
    """Return what the first of these workers finds out. All of them are in this process."""

    async def ask() -> Reading:
        joined = [peers.join(number, counted(number, series)) for number in joining]
        return await joined[0].reading()

    return asyncio.run(ask())


def test_a_worker_finds_out_what_each_has_counted() -> None:
    with lines(3) as peers:
        told = text(asked(peers, [2, 1, 3]), by_worker=True)
    for number in (1, 2, 3):
        worker = f'worker="{number}"}}'
        assert f'version="lines:1",status="200",error="",{worker} {number}\n' in told
        assert (
            f'headrace_request_seconds_count{{endpoint="lines",variant="production",version="lines:1",{worker} 1\n'
            in told
        )
        assert f"headrace_connections{{{worker} {number}\n" in told
        assert f"headrace_worker_up{{{worker} 1\n" in told


def test_numbers_of_any_length_come_whole() -> None:
    with lines(2) as peers:
        found = asked(peers, [1, 2], series=20_000)
    assert len(found.numbers[REQUESTS.name]) == 40_000


def test_the_numbers_of_a_worker_that_does_not_answer_are_missing_and_it_is_asked_in_vain_only_so_long() -> None:
    with lines(3) as peers:
        began = time.monotonic()
        found = asked(peers, [1, 3])
        assert time.monotonic() - began < WITHIN_S + 1
        assert found.numbers[UP.name] == {("1",): 1, ("2",): 0, ("3",): 1}
        assert {labels[-1] for labels in found.numbers[REQUESTS.name]} == {"1", "3"}


def test_a_worker_that_is_asked_again_and_again_while_it_is_silent_answers_again_later() -> None:
    async def ask(peers: Peers) -> None:
        peer = peers.join(1, counted(1))
        before = len(os.listdir("/proc/self/fd"))
        found = await asyncio.gather(*(peer.reading() for _ in range(500)))
        assert {each.numbers[UP.name][("2",)] for each in found} == {0}
        peers.join(2, counted(2))
        async with asyncio.timeout(10):
            while not (await peer.reading()).numbers[UP.name][("2",)]:
                pass
        assert len(os.listdir("/proc/self/fd")) == before

    with lines(2) as peers:
        asyncio.run(ask(peers))

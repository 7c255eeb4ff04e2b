"""`headrace serve` under ten times the requests that its model can answer: `make proofs` runs it for five minutes."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from headrace.backends.processes.namespace import works
from headrace.serve.queue import MOST_WAITING
from tests.cli.test_serve import Served, deployed, serving
from tests.projects import Project, lent

pytestmark = pytest.mark.skipif(not works(private=True), reason="bubblewrap can't make a namespace here: install it")
pytest.importorskip("uvicorn", reason="uvicorn, which `headrace serve` needs, is not installed")
pytest.importorskip("sklearn", reason="scikit-learn, whose models are served here, is not installed")

PIPELINES = """
import time

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LinearRegression

import headrace as hr
from headrace.stages import deploy, train


@hr.stage(kind="ingest")
def line() -> pa.Table:
    return pa.table({"x": np.arange(50.0), "y": np.arange(50.0)})


@hr.stage(kind="ingest")
def sent() -> pa.Table:
    return pa.table({"x": np.arange(50.0)})


def slowly(model: LinearRegression, rows: pa.Table) -> pa.Table:
    time.sleep(0.005 * len(rows))
    return pa.table({"predicted": rows["x"]})


@hr.pipeline
def release() -> None:
    model = train.sklearn(LinearRegression(), line(), target="y")
    deploy.endpoint(model, "slow", predict=slowly, signature=sent())
"""
RATE, TIMES = 200.0, 10
"""How many rows a model that takes 5 ms for each answers in a second, and how many times as many come."""
HALF = 0.5
CONNECTIONS = 3 * MOST_WAITING
SETTINGS = """
[project]
pipelines = ["pipelines.py"]

[endpoint.slow]
wait_s = 0.01
"""


class Heard(NamedTuple):
    """The statuses of the answers, how many 429 had no `Retry-After`, and how long those with 200 took, in seconds."""

    statuses: Counter[int]
    silent: int
    took: list[float]

    def at_most_s(self, share: float) -> float:
        """Return within how many seconds this share of the answers came."""
        return sorted(self.took)[int(len(self.took) * share)]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project", SETTINGS) as project:
        project.write("pipelines.py", PIPELINES)
        deployed(project, "release")
        yield project


@pytest.mark.parametrize(
    "seconds", [2.0, pytest.param(300.0, marks=[pytest.mark.heavy, pytest.mark.timeout(900)])], ids=["small", "whole"]
)
def test_what_a_model_has_no_time_for_is_refused_at_once_and_neither_times_nor_memory_grow(
    project: Project, seconds: float
) -> None:
    """Each row takes 5 ms, also when rows are answered together, so nine of ten must be refused. Nine of ten
    of the others come within two times the p99 at half of what the model can answer; of two seconds, that can't be
    said. The last tenth also waits for whatever stalls the machine or its disk now and then."""
    with serving(project) as served:
        calm = heard(served, "slow", HALF * RATE, min(seconds, 60.0))
        first = heard(served, "slow", TIMES * RATE, 2.0)
        before = rss_mib(served)
        found = heard(served, "slow", TIMES * RATE, seconds)
        p90, p99, calm_p99 = (
            1_000 * each for each in (found.at_most_s(0.9), found.at_most_s(0.99), calm.at_most_s(0.99))
        )
        print(f"{found.statuses}; p90 {p90:.1f} ms, p99 {p99:.1f} ms; p99 at half of the rate {calm_p99:.1f} ms")
        after = rss_mib(served)
        print(f"memory of the processes {before} MiB, then {after} MiB")
        for each in (first, found):
            assert each.statuses.keys() == {200, 429}
            assert each.silent == 0
        if seconds > 60:
            assert found.statuses[200] > 0.5 * RATE * seconds
            assert p90 < 2 * calm_p99
        assert sum(after) < 1.1 * sum(before) + 16, (before, after)
        assert served.post({"records": [{"x": 1.0}]}, "slow")[0] == 200


def rss_mib(served: Served) -> list[int]:
    """Return the memory of each process of a server, in MiB."""
    process = psutil.Process(served.process.pid)
    return [each.memory_info().rss >> 20 for each in (process, *process.children(recursive=True))]


def heard(served: Served, endpoint: str, rate: float, seconds: float) -> Heard:
    """Ask an endpoint so many times a second on average, at random times that don't depend on the answers (a Poisson
    process); return what came back."""
    return asyncio.run(_ask(served.port, endpoint, rate, seconds))


async def _ask(port: int, endpoint: str, rate: float, seconds: float) -> Heard:
    body = b'{"records": [{"x": 1.5}]}'
    head = f"POST /v1/endpoints/{endpoint}/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    found = Heard(Counter(), 0, [])
    free, waiting, silent = deque[_Line](), deque[float](), 0
    all_came = asyncio.Event()

    def answered(line: _Line, due: float, head: bytes) -> None:
        nonlocal silent
        status = int(head[9:12])
        found.statuses[status] += 1
        silent += status == 429 and b"\r\nretry-after: " not in head.lower()
        if status == 200:
            found.took.append(time.perf_counter() - due)
        line.ask(request, waiting.popleft()) if waiting else free.append(line)
        if found.statuses.total() == count:
            all_came.set()

    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        _, line = await loop.create_connection(lambda: _Line(answered), "127.0.0.1", port)
        free.append(line)
    due, count, chance = time.perf_counter(), round(rate * seconds), random.Random(1)
    for _ in range(count):
        due += chance.expovariate(rate)
        if (pause_s := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause_s)
        free.popleft().ask(request, due) if free else waiting.append(due)
    await all_came.wait()
    for line in free:
        line.close()
    return found._replace(silent=silent)


class _Line(asyncio.Protocol):
    """A connection that asks one request at a time. `answered` is called with the line, the time when the request was
    due, and the head of the answer."""

    def __init__(self, answered: Callable[[_Line, float, bytes], None]) -> None:
        self._answered = answered
        self._transport: asyncio.Transport | None = None
        self._came = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes, due: float) -> None:
        assert self._transport is not None
        self._came, self._due = b"", due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, end, body = self._came.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
        if end and length is not None and len(body) >= int(length[1]):
            self._answered(self, self._due, head)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

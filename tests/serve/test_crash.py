"""When a model's process ends, only the request that ends it fails, and the server's log names what was asked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from headrace.models.hosting import Answer, Ask, decode_order
from headrace.models.streams import stream_of, table_in
from headrace.run.wire import Frames, frame
from headrace.serve import live
from headrace.serve.app import Asked, Predicted
from headrace.serve.asking import Model, ModelGone
from headrace.serve.live import Endpoints
from headrace.serve.predictions.feedback import Feedback
from headrace.serve.predictions.keeping import Keeping
from headrace.serve.predictions.prediction import Answered, PredictionId
from headrace.serve.predictions.redaction import Hasher, Redaction
from headrace.serve.predictions.suspects import MOST_NAMED, MOST_SHOWN, Suspect, named
from headrace.serve.records import Records, Strictness
from headrace.serve.running import Running
from headrace.spec.endpoint import sole
from headrace.spec.signature import Column

POISON, SLOW = 13.0, 99.0
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
COLUMNS = [
    Column(name="x", type="double"),
    Column(name="name", type="string"),
    Column(name="income", type="double"),
    Column(name="day", type="date32[day]"),
]
REDACTION = Redaction(frozenset({"income"}), frozenset({"name"}), Hasher("a secret for tests"))


class Log:
    """Keeps answers in a list, and takes no labels."""

    def __init__(self) -> None:
        self.kept: list[Answered] = []

    async def keep(self, answered: Answered) -> PredictionId:
        self.kept.append(answered)
        return PredictionId("0" * 12, 1, 1_000 * len(self.kept), answered.salt)

    async def keep_feedback(self, feedback: Feedback) -> None:
        raise NotImplementedError


@dataclass
class Bed:
    """An endpoint `rents` whose model doubles `x`. Its process ends when it is asked about `POISON`, and gives no
    answer about `SLOW`. If `is_deadly`, it ends when it is asked about anything but 0. While `may_answer` isn't set, it
    waits before it answers."""

    redaction: Redaction = field(default_factory=Redaction)
    is_logged: bool = True
    answer_s: float = 20.0
    is_deadly: bool = False

    def __post_init__(self) -> None:
        self.log = Log()
        self.said: list[str] = []
        self.asked: list[list[float]] = []
        self.starts = 0
        self.may_answer, self.may_start = asyncio.Event(), asyncio.Event()
        self.may_answer.set()
        self.may_start.set()
        keeping = Keeping(self.log if self.is_logged else None, redaction=self.redaction)
        self.endpoints = Endpoints(self.start, lambda _: keeping, self.said.append, answer_s=self.answer_s)
        self.processes: set[asyncio.Task[None]] = set()

    async def start(self, endpoint: str, version: int) -> Running:
        await self.may_start.wait()
        self.starts += 1
        ours, theirs = socket.socketpair()
        try:
            _, model = await asyncio.get_running_loop().create_connection(Model, sock=ours)
        except asyncio.CancelledError:  # the test has ended
            ours.close()
            theirs.close()
            raise
        process = asyncio.ensure_future(self.answer(theirs))
        self.processes.add(process)
        process.add_done_callback(self.processes.discard)
        return Running(f"{endpoint}:{version}", model, Records(COLUMNS, Strictness(), most=10_000), self.why)

    async def why(self) -> str:
        return "it crashed"

    async def answer(self, line: socket.socket) -> None:
        """Be the model's process."""
        line.setblocking(False)
        frames, loop = Frames(), asyncio.get_running_loop()
        with line:
            while data := await loop.sock_recv(line, 1 << 20):
                for body in frames.feed(data):
                    order = decode_order(body)
                    assert isinstance(order, Ask)
                    x = list((order.columns or {}).get("x") or table_in(order.arrow or b"").column("x").to_pylist())
                    self.asked.append(x)
                    await self.may_answer.wait()
                    if POISON in x or (self.is_deadly and any(x)):
                        return
                    if SLOW not in x:
                        y = [2 * each for each in x]
                        is_stream = order.arrow is not None
                        answers = None if is_stream else {"y": y}
                        arrow = stream_of(pa.table({"y": y})) if is_stream else None
                        await loop.sock_sendall(line, frame(Answer(order.number, answers, arrow, 0.001)))

    def ask(self, *x: float) -> asyncio.Task[Predicted]:
        rows = [{"x": each, "name": "Anna", "income": 4711.0, "day": "2026-11-30"} for each in x]
        return asyncio.create_task(self.endpoint.predict(Asked(msgspec.json.encode({"records": rows}), TRACE, 0.25)))

    @property
    def endpoint(self) -> Any:
        return self.endpoints.get("rents")

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110  other tasks make it true
                await asyncio.sleep(0.001)

    async def all_waiting(self, first: float, *others: float) -> list[asyncio.Task[Predicted]]:
        """Ask about numbers so that the first one is sent at once, and the others wait for its answer."""
        self.may_answer.clear()
        tasks = [self.ask(first)]
        await self.until(lambda: [first] in self.asked)
        tasks += map(self.ask, others)
        await asyncio.sleep(0.01)
        return tasks

    def named(self) -> list[str]:
        """Return what was said about the requests that a process was answering."""
        told = "version 1 of endpoint `rents` was answering this request"
        return [each.removeprefix(told) for each in self.said if each.startswith(told)]


def run(test: Callable[[Bed], Awaitable[None]], **options: Any) -> None:
    async def whole() -> None:
        bed = Bed(**options)
        bed.endpoints.follow({"rents": sole("rents", 1)})
        await bed.until(bed.endpoints.is_ready)
        await asyncio.wait_for(test(bed), 30)
        await bed.endpoints.end()
        await asyncio.gather(*bed.processes)

    asyncio.run(whole())


async def settled(tasks: list[asyncio.Task[Predicted]]) -> list[Any]:
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [[row["y"] for row in each.predictions] if isinstance(each, Predicted) else type(each) for each in found]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let versions start again soon."""
    monkeypatch.setattr(live, "FIRST_PAUSE_S", 0.001)


def test_of_requests_that_were_sent_together_only_the_one_that_ends_the_process_fails() -> None:
    async def test(bed: Bed) -> None:
        tasks = await bed.all_waiting(0.0, 1.0, POISON, 2.0)
        bed.may_answer.set()
        assert await settled(tasks) == [[0.0], [2.0], ModelGone, [4.0]]
        assert bed.asked == [[0.0], [1.0, POISON, 2.0], [1.0], [POISON], [2.0]]
        await bed.until(lambda: bed.starts == 3)
        kept = [msgspec.json.decode(each.answers or b"") for each in bed.log.kept]
        assert kept == [[{"y": 0.0}], [{"y": 2.0}], [{"y": 4.0}]], "each answer is logged once"
        row = '{{"x":{},"name":"Anna","income":4711.0,"day":"2026-11-30"}}'
        about = f"1970-01-01T00:00:00.250Z, 1 row, trace {TRACE}: {row}"
        assert bed.named() == [
            *(f" together with 2 others when its process ended: {about.format(x)}" for x in (1.0, POISON, 2.0)),
            f" when its process ended: {about.format(POISON)}",
        ]

    run(test)


def test_requests_that_waited_when_a_process_ended_are_answered_by_the_next_one() -> None:
    async def test(bed: Bed) -> None:
        tasks = await bed.all_waiting(POISON, 1.0, 2.0)
        bed.may_answer.set()
        assert await settled(tasks) == [ModelGone, [2.0], [4.0]]
        assert bed.asked == [[POISON], [1.0], [2.0]], "how long the next process takes isn't known yet"
        assert len(bed.named()) == 1

    run(test)


def test_a_request_whose_client_has_left_is_named_too() -> None:
    async def test(bed: Bed) -> None:
        (task,) = await bed.all_waiting(POISON)
        task.cancel()
        await asyncio.sleep(0)
        bed.may_answer.set()
        await bed.until(bed.named)
        assert '"x":13.0' in bed.named()[0]

    run(test)


def test_a_model_that_dies_of_each_request_ends_with_each_at_most_twice() -> None:
    async def test(bed: Bed) -> None:
        tasks = await bed.all_waiting(0.0, 1.0, 2.0, 3.0)
        bed.may_answer.set()
        assert await settled(tasks) == [[0.0], *[ModelGone] * 3]
        assert bed.asked == [[0.0], [1.0, 2.0, 3.0], [1.0], [2.0], [3.0]]
        await bed.until(lambda: bed.starts == 5)
        await asyncio.sleep(0.05)
        assert bed.starts == 5
        assert len(bed.log.kept) == 1

    run(test, is_deadly=True)


def test_a_request_does_not_wait_for_the_next_process_longer_than_for_an_answer() -> None:
    async def test(bed: Bed) -> None:
        tasks = await bed.all_waiting(0.0, 1.0, POISON)
        bed.may_start.clear()
        bed.may_answer.set()
        assert await settled(tasks) == [[0.0], ModelGone, ModelGone]
        bed.may_start.set()
        await bed.until(bed.endpoints.is_ready)
        assert await settled([bed.ask(3.0)]) == [[6.0]]
        assert bed.asked[-1] == [3.0], "nobody waits for the others any more"

    run(test, answer_s=0.5)


def test_a_request_that_is_sent_again_late_does_not_end_a_process_that_is_only_slow() -> None:
    async def test(bed: Bed) -> None:
        tasks = await bed.all_waiting(0.0, 1.0, POISON)
        bed.may_start.clear()
        bed.may_answer.set()
        await bed.until(bed.named)
        bed.may_answer.clear()
        await asyncio.sleep(0.5)
        bed.may_start.set()
        assert await settled(tasks) == [[0.0], ModelGone, ModelGone]
        assert (bed.asked[-1], bed.endpoints.is_ready()) == ([1.0], True)
        bed.may_answer.set()
        assert await settled([bed.ask(3.0)]) == [[6.0]]
        assert bed.starts == 2

    run(test, answer_s=1.0)


def test_requests_do_not_wait_for_a_version_that_is_retired() -> None:
    async def test(bed: Bed) -> None:
        tasks = await bed.all_waiting(POISON, 1.0)
        bed.may_start.clear()
        bed.may_answer.set()
        await bed.until(bed.named)
        bed.endpoints.follow({})
        async with asyncio.timeout(5):
            assert await settled(tasks) == [ModelGone, ModelGone]

    run(test)


def test_requests_that_a_process_hangs_on_are_named() -> None:
    async def test(bed: Bed) -> None:
        assert await settled([bed.ask(SLOW)]) == [ModelGone]
        await bed.until(bed.named)
        assert '"x":99.0' in bed.named()[0]

    run(test, answer_s=0.05)


def test_columns_that_may_not_be_logged_are_not_shown_in_any_form() -> None:
    hashed = Hasher("a secret for tests").hashed("Anna")

    async def test(bed: Bed) -> None:
        assert await settled([bed.ask(POISON)]) == [ModelGone]
        table = pa.table(
            {"x": [POISON], "name": ["Anna"], "income": [4711.0], "day": [date(2026, 11, 30)], "more": ["unknown"]}
        )
        await bed.until(lambda: bed.starts == 2 and bed.endpoints.is_ready())
        with pytest.raises(ModelGone):
            await bed.endpoint.predict_stream(Asked(stream_of(table), "", 0.25))
        await bed.until(lambda: len(bed.named()) == 2)
        shown = f'{{"x":13.0,"name":"{hashed}","day":"2026-11-30"}}'
        assert [each.partition("row")[2] for each in bed.named()] == [f", trace {TRACE}: {shown}", f": {shown}"]

    run(test, redaction=REDACTION)


def test_nothing_of_a_row_is_shown_if_the_log_is_off() -> None:
    async def test(bed: Bed) -> None:
        assert await settled([bed.ask(POISON)]) == [ModelGone]
        await bed.until(bed.named)
        told = f": 1970-01-01T00:00:00.250Z, 1 row, trace {TRACE}: its columns aren't shown, because the endpoint's"
        assert bed.named() == [f" when its process ended{told} log is off"]

    run(test, is_logged=False)


def suspect(given: bytes, count: int = 1, **more: Any) -> Suspect:
    return Suspect(at=0.0, trace="", count=count, form=more.get("form", "json"), given=lambda: given)


def test_long_rows_and_many_rows_and_many_requests_are_cut() -> None:
    long = suspect(msgspec.json.encode([{"x": "é" * 5_000}])).text()
    assert long.endswith("é…")
    assert len(long) < MOST_SHOWN + 100
    many = suspect(msgspec.json.encode([{"x": each} for each in range(10)]), 10).text()
    assert many == '1970-01-01T00:00:00.000Z, 10 rows: {"x":0} {"x":1} {"x":2} and 7 more'
    lines = list(named("version 1", [suspect(b"[{}]")] * (MOST_NAMED + 5)))
    assert len(lines) == MOST_NAMED + 1
    assert lines[-1] == "version 1 was also answering 5 more requests"
    *_, last = named("version 1", [suspect(b"[{}]")] * (MOST_NAMED + 1))
    assert last == "version 1 was also answering 1 more request"


def test_rows_that_can_not_be_shown_are_told() -> None:
    assert "its rows can't be shown: " in suspect(b"no stream", form="arrow").text()
    same = pa.table([["a"], ["b"]], names=["x", "x"])
    assert suspect(stream_of(same), form="arrow").text().startswith("1970-01-01T00:00:00.000Z, 1 row: ")

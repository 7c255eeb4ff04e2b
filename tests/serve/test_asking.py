"""Requests that come while a model is busy are asked together, and each gets its own answer or its own refusal."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.models.hosting import Answer, Ask, Load, Loaded, Trouble, decode_order
from headrace.models.streams import stream_of
from headrace.run.wire import Frames, frame
from headrace.serve.asking import Model, ModelGone, ModelSlow, Outcome, RowsRefused
from headrace.serve.queue import ModelBusy, Pace, Question, Queue

PATIENCE_S = 60.0
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
LOAD = Load(model=b"", preparation=None, signature=None, row=None)


class Far:
    """The other end of the line: it sees what is asked, and replies what a test wants."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.setblocking(False)
        self._frames = Frames()
        self._orders: list[Load | Ask] = []

    async def asked(self) -> Any:
        """Return the next order."""
        while not self._orders:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._line, 1 << 16), PATIENCE_S)
            if not data:
                raise EOFError
            self._orders += [decode_order(body) for body in self._frames.feed(data)]
        return self._orders.pop(0)

    async def say(self, reply: Loaded | Answer | Trouble | bytes) -> None:
        data = reply if isinstance(reply, bytes) else frame(reply)
        await asyncio.get_running_loop().sock_sendall(self._line, data)

    async def double(self, order: Ask) -> int:
        """Answer a question with twice its numbers. Return how many there were."""
        assert order.columns is not None
        twice = [2 * each for each in order.columns["x"]]
        await self.say(Answer(number=order.number, columns={"y": twice}, arrow=None, seconds=0.1))
        return len(twice)

    def end(self) -> None:
        self._line.close()


def run(test: Callable[[Model, Far], Awaitable[None]], **options: Any) -> None:
    """Run a test with both ends of a line."""

    async def both() -> None:
        ours, theirs = socket.socketpair()
        _, model = await asyncio.get_running_loop().create_connection(lambda: Model(**options), sock=ours)
        far = Far(theirs)
        try:
            await asyncio.wait_for(test(model, far), PATIENCE_S)
        finally:
            model.close()
            far.end()

    asyncio.run(both())


def ask(model: Model, *numbers: float) -> asyncio.Task[Outcome]:
    return asyncio.create_task(model.ask({"x": numbers}, len(numbers), PATIENCE_S))


def told(columns: Any) -> bytes:
    """Return an answer that may have values which a sound process doesn't send."""
    body = msgspec.msgpack.encode(["answer", 1, columns, None, 0.0])
    return len(body).to_bytes(4, "little") + body


async def settled(*tasks: asyncio.Task[Outcome]) -> list[Any]:
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [each.columns["y"] if isinstance(each, Outcome) else type(each) for each in found]


async def warm(model: Model, far: Far, took_s: float = 0.0) -> None:
    """Let the model answer one row within so many seconds, so that it is known how long it takes."""
    first = ask(model, 0)
    order = await far.asked()
    await asyncio.sleep(took_s)
    await far.double(order)
    await first


def test_an_idle_model_is_asked_at_once_and_a_busy_one_about_all_that_waits() -> None:
    async def test(model: Model, far: Far) -> None:
        first = ask(model, 1)
        order = await far.asked()
        assert order.columns == {"x": [1]}
        rest = [ask(model, 2, 3), ask(model, 4)]
        await asyncio.sleep(0)
        await far.double(order)
        order = await far.asked()
        assert order.columns == {"x": [2, 3, 4]}
        await far.double(order)
        assert await settled(first, *rest) == [[2], [4, 6], [8]]

    run(test)


def test_requests_that_come_together_are_asked_together_though_the_model_is_idle() -> None:
    async def test(model: Model, far: Far) -> None:
        await warm(model, far)
        tasks = [ask(model, 1), ask(model, 2)]
        order = await far.asked()
        assert order.columns == {"x": [1, 2]}
        await far.double(order)
        assert await settled(*tasks) == [[2], [4]]

    run(test)


def test_no_more_rows_are_asked_together_than_may_be() -> None:
    async def test(model: Model, far: Far) -> None:
        await warm(model, far)
        tasks = [ask(model, 0), *(ask(model, *range(3)) for _ in range(3)), ask(model, *range(9))]
        sizes = []
        for _ in range(3):
            order = await far.asked()
            sizes.append(len(order.columns["x"]))
            await far.double(order)
        assert sizes == [4, 6, 9]
        assert len(await settled(*tasks)) == 5

    run(test, most_rows=6)


def test_rows_that_the_model_can_not_take_fail_alone() -> None:
    async def test(model: Model, far: Far) -> None:
        tasks = [ask(model, number) for number in (0, 1, -1, 2)]
        for _ in range(5):
            order = await far.asked()
            if -1 in order.columns["x"]:
                await far.say(Trouble(number=order.number, why="it is negative", is_theirs=True))
            else:
                await far.double(order)
        assert await settled(*tasks) == [[0], [2], RowsRefused, [4]]

    run(test)


@pytest.mark.parametrize("is_busy", [False, True])
def test_rows_that_can_not_be_sent_fail_alone(is_busy: bool) -> None:
    async def test(model: Model, far: Far) -> None:
        first = ask(model, 0)
        order = await far.asked()
        if not is_busy:
            await far.double(order)
            await first
        tasks = [ask(model, 10**20), ask(model, 1)]
        await asyncio.sleep(0)
        if is_busy:
            await far.double(order)
        await far.double(await far.asked())
        assert await settled(first, *tasks) == [[0], RowsRefused, [2]]

    run(test)


def test_a_request_too_many_is_refused_at_once() -> None:
    async def test(model: Model, far: Far) -> None:
        await warm(model, far)
        tasks = [ask(model, number) for number in range(5)]
        assert await settled(tasks[4]) == [ModelBusy]
        await far.double(await far.asked())
        await far.double(await far.asked())
        assert await settled(*tasks[:4]) == [[0], [2], [4], [6]]

    run(test, most_waiting=2)


def test_what_a_client_that_has_left_wanted_is_not_asked() -> None:
    async def test(model: Model, far: Far) -> None:
        tasks = [ask(model, 0)]
        order = await far.asked()
        tasks += [ask(model, number) for number in range(1, 4)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.sleep(0)
        await far.double(order)
        order = await far.asked()
        assert order.columns == {"x": [1, 3]}
        await far.double(order)
        assert await settled(*tasks) == [asyncio.CancelledError, [2], asyncio.CancelledError, [6]]

    run(test)


@pytest.mark.parametrize(
    "reply",
    [
        b"\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\xc1",
        Answer(number=2, columns={"y": [1]}, arrow=None, seconds=0.0),
        Answer(number=1, columns={"y": [1, 2]}, arrow=None, seconds=0.0),
        Answer(number=1, columns={}, arrow=None, seconds=0.0),
        Answer(number=1, columns={"y": [1], "z": [1, 2]}, arrow=None, seconds=0.0),
        *(
            told({"y": [value]})
            for value in ([1], {"a": 1}, b"x", datetime(2026, 1, 1, tzinfo=UTC), msgspec.msgpack.Ext(5, b"x"))
        ),
        Answer(number=1, columns=None, arrow=b"", seconds=0.0),
        frame(Answer(number=1, columns={"y": ["x" * (1 << 26)]}, arrow=None, seconds=0.0))[:100],
        Loaded(seconds=0.0, gives=()),
        Trouble(number=None, why="", is_theirs=False),
        told({"y": ["x" * (1 << 24)]}),
    ],
    ids=lambda reply: str(reply)[:60],
)
def test_a_process_that_says_something_else_than_answers_is_asked_no_more(reply: Any) -> None:
    async def test(model: Model, far: Far) -> None:
        tasks = [ask(model, 1)]
        await far.asked()
        tasks.append(ask(model, 2))
        await far.say(reply)
        assert await settled(*tasks) == [ModelGone, ModelGone]
        assert await settled(ask(model, 3)) == [ModelGone]

    run(test)


def test_a_process_that_ends_leaves_nobody_waiting() -> None:
    async def test(model: Model, far: Far) -> None:
        tasks = [ask(model, 1), ask(model, 2)]
        await far.asked()
        far.end()
        assert await settled(*tasks) == [ModelGone, ModelGone]

    run(test)


def test_a_model_that_can_not_be_loaded_is_told() -> None:
    async def test(model: Model, far: Far) -> None:
        loading = asyncio.create_task(model.load(LOAD, PATIENCE_S))
        assert await far.asked() == LOAD
        await far.say(Trouble(number=None, why="it runs code", is_theirs=True))
        with pytest.raises(RowsRefused, match="it runs code"):
            await loading
        again = asyncio.create_task(model.load(LOAD, PATIENCE_S))
        await far.asked()
        await far.say(Loaded(seconds=1.0, gives=("predicted",)))
        assert (await again).gives == ("predicted",)

    run(test)


@pytest.mark.parametrize("columns", [{"y": [1]}, {"y": [1], "z": [1], "more": [1]}, {"y": [1], "more": [1]}])
def test_answers_with_other_columns_than_the_model_gives_are_no_answers(columns: dict[str, list[Any]]) -> None:
    async def test(model: Model, far: Far) -> None:
        loading = asyncio.create_task(model.load(LOAD, PATIENCE_S))
        await far.asked()
        await far.say(Loaded(seconds=1.0, gives=("y", "z")))
        await loading
        first = ask(model, 1)
        order = await far.asked()
        await far.say(Answer(number=order.number, columns={"z": [1], "y": [2]}, arrow=None, seconds=0.1))
        assert await settled(first) == [[2]]
        second = ask(model, 1)
        order = await far.asked()
        await far.say(Answer(number=order.number, columns=columns, arrow=None, seconds=0.1))
        assert await settled(second) == [ModelGone]

    run(test)


def test_a_stream_of_rows_is_asked_about_alone_and_answered_with_a_stream() -> None:
    rows, answers = stream_of(pa.table({"x": [1, 2]})), stream_of(pa.table({"y": [2, 4]}))

    async def test(model: Model, far: Far) -> None:
        first = ask(model, 0)
        order = await far.asked()
        streams = [asyncio.create_task(model.ask_stream(rows, 2, PATIENCE_S)) for _ in range(2)]
        last = ask(model, 3)
        await asyncio.sleep(0)
        await far.double(order)
        for _ in range(2):
            order = await far.asked()
            assert (order.columns, order.arrow) == (None, rows)
            await far.say(Answer(number=order.number, columns=None, arrow=answers, seconds=0.1))
        await far.double(await far.asked())
        assert await settled(first, last) == [[0], [6]]
        assert [(await each).arrow for each in streams] == [answers] * 2

    run(test)


@pytest.mark.parametrize(
    "stream",
    [
        b"no stream",
        stream_of(pa.table({"y": [1]})),
        stream_of(pa.table({"z": [1, 2]})),
        stream_of(pa.table({"y": [[1], [2]]})),
        stream_of(pa.table([[1, 2], [1, 2]], ["y", "y"])),
    ],
    ids=["no stream", "one row", "another column", "lists", "a column twice"],
)
def test_a_stream_that_is_no_answer_ends_the_process(stream: bytes) -> None:
    async def test(model: Model, far: Far) -> None:
        loading = asyncio.create_task(model.load(LOAD, PATIENCE_S))
        await far.asked()
        await far.say(Loaded(seconds=1.0, gives=("y",)))
        await loading
        asking = asyncio.create_task(model.ask_stream(b"rows", 2, PATIENCE_S))
        order = await far.asked()
        await far.say(Answer(number=order.number, columns=None, arrow=stream, seconds=0.1))
        with pytest.raises(ModelGone, match="no answer"):
            await asking

    run(test)


def test_a_model_that_hangs_is_ended_and_all_that_waits_for_it_hears_why() -> None:
    killed: list[bool] = []

    async def test(model: Model, far: Far) -> None:
        gone = asyncio.create_task(model.gone())
        first = asyncio.create_task(model.ask({"x": [1, 2]}, 2, 0.05))
        await far.asked()
        second = ask(model, 3)
        with pytest.raises(ModelGone, match=r"no answer for 2 rows within 0.05 s"):
            await first
        with pytest.raises(ModelGone, match=r"no answer for 2 rows within 0.05 s"):
            await second
        assert await gone == "it gave no answer for 2 rows within 0.05 s"
        assert not model.is_alive
        assert killed == [True]
        model.close()
        assert killed == [True]
        with pytest.raises(EOFError):
            await far.asked()

    run(test, kill=lambda: killed.append(True))


def test_a_model_that_does_not_load_in_time_is_ended() -> None:
    async def test(model: Model, far: Far) -> None:
        loading = asyncio.create_task(model.load(LOAD, 0.05))
        await far.asked()
        with pytest.raises(ModelGone, match=r"it didn't load within 0.05 s"):
            await loading
        assert not model.is_alive

    run(test)


def test_an_impatient_request_fails_alone_while_the_model_works_for_a_patient_one() -> None:
    async def test(model: Model, far: Far) -> None:
        patient = ask(model, 1)
        order = await far.asked()
        impatient = asyncio.create_task(model.ask({"x": [2]}, 1, 0.02))
        with pytest.raises(ModelSlow, match=r"within 0.02 s: it was busy with requests that came earlier"):
            await impatient
        assert model.is_alive
        await far.double(order)
        assert await settled(patient) == [[2]]
        last = ask(model, 3)
        await far.double(await far.asked())
        assert await settled(last) == [[6]]

    run(test)


def test_a_model_that_answers_in_time_is_not_ended_later() -> None:
    async def test(model: Model, far: Far) -> None:
        first = asyncio.create_task(model.ask({"x": [1]}, 1, 0.2))
        await far.double(await far.asked())
        assert await settled(first) == [[2]]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.gone(), 0.4)
        assert model.is_alive

    run(test)


def test_nothing_is_asked_together_before_it_is_known_how_long_the_model_takes() -> None:
    async def test(model: Model, far: Far) -> None:
        tasks = [ask(model, number) for number in range(3)]
        assert [await far.double(await far.asked()) for _ in range(2)] == [1, 2]
        await settled(*tasks)

    run(test)


def test_no_more_is_asked_together_than_the_model_answers_in_half_of_its_time() -> None:
    """Else the process would be ended as one that hangs, though it only has much to do."""

    async def test(model: Model, far: Far) -> None:
        await warm(model, far, took_s=0.1)
        tasks = [asyncio.create_task(model.ask({"x": [1]}, 1, within_s=0.5)) for _ in range(5)]
        sizes = [await far.double(await far.asked())]
        while sum(sizes) < 5:
            sizes.append(await far.double(await far.asked()))
        assert sizes[0] <= 2
        assert await settled(*tasks) == [[2]] * 5

    run(test)


def test_a_request_that_would_wait_too_long_for_those_before_it_is_refused_at_once() -> None:
    async def test(model: Model, far: Far) -> None:
        await warm(model, far, took_s=0.1)
        asked = ask(model, 1)
        order = await far.asked()
        waits = ask(model, *range(4))
        await asyncio.sleep(0)
        late = ask(model, 5)
        assert await settled(late) == [ModelBusy]
        assert isinstance(busy := late.exception(), ModelBusy)
        assert 0.4 <= busy.again_s < 5
        assert busy.message.startswith("1 request waits for the model already, and it will probably need ")
        await far.double(order)
        await far.double(await far.asked())
        assert len(await settled(asked, waits)) == 2
        await warm(model, far)  # it is idle, so that it is asked at once

    run(test, most_wait_s=0.3)


def test_one_request_may_wait_however_slow_the_model_is() -> None:
    async def test(model: Model, far: Far) -> None:
        await warm(model, far, took_s=0.1)
        tasks = [ask(model, 1)]
        order = await far.asked()
        tasks += [ask(model, 2), ask(model, 3)]
        assert await settled(tasks[2]) == [ModelBusy]
        await far.double(order)
        await far.double(await far.asked())
        assert await settled(*tasks[:2]) == [[2], [4]]

    run(test, most_wait_s=0.001)


def test_what_is_asked_together_at_no_further_cost_does_not_make_others_wait() -> None:
    """A model that takes as long for many rows as for one answers all that wait in its next turn."""

    async def test(model: Model, far: Far) -> None:
        for count in (1, 8, 1, 8):
            tasks = [ask(model, *range(count))]
            order = await far.asked()
            await asyncio.sleep(0.02)
            await far.double(order)
            await settled(*tasks)
        tasks = [ask(model, number) for number in range(40)]
        await asyncio.sleep(0)
        assert await far.double(await far.asked()) == 40
        assert ModelBusy not in await settled(*tasks)

    run(test, most_wait_s=0.2)


def test_requests_that_are_sent_one_by_one_make_others_wait_for_each_of_them() -> None:
    async def test() -> None:
        queue = Queue(most_rows=10, most_waiting=100, most_wait_s=0.25)
        for rows in (1, 9):  # the model takes as long for nine rows as for one
            queue.pace.took(rows, 0.1)

        def stream() -> Question:
            return Question({}, b"", 1, PATIENCE_S, None, asyncio.get_running_loop().create_future())

        for _ in range(3):
            queue.admit(stream(), rest_s=0.0)
            queue.put(stream())
        with pytest.raises(ModelBusy, match="3 requests wait for the model already, and it will probably need"):
            queue.admit(stream(), rest_s=0.0)

    asyncio.run(test())


@given(fixed=st.floats(0, 1), each=st.floats(1e-4, 1), counts=st.lists(st.integers(1, 1_000), min_size=1, max_size=30))
def test_a_pace_foretells_exactly_where_time_grows_with_the_rows_and_else_never_more_than_in_proportion(
    fixed: float, each: float, counts: list[int]
) -> None:
    pace = Pace()
    for count in counts:
        pace.took(count, fixed + each * count)
    for rows in (1, 10, 1_000):
        if len(set(counts[-20:])) > 1:
            assert pace.expects(rows) == pytest.approx(fixed + each * rows, rel=1e-3, abs=1e-6)
        else:
            assert pace.expects(rows) >= 0
    assert pace.expects(1) <= pace.expects(1_000)


@given(st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 100)), min_size=1))
def test_a_pace_is_never_negative_and_never_falls_with_the_rows(measured: list[tuple[int, float]]) -> None:
    pace = Pace()
    for rows, seconds in measured:
        pace.took(rows, seconds)
    times = [pace.expects(rows) for rows in (0, 1, 10, 1_000, 100_000)]
    assert times == sorted(times)
    assert times[0] >= -1e-9


def test_requests_whose_clients_have_left_leave_their_places_to_others() -> None:
    async def test(model: Model, far: Far) -> None:
        tasks = [ask(model, 0)]
        order = await far.asked()
        tasks += [ask(model, number) for number in (1, 2)]
        await asyncio.sleep(0)
        for task in tasks[1:]:
            task.cancel()
        await asyncio.sleep(0)
        more = [ask(model, number) for number in (3, 4, 5)]
        await far.double(order)
        order = await far.asked()
        assert order.columns == {"x": [3, 4]}
        await far.double(order)
        assert await settled(tasks[0], *more) == [[0], [6], [8], ModelBusy]

    run(test, most_waiting=2)


def test_requests_with_different_columns_are_not_asked_together() -> None:
    async def test(model: Model, far: Far) -> None:
        first = ask(model, 0)
        order = await far.asked()
        rows: list[dict[str, list[Any]]] = [{"x": [1], "z": ["a"]}, {"z": ["b"], "x": [2]}, {"x": [3]}, {"x": [4]}]
        rest = [asyncio.create_task(model.ask(each, 1, PATIENCE_S)) for each in rows]
        await asyncio.sleep(0)
        await far.double(order)
        asked = []
        for _ in range(2):
            order = await far.asked()
            asked.append(order.columns)
            await far.double(order)
        assert asked == [{"x": [1, 2], "z": ["a", "b"]}, {"x": [3, 4]}]
        assert await settled(first, *rest) == [[0], [2], [4], [6], [8]]

    run(test)

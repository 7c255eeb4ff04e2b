"""Sends rows to a model process and gets its answers, in the only event loop of a web process. Requests that come while
the model is busy are sent together when it is free. If the model is idle, all requests that came in the same turn of
the event loop are sent together at once, as soon as it is known how long the model takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from headrace.errors import DataError, HeadraceError, RefusedError
from headrace.models.hosting import Answer, Ask, Columns, Load, Loaded, Trouble, decode_reply
from headrace.run.wire import Frames, frame
from headrace.serve.answers import MOST_BYTES, MOST_BYTES_OF_COLUMNS, check_columns, check_stream
from headrace.serve.predictions.suspects import Suspect
from headrace.serve.queue import MOST_ROWS, MOST_WAIT_S, MOST_WAITING, Question, Queue
from headrace.spec.noun import UNREADABLE
from headrace.spec.signature import signature_in

ENDED = "its process has ended"
_SAME_S = 0.01
"""If a request gives up this many seconds before the model's process would be ended because it hangs, the process is
ended at once."""
MOST_WHY = 2_000
"""The most characters of a model's error that clients get."""


Again = Literal["no", "alone", "yes"]


class ModelGone(HeadraceError):
    """The model process has ended, hangs, or sent something that isn't an answer. `again` says whether the rows may be
    sent to another process: "no" if they were sent alone, since they may be the reason; "alone" if they were sent
    together with others; "yes" if they weren't sent."""

    def __init__(self, message: str, *, hint: str | None = None, again: Again = "no") -> None:
        super().__init__(message, hint=hint)
        self.again = again


class ModelSlow(HeadraceError):
    """The model didn't answer within the time that a request can wait."""


class RowsRefused(RefusedError):
    """The model can't answer for these rows."""


class Outcome(NamedTuple):
    """A model's answers for the rows of a request, in the form of the rows: `columns`, or a stream `arrow`. `seconds`
    is how long the model took for all rows that were sent together."""

    columns: Columns
    seconds: float
    arrow: bytes | None = None


class Model(asyncio.Protocol):
    """The connection to a model process. All methods are called in one event loop.

    Requests wait in a `Queue`, which sends at most `most_rows` rows together and refuses requests as `most_waiting` and
    `most_wait_s` say.

    `kill` is called once, when the process can't be used any more, whatever the reason. It must end the process even if
    the process hangs, and must not wait for the end. From then on, `suspects` are the requests that the process was
    answering when it ended. They keep their rows in memory, so whoever reads them empties the list.
    """

    def __init__(
        self,
        *,
        kill: Callable[[], None] = lambda: None,
        most_rows: int = MOST_ROWS,
        most_waiting: int = MOST_WAITING,
        most_wait_s: float = MOST_WAIT_S,
    ) -> None:
        self._kill = kill
        self._queue = Queue(most_rows, most_waiting, most_wait_s)
        self._asked_at = 0.0
        self._frames = Frames(MOST_BYTES)
        self._gives: tuple[str, ...] = ()
        self._transport: asyncio.Transport | None = None
        self._asked: list[Question] = []
        self._begins: asyncio.Handle | None = None
        self._loaded: asyncio.Future[Loaded] | None = None
        self._number = 0
        self._hangs: asyncio.TimerHandle | None = None
        self._gone = asyncio.Event()
        self._why_gone = "it isn't connected"
        self.suspects: list[Suspect] = []

    @property
    def is_alive(self) -> bool:
        """Whether the process can be used: it is connected, has not ended and doesn't hang."""
        return not self._why_gone

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    async def gone(self) -> str:
        """Wait until the process can't be used any more, and return the reason. The owner may then start another
        process."""
        await self._gone.wait()
        return self._why_gone

    async def load(self, order: Load, within_s: float) -> Loaded:
        """Make the process load its model. If this takes longer than `within_s` seconds, the process is ended.

        Raises:
            RowsRefused: the model can't be loaded.
            ModelGone: the process has ended, or was ended because it hangs.
        """
        loop = asyncio.get_running_loop()
        signature = signature_in(order.signature)
        self._gives = () if signature is None else tuple(column.name for column in signature.gives)
        self._loaded = loop.create_future()
        self._send(order)
        hangs = loop.call_later(within_s, self._end, f"it didn't load within {within_s:g} s")
        try:
            loaded = await self._loaded
        finally:
            hangs.cancel()
        self._gives = loaded.gives or self._gives
        return loaded

    async def ask(
        self,
        columns: Mapping[str, Sequence[Any]],
        count: int,
        within_s: float,
        *,
        is_alone: bool = False,
        suspect: Suspect | None = None,
    ) -> Outcome:
        """Return the model's answers for `count` rows. If the caller is cancelled, the rows aren't sent; if they were
        sent already, their answers are dropped.

        The model must answer within `within_s` seconds after the rows were sent. If it takes longer, its process is
        ended, since it seems to hang. For requests that are sent together, the longest of their limits counts.

        If `is_alone` is True, the rows are sent alone, before those that wait, however many they are. `suspect`
        is added to `suspects` if the process ends while it answers.

        Raises:
            ModelBusy: too many requests wait already, or the model will take too long for them.
            ModelSlow: `within_s` seconds have passed without an answer.
            RowsRefused: the model can't answer for these rows. Requests that were sent together are sent again, one by
                one, so only those with bad rows fail.
            ModelGone: the process has ended, or was ended because it hangs or gave something that isn't an answer.
        """
        answered = asyncio.get_running_loop().create_future()
        return await self._answered(Question(columns, None, count, within_s, suspect, answered), is_alone=is_alone)

    async def ask_stream(
        self, arrow: bytes, count: int, within_s: float, *, is_alone: bool = False, suspect: Suspect | None = None
    ) -> Outcome:
        """Return the model's answers for a stream of Arrow with `count` rows. The answers are a stream too. The rows
        are never sent together with other requests. For the rest, see `ask`."""
        answered = asyncio.get_running_loop().create_future()
        return await self._answered(Question({}, arrow, count, within_s, suspect, answered), is_alone=is_alone)

    def close(self) -> None:
        """Close the connection, which ends the process. Requests that wait for an answer get `ModelGone`."""
        self._end("it was ended")

    # -- called by the event loop --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the connection: from now on, the process can be used."""
        self._transport, self._why_gone = cast("asyncio.Transport", transport), ""  # uvloop's is of no such class

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has ended: requests that wait for an answer get `ModelGone`."""
        del exc
        self._end(ENDED)

    def data_received(self, data: bytes) -> None:
        """Read replies. If something isn't a reply to what was sent, end the connection: the process isn't trusted."""
        try:
            for body in self._frames.feed(data):
                is_stream = bool(self._asked) and self._asked[0].arrow is not None
                if len(body) > MOST_BYTES_OF_COLUMNS and not is_stream:
                    raise ValueError(f"{len(body):,} bytes")
                self._hear(decode_reply(body))
        except (*UNREADABLE, ValueError) as error:
            self._end(f"it sent something that is no answer: {error}")
        except DataError as error:
            self._end(f"it sent something that is no answer: {error.message}")

    # -- inside --------------------------------------------------------------------------------------------------

    async def _answered(self, question: Question, *, is_alone: bool) -> Outcome:
        if not self._asked and self._queue.is_full:
            self._next()
        if is_alone:
            self._queue.put_alone([question])
        else:
            self._queue.admit(question, self._rest_s())
            self._queue.put(question)
        loop = asyncio.get_running_loop()
        if not self._asked and self._begins is None:
            self._begins = loop.call_soon(self._next)
        ends = loop.call_later(question.within_s, self._give_up, question)
        try:
            outcome: Outcome = await question.answered
            return outcome
        finally:
            ends.cancel()

    def _send(self, order: Load | Ask) -> None:
        if self._transport is None or self._why_gone:
            raise _gone(self._why_gone)
        self._transport.write(frame(order))

    def _rest_s(self) -> float:
        """Return after how many seconds the model will probably have answered what was sent to it."""
        if not self._asked:
            return 0.0
        passed_s = asyncio.get_running_loop().time() - self._asked_at
        return max(self._queue.pace.expects(sum(each.rows for each in self._asked)) - passed_s, 0.0)

    def _next(self) -> None:
        """If the model is idle, send it the next requests that wait."""
        if self._begins is not None:
            self._begins.cancel()
            self._begins = None
        while not self._asked and (taken := self._queue.take()):
            self._asked = taken
            self._number += 1
            try:
                columns = None if taken[0].arrow is not None else _joined(taken)
                self._send(Ask(number=self._number, columns=columns, arrow=taken[0].arrow))
                self._watch()
            except ModelGone:
                self._fail("yes")
            except Exception as error:  # noqa: BLE001  rows that can't be sent: others must not wait for them
                self._refuse(RowsRefused(f"the rows can't be sent to the model: {error!r}"))

    def _give_up(self, question: Question) -> None:
        if not question.answered.done():
            was_asked = any(each is question for each in self._asked)
            if (
                was_asked
                and self._hangs is not None
                and self._hangs.when() < asyncio.get_running_loop().time() + _SAME_S
            ):
                self._hang()
                return
            doing = "these rows" if was_asked else "requests that came earlier"
            error = ModelSlow(
                f"the model gave no answer within {question.within_s:g} s: it was busy with {doing}",
                hint="try again later, or send fewer rows at once",
            )
            question.answered.set_exception(error)

    def _watch(self) -> None:
        """Start a timer that ends the process if it takes too long to answer what was just sent."""
        within_s = max(each.within_s for each in self._asked)
        loop = asyncio.get_running_loop()
        self._asked_at = loop.time()
        self._hangs = loop.call_at(self._asked_at + within_s, self._hang)

    def _hang(self) -> None:
        rows, within_s = sum(each.rows for each in self._asked), max(each.within_s for each in self._asked)
        self._end(f"it gave no answer for {rows:,} row{'s' * (rows != 1)} within {within_s:g} s")

    def _unwatch(self) -> None:
        if self._hangs is not None:
            self._hangs.cancel()
            self._hangs = None

    def _hear(self, reply: Loaded | Answer | Trouble) -> None:
        if self._loaded is not None and not isinstance(reply, Answer):
            loaded, self._loaded = self._loaded, None
            if not loaded.done():
                loaded.set_result(reply) if isinstance(reply, Loaded) else loaded.set_exception(_refused(reply))
            return
        if isinstance(reply, Loaded) or reply.number != self._number or not self._asked:
            raise ValueError("an answer to no question")
        self._unwatch()
        if isinstance(reply, Answer):
            self._settle(reply)
        else:
            self._refuse(_refused(reply))
        self._next()

    def _refuse(self, why: RowsRefused) -> None:
        """Refuse the request that was sent. If several were sent together, send each of them alone instead."""
        asked, self._asked = self._asked, []
        if len(asked) > 1:
            self._queue.put_alone(asked)
        elif not asked[0].answered.done():
            asked[0].answered.set_exception(why)

    def _settle(self, answer: Answer) -> None:
        rows, columns = sum(each.rows for each in self._asked), answer.columns or {}
        if self._asked[0].arrow is None:
            check_columns(columns, rows, self._gives)
        else:
            check_stream(answer.arrow or b"", rows, self._gives)
        self._queue.pace.took(rows, asyncio.get_running_loop().time() - self._asked_at)
        asked, self._asked = self._asked, []
        start = 0
        for each in asked:
            if not each.answered.done():  # its client may have left
                part = {name: values[start : start + each.rows] for name, values in columns.items()}
                each.answered.set_result(Outcome(part, answer.seconds, None if each.arrow is None else answer.arrow))
            start += each.rows

    def _end(self, why: str) -> None:
        """End the process, and refuse all requests that wait. Data that wasn't sent yet is dropped, since the process
        may not read it."""
        if not self._gone.is_set():
            self._why_gone = why
            self.suspects = [each.suspect for each in self._asked if each.suspect is not None]
            self._gone.set()
            self._kill()
        self._unwatch()
        if self._transport is not None:
            self._transport.abort()
        self._fail("alone" if len(self._asked) > 1 else "no")

    def _fail(self, again: Again) -> None:
        """Refuse all requests. `again` holds for those that were sent."""
        asked, others = [each.answered for each in self._asked], self._queue.clear()
        self._asked = []
        _refuse_all([*asked, *([self._loaded] if self._loaded else [])], _gone(self._why_gone, again))
        _refuse_all([each.answered for each in others], _gone(self._why_gone, "yes"))


def _refused(trouble: Trouble) -> RowsRefused:
    hint = "correct the rows" if trouble.is_theirs and trouble.number is not None else None
    return RowsRefused(trouble.why[:MOST_WHY], hint=hint)


def _gone(why: str, again: Again = "no") -> ModelGone:
    hint = "try again once the model has been started anew"
    return ModelGone(f"the model can't answer: {why}", hint=hint, again=again)


def _refuse_all(answers: Sequence[asyncio.Future[Any]], error: ModelGone) -> None:
    for each in answers:
        if not each.done():
            each.set_exception(error)


def _joined(questions: Sequence[Question]) -> Columns:
    first = questions[0].columns
    return {name: [value for each in questions for value in each.columns[name]] for name in first}

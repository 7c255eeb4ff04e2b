"""Asks a model process, from the one event loop of a web process. Requests that come while the model is busy are asked
together; an idle model is asked at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from headrace.errors import HeadraceError, RefusedError
from headrace.models.hosting import Answer, Ask, Columns, Load, Loaded, Trouble, decode_reply
from headrace.run.wire import Frames, frame
from headrace.spec.noun import UNREADABLE

MOST_ROWS = 1_024
"""How many rows of several requests are asked together at most."""
MOST_WAITING = 256
"""How many requests may wait for a model; later ones are refused at once."""


class ModelBusy(RefusedError):
    """So many requests wait for the model that another one would wait too long."""


class ModelGone(HeadraceError):
    """The model process has ended, or answers with something else than answers."""


class RowsRefused(RefusedError):
    """The model can't answer for these rows."""


class Outcome(NamedTuple):
    """The answers for the rows of a request, as columns, and how long the model took for all that it was asked together
    with them."""

    columns: Columns
    seconds: float


class _Question(NamedTuple):
    columns: Mapping[str, Sequence[Any]]
    rows: int
    answered: asyncio.Future[Outcome]


class Model(asyncio.Protocol):
    """The line to a model process. All methods are called in one event loop."""

    def __init__(self, *, most_rows: int = MOST_ROWS, most_waiting: int = MOST_WAITING) -> None:
        self._most_rows = most_rows
        self._most_waiting = most_waiting
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[_Question] = deque()
        self._alone: deque[_Question] = deque()
        self._asked: list[_Question] = []
        self._loaded: asyncio.Future[Loaded] | None = None
        self._number = 0
        self._why_gone = "it isn't connected"

    async def load(self, order: Load) -> Loaded:
        """Have the process load its model.

        Raises:
            RowsRefused: the model can't be loaded.
            ModelGone: the process has ended.
        """
        self._loaded = asyncio.get_running_loop().create_future()
        self._send(order)
        return await self._loaded

    async def ask(self, columns: Mapping[str, Sequence[Any]], count: int) -> Outcome:
        """Return the model's answers for `count` rows. If the caller is cancelled, the rows aren't asked any more, or
        their answers are dropped.

        Raises:
            ModelBusy: too many requests wait already.
            RowsRefused: the model can't answer for these rows. Requests that were asked together are asked again, one
                by one, so rows that the model can't take fail alone.
            ModelGone: the process has ended.
        """
        if len(self._waiting) >= self._most_waiting:
            raise ModelBusy(
                f"{len(self._waiting):,} requests wait for the model already", hint="try again later, or send fewer"
            )
        question = _Question(columns, count, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        self._next()
        return await question.answered

    def close(self) -> None:
        """End the connection, and so the process. What waits for an answer gets `ModelGone`."""
        self._end("it was ended")

    # -- called by the event loop --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._why_gone = transport, ""

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has ended: nothing that was asked will be answered."""
        del exc
        self._end("its process has ended")

    def data_received(self, data: bytes) -> None:
        """Take replies. What isn't a reply to what was asked ends the connection: the process isn't trusted."""
        try:
            for body in self._frames.feed(data):
                self._hear(decode_reply(body))
        except (*UNREADABLE, ValueError) as error:
            self._end(f"it sent something that is no answer: {error}")

    # -- inside --------------------------------------------------------------------------------------------------

    def _send(self, order: Load | Ask) -> None:
        if self._transport is None or self._why_gone:
            raise ModelGone(f"the model can't answer: {self._why_gone}")
        self._transport.write(frame(order))

    def _next(self) -> None:
        """If the model is idle, ask what waits."""
        if self._asked:
            return
        self._asked = self._taken()
        if self._asked:
            self._number += 1
            try:
                self._send(Ask(number=self._number, columns=_joined(self._asked)))
            except ModelGone as error:
                self._fail(error)
            except Exception as error:  # noqa: BLE001  rows that can't be sent: others must not wait for them
                self._refuse(RowsRefused(f"the rows can't be sent to the model: {error!r}"))
                self._next()

    def _taken(self) -> list[_Question]:
        """Take the requests to ask about next: one that must be asked alone, or as many together as may be. Requests
        whose clients have left are dropped."""
        while self._alone:
            if not (question := self._alone.popleft()).answered.done():
                return [question]
        taken: list[_Question] = []
        rows = 0
        while self._waiting and (not taken or rows + self._waiting[0].rows <= self._most_rows):
            if not (question := self._waiting.popleft()).answered.done():
                taken.append(question)
                rows += question.rows
        return taken

    def _hear(self, reply: Loaded | Answer | Trouble) -> None:
        if self._loaded is not None and not isinstance(reply, Answer):
            loaded, self._loaded = self._loaded, None
            if not loaded.done():
                loaded.set_result(reply) if isinstance(reply, Loaded) else loaded.set_exception(RowsRefused(reply.why))
            return
        if isinstance(reply, Loaded) or reply.number != self._number or not self._asked:
            raise ValueError("an answer to no question")
        if isinstance(reply, Answer):
            asked, self._asked = self._asked, []
            self._settle(asked, reply)
        else:
            self._refuse(RowsRefused(reply.why, hint="correct the rows" if reply.is_theirs else None))
        self._next()

    def _refuse(self, why: RowsRefused) -> None:
        """Refuse the request that was asked; if they were several, ask each alone."""
        asked, self._asked = self._asked, []
        if len(asked) > 1:
            self._alone.extend(asked)
        elif not asked[0].answered.done():
            asked[0].answered.set_exception(why)

    def _settle(self, asked: Sequence[_Question], answer: Answer) -> None:
        total = sum(each.rows for each in asked)
        columns = answer.columns or {}
        if not columns or any(len(values) != total for values in columns.values()):
            self._asked = list(asked)
            raise ValueError(f"not one answer for each of {total} rows")
        start = 0
        for each in asked:
            if not each.answered.done():  # its client may have left
                part = {name: values[start : start + each.rows] for name, values in columns.items()}
                each.answered.set_result(Outcome(part, answer.seconds))
            start += each.rows

    def _end(self, why: str) -> None:
        self._why_gone = self._why_gone or why
        if self._transport is not None:
            self._transport.close()
        self._fail(ModelGone(f"the model can't answer: {self._why_gone}"))

    def _fail(self, error: ModelGone) -> None:
        questions = [*self._asked, *self._alone, *self._waiting]
        for known in (self._asked, self._alone, self._waiting):
            known.clear()
        waiting: list[asyncio.Future[Any]] = [each.answered for each in questions]
        for future in [*waiting, *([self._loaded] if self._loaded else [])]:
            if not future.done():
                future.set_exception(error)


def _joined(questions: Sequence[_Question]) -> Columns:
    first = questions[0].columns
    return {name: [value for each in questions for value in each.columns[name]] for name in first}

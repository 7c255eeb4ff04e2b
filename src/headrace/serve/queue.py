"""Requests that wait for a model, in the order in which they came. A request that would have to wait too long is
refused, and requests that can be sent together are removed together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from headrace.errors import RefusedError
from headrace.serve.predictions.suspects import Suspect

MOST_ROWS = 1_024
"""The most rows of several requests that are sent together."""
MOST_WAITING = 256
"""How many requests may wait for a model; later ones are refused at once."""
MOST_WAIT_S = 5.0
"""How many seconds a request may have to wait for the requests before it; see `Queue`."""
_FADES = 0.9
_SAME_ROWS = 1e-10
"""Numbers of rows are the same if their variance is less than this part of their squared mean."""


class ModelBusy(RefusedError):
    """So many requests wait for the model that another one would wait too long. `again_s` is how many seconds the model
    will probably need for those that wait."""

    def __init__(self, message: str, *, again_s: float = 0.0) -> None:
        super().__init__(message, hint="try again later, or send fewer")
        self.again_s = again_s


class Question(NamedTuple):
    """The rows of a request: `columns`, or a stream `arrow`. The model must answer them within `within_s` seconds after
    they were sent. `answered` gets the answers. It is done before that if the client has left or can't wait longer.
    `suspect` is what is told about the request if the process ends while it answers."""

    columns: Mapping[str, Sequence[Any]]
    arrow: bytes | None
    rows: int
    within_s: float
    suspect: Suspect | None
    answered: asyncio.Future[Any]


class Pace:
    """How long a model takes for rows that are sent together: some time for any number of rows, and some more for each
    row. Both are fitted by least squares to what was measured. A measurement counts 0.9 times as much as the next one.

    While all measurements are of the same number of rows, the time is taken to be proportional to the rows.

    >>> pace = Pace()
    >>> pace.took(1, 0.3)
    >>> pace.took(5, 0.7)
    >>> round(pace.expects(10), 9)
    1.2
    """

    def __init__(self) -> None:
        self._count = self._rows = self._seconds = self._squares = self._products = 0.0

    @property
    def is_known(self) -> bool:
        """Whether anything was measured."""
        return self._count > 0

    def took(self, rows: int, seconds: float) -> None:
        """Remember that this many rows took this many seconds."""
        self._count = _FADES * self._count + 1
        self._rows = _FADES * self._rows + rows
        self._seconds = _FADES * self._seconds + seconds
        self._squares = _FADES * self._squares + rows * rows
        self._products = _FADES * self._products + rows * seconds

    def expects(self, rows: int, calls: int = 1) -> float:
        """Return how many seconds the model will probably take for this many rows, if they are sent in so many calls; 0
        if nothing was measured."""
        if not self._rows:
            return 0.0
        mean = self._rows / self._count
        spread = self._squares / self._count - mean * mean
        per_row = most = self._seconds / self._rows  # as if the time were proportional to the rows
        if spread > _SAME_ROWS * mean * mean:
            covariance = self._products / self._count - mean * self._seconds / self._count
            per_row = min(max(covariance / spread, 0.0), most)
        return calls * (self._seconds / self._count - per_row * mean) + per_row * rows


class Queue:
    """The requests that wait for a model.

    A request is refused if `most_waiting` requests wait already, or if the model would probably need more than
    `most_wait_s` seconds for the requests before it. One request may always wait. At most `most_rows` rows are sent
    together. `pace` learns from the model's answers how long it takes.
    """

    def __init__(self, most_rows: int, most_waiting: int, most_wait_s: float) -> None:
        self.pace = Pace()
        self._most_rows = most_rows
        self._most_waiting = most_waiting
        self._most_wait_s = most_wait_s
        self._waiting: deque[Question] = deque()
        self._alone: deque[Question] = deque()

    def __len__(self) -> int:
        """Return how many requests wait, without those whose clients have left."""
        return sum(not each.answered.done() for each in (*self._waiting, *self._alone))

    @property
    def is_full(self) -> bool:
        """Whether so many requests wait that another one is refused, however short the wait."""
        return len(self._waiting) >= self._most_waiting

    def admit(self, question: Question, rest_s: float) -> None:
        """Raise `ModelBusy` if another request may not wait. The model will probably be busy for another `rest_s`
        seconds with what was sent to it. If requests whose clients have left could be the reason, they are removed
        first."""
        if self._waiting and self._refuses(rest_s + self._before_s(question)):
            self._waiting = deque(each for each in self._waiting if not each.answered.done())
            wait_s, count = rest_s + self._before_s(question), len(self._waiting)
            if count and self._refuses(wait_s):
                need = f", and it will probably need {wait_s:.2g} s for what came before this request"
                raise ModelBusy(
                    f"{count:,} request{'s wait' if count != 1 else ' waits'} for the model already"
                    f"{need if self.pace.is_known else ''}",
                    again_s=wait_s,
                )

    def put(self, question: Question) -> None:
        """Let a request wait."""
        self._waiting.append(question)

    def put_alone(self, questions: Sequence[Question]) -> None:
        """Let requests wait that must each be sent alone. They are sent before all others."""
        self._alone.extend(questions)

    def take(self) -> list[Question]:
        """Remove the next requests to send from the queue, and return them: one that must be sent alone, or as many as
        may be sent together. Requests whose clients have left are dropped.

        The model should be able to answer what is sent together in half of the time that it has; otherwise it would be
        ended as one that hangs, although it only has much to do. So nothing is sent together before it is known how
        long the model takes.
        """
        while self._alone:
            if not (question := self._alone.popleft()).answered.done():
                return [question]
        taken: list[Question] = []
        rows = 0
        while self._waiting:
            question = self._waiting[0]
            if not question.answered.done():
                if taken and not self._may_join(question, taken[0], rows + question.rows):
                    break
                taken.append(question)
                rows += question.rows
            self._waiting.popleft()
        return taken

    def clear(self) -> list[Question]:
        """Remove all requests, and return them."""
        questions = [*self._alone, *self._waiting]
        self._alone.clear()
        self._waiting.clear()
        return questions

    def _refuses(self, wait_s: float) -> bool:
        return self.is_full or wait_s > self._most_wait_s

    def _before_s(self, question: Question) -> float:
        """Return how many seconds the model will probably need for the requests that wait, beyond what it will need for
        this one. Requests with different columns count as if they could be sent together."""
        joined = [each.rows for each in self._waiting if each.arrow is None]
        calls = len(self._alone) + len(self._waiting) - len(joined) + sum(joined) // self._most_rows
        if question.arrow is not None and joined:
            calls += 1
        rows = sum(each.rows for each in (*self._alone, *self._waiting))
        return self.pace.expects(rows, calls)

    def _may_join(self, question: Question, first: Question, rows: int) -> bool:
        """Return whether a request may be sent together with `first`, so that `rows` rows are sent in all.

        Only requests with the same columns are sent together: to a preparation, a missing column isn't the same as a
        column without values."""
        are_columns = question.arrow is None and first.arrow is None
        fits = rows <= self._most_rows and are_columns and question.columns.keys() == first.columns.keys()
        return fits and self.pace.is_known and self.pace.expects(rows) <= question.within_s / 2

"""Logs an endpoint's predictions as its settings `log` and `when_log_fails` say."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, TypeVar

from headrace.errors import LogError, RefusedError
from headrace.serve.metrics import LOG, PREDICTIONS, TOLD, UNLOGGED, Metrics
from headrace.serve.predictions.feedback import Feedback
from headrace.serve.predictions.prediction import Answered, PredictionId
from headrace.serve.predictions.redaction import NO_REDACTION, Redaction

LOG_S = 5.0
"""How long a request waits for the log, in seconds. Together with `endpoint.ANSWER_S`, this is less than the limit for
a request (`Limits.request_s`), so that a disk that hangs is treated like one that fails."""

T = TypeVar("T")
Say = Callable[[str], None]


class NothingKept(RefusedError):
    """The endpoint logs no predictions, so labels are refused."""


class Log(Protocol):
    """The log in which an endpoint stores answers and labels."""

    async def keep(self, answered: Answered, /) -> PredictionId:
        """Store the answers to a request. When they are in the log, return the id of the first prediction."""
        ...

    async def keep_feedback(self, feedback: Feedback, /) -> None:
        """Store labels, and return when they are in the log."""
        ...


class Keeping(NamedTuple):
    """How an endpoint logs its predictions: in `log`, or not at all if that is None. If the log can't be written, a
    request is refused, unless the endpoint `answers_unlogged`. `sample` is the share of requests that are logged.
    `redaction` says which columns are dropped or hashed."""

    log: Log | None
    answers_unlogged: bool = False
    sample: float = 1.0
    redaction: Redaction = NO_REDACTION


class Keeper:
    """Logs the predictions of an endpoint, and counts them. All methods are called in one event loop.

    When the log begins to fail, `say` is called with a line of text. A log that takes longer than `within_s` seconds
    fails, too.
    """

    def __init__(self, endpoint: str, keeping: Keeping, metrics: Metrics, say: Say, *, within_s: float = LOG_S) -> None:
        self._endpoint = endpoint
        self._keeping = keeping
        self._metrics = metrics
        self._say = say
        self._within_s = within_s
        self._fails = False

    @property
    def is_off(self) -> bool:
        """Whether the endpoint logs no predictions."""
        return self._keeping.log is None

    def why_not(self) -> str:
        """Return why the answers to the next request aren't logged, as the label `why` of `UNLOGGED`; empty if they
        are. Call it once for a request and its copy for a shadow: both are in the sample, or none of them."""
        if self._keeping.log is None:
            return "off"
        return "" if random.random() < self._keeping.sample else "sample"  # never 1.0

    def leave(self, variant: str, version: str, count: int, why: str) -> None:
        """Count predictions that aren't logged."""
        self._metrics.add(PREDICTIONS, self._endpoint, variant, version, by=count)
        self._metrics.add(UNLOGGED, self._endpoint, why, by=count)

    async def keep(self, answered: Answered) -> PredictionId | None:
        """Log the answers to a request, and return the id of the first prediction. Return None if the log can't be
        written and the request is answered nevertheless.

        Raises:
            LogError: the log can't be written.
        """
        assert self._keeping.log is not None, "nothing is kept"
        began = time.perf_counter()
        try:
            first = await self._in_time(self._keeping.log.keep(answered))
        except LogError as error:
            does = "answers, but" if self._keeping.answers_unlogged else "refuses requests, since"
            self._tell(error, f"{does} its predictions")
            if not self._keeping.answers_unlogged:
                raise
            self._metrics.add(UNLOGGED, self._endpoint, "failed", by=answered.count)
            first = None
        else:
            self._fails = False
            self._metrics.took(LOG, time.perf_counter() - began, self._endpoint)
        self._metrics.add(PREDICTIONS, self._endpoint, answered.variant, answered.version, by=answered.count)
        return first

    async def keep_feedback(self, feedback: Feedback) -> None:
        """Log labels, and return when they are in the log.

        Raises:
            NothingKept: the endpoint logs no predictions.
            LogError: the log can't be written.
        """
        if self._keeping.log is None:
            raise NothingKept(
                f"endpoint `{self._endpoint:.80}` logs no predictions, so labels for it are refused",
                hint="labels of earlier predictions can be recorded by a pipeline, with `ingest.feedback`",
            )
        try:
            await self._in_time(self._keeping.log.keep_feedback(feedback))
        except LogError as error:
            self._tell(error, "refuses labels, since they")
            raise
        self._fails = False
        self._metrics.add(TOLD, self._endpoint, by=len(feedback.labels))

    async def _in_time(self, logged: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._within_s):
                return await logged
        except TimeoutError as error:
            raise LogError(
                f"the prediction log didn't take a request of endpoint `{self._endpoint}` within {self._within_s:g} s",
                hint="look whether its disk hangs or is overloaded",
            ) from error

    def _tell(self, error: LogError, does: str) -> None:
        """Say once, until the log works again, what the endpoint does because it can't log."""
        if not self._fails:
            self._fails = True
            self._say(f"endpoint `{self._endpoint}` {does} can't be logged: {error.message}")

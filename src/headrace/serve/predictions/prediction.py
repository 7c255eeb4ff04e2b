"""Predictions, and the answers to one request as they are logged."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from headrace.errors import UsageError
from headrace.spec.endpoint import PREDICTION_ID
from headrace.spec.noun import Noun

Form = Literal["json", "arrow"]

_ID = re.compile(PREDICTION_ID)


class PredictionId(NamedTuple):
    """The id of a prediction. It says where the prediction is in the log: by which writer, in which segment, and at
    which offset.

    `salt` are 64 random bits, so that nobody can guess the id of another client's prediction.
    """

    writer: str
    segment: int
    offset: int
    salt: int

    def __str__(self) -> str:
        """Return the id as clients see it.

        >>> str(PredictionId("0a1b2c3d4e5f", 7, 120, 255))
        '0a1b2c3d4e5f-7-120-00000000000000ff'
        """
        return f"{self.writer}-{self.segment}-{self.offset}-{self.salt:016x}"

    def texts(self, count: int) -> list[str]:
        """Return the ids of `count` predictions that were logged together, as clients see them. This id is the first of
        them."""
        before, salt = f"{self.writer}-{self.segment}-", f"-{self.salt:016x}"
        return [f"{before}{offset}{salt}" for offset in range(self.offset, self.offset + count)]


def parsed(text: str) -> PredictionId:
    """Return the id that a client sent as text.

    >>> parsed("0a1b2c3d4e5f-7-120-00000000000000ff").offset
    120

    Raises:
        UsageError: the text is not the id of a prediction.
    """
    matched = _ID.fullmatch(text)
    if matched is None:
        raise UsageError(f"`{text:.80}` is not the id of a prediction", hint="send an id as the endpoint returned it")
    writer, segment, offset, salt = matched.groups()
    return PredictionId(writer, int(segment), int(offset), int(salt, 16))


class Answered(Noun, frozen=True):
    """The answers to one request, as they are logged: `count` predictions with consecutive offsets.

    `at` is when the request came, in Unix seconds; `latency_s` is how long the answer took. `given` are the request's
    rows and `answers` the model's answers, one for each row: bytes in JSON (a list of objects) or Arrow (a stream). If
    the model gave no answer, `answers` is None and `why` says why. `names` are the client's own ids of the rows, if it
    sent any. `trace` is the `traceparent` of the request. `salt` is the random part of the ids of these predictions.
    """

    count: int
    at: float
    endpoint: str
    variant: str
    version: str
    form: Form
    given: bytes
    answers: bytes | None
    latency_s: float
    salt: int
    names: tuple[str, ...] = ()
    trace: str = ""
    why: str = ""

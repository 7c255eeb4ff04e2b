"""What a client gets in place of predictions: a status, and the error as one JSON object.

Refusal                    the request is refused before it reaches its endpoint
├── BadRequest        400  it isn't valid HTTP, or its body can't be unpacked
├── TokenRefused      401  the client has no valid token
├── AccessRefused     403  the client may not send this request
├── PathUnknown       404  there is no such path
├── EndpointUnknown   404  there is no such endpoint
├── VersionUnknown    404  the endpoint's route gives no share to this version
├── WrongMethod       405  the path needs another method
├── BodyLate          408  the body didn't come in time
├── BodyTooLarge      413  the body is larger than a request may be
├── ContentRefused    415  the body has another form than JSON or Arrow
├── RateExceeded      429  the client sends requests too often
├── HeadTooLarge      431  the headers are larger than they may be
├── NotReady          503  the models aren't loaded yet
├── ServerFull        503  too many clients are connected
├── Stopping          503  the server stops
└── AnswerLate        504  the endpoint didn't answer in time
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import msgspec

from headrace.errors import HeadraceError, LogError, RefusedError
from headrace.serve.asking import ModelGone, ModelSlow, RowsRefused
from headrace.serve.predictions.feedback import LabelsRefused
from headrace.serve.predictions.keeping import NothingKept
from headrace.serve.queue import ModelBusy
from headrace.serve.records import RecordsRefused


def retry_after(seconds: float) -> tuple[bytes, bytes]:
    """Return the header that says after how many whole seconds, at least 1, a client may try again."""
    return b"retry-after", b"%d" % max(math.ceil(seconds), 1)


RETRY_AFTER = retry_after(1)
"""The header that says that a client may try again after a second."""


class Response(NamedTuple):
    """An HTTP response. `kind` is the type of its content."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    kind: bytes = b"application/json"


class Refusal(RefusedError):
    """A request is refused before it reaches its endpoint. `headers` are sent with the answer."""

    status: ClassVar[int]

    def __init__(self, message: str, *, hint: str | None = None, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.headers = headers


class BadRequest(Refusal):
    """The request isn't valid HTTP, or its body can't be unpacked."""

    status = 400


class TokenRefused(Refusal):
    """The client has no valid token."""

    status = 401


class AccessRefused(Refusal):
    """The client may not send this request."""

    status = 403


class PathUnknown(Refusal):
    """There is no such path."""

    status = 404


class EndpointUnknown(Refusal):
    """There is no such endpoint."""

    status = 404


class VersionUnknown(Refusal):
    """The endpoint's route gives no share to this version."""

    status = 404


class WrongMethod(Refusal):
    """The path needs another method."""

    status = 405


class BodyLate(Refusal):
    """The body didn't come in time."""

    status = 408


class BodyTooLarge(Refusal):
    """The body is larger than a request may be."""

    status = 413


class ContentRefused(Refusal):
    """The body has another form than JSON or Arrow."""

    status = 415


class RateExceeded(Refusal):
    """The client sends requests too often."""

    status = 429


class HeadTooLarge(Refusal):
    """The headers are larger than they may be."""

    status = 431


class NotReady(Refusal):
    """The models aren't loaded yet."""

    status = 503


class ServerFull(Refusal):
    """Too many clients are connected."""

    status = 503


class Stopping(Refusal):
    """The server stops."""

    status = 503


class AnswerLate(Refusal):
    """The endpoint didn't answer in time."""

    status = 504


def answered(status: int, content: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    """Return a response with this content, as JSON."""
    return Response(status, msgspec.json.encode(content), headers)


def answer_to(error: Exception) -> Response:
    """Return the response to a request that ended with this error. If the error is in the server itself, the response
    only says what the client can do."""
    match error:
        case Refusal():
            return answered(error.status, _told(error), error.headers)
        case RecordsRefused() | LabelsRefused():
            return answered(422, {**_told(error), "faults": error.faults})
        case NothingKept():
            return answered(409, _told(error))
        case RowsRefused():
            return answered(422, _told(error))
        case ModelBusy():
            return answered(429, _told(error), (retry_after(error.again_s),))
        case ModelSlow():
            return answered(504, _told(error))
        case ModelGone():
            return _withheld(503, error, "the model can't answer at the moment", "try again later")
        case LogError():
            why = "the log can't be written at the moment, so the request may not have been recorded"
            return _withheld(503, error, why, "try again later")
        case _:
            unexpected = HeadraceError("the request failed inside the server")
            return _withheld(500, unexpected, unexpected.message, "the server's log says why")


def _told(error: HeadraceError) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint}


def _withheld(status: int, error: HeadraceError, message: str, hint: str) -> Response:
    """Return a response without the error's own message, since this may name paths and processes of the server."""
    content = {"error": type(error).__name__, "message": message, "hint": hint}
    return answered(status, content, (RETRY_AFTER,) if status == 503 else ())

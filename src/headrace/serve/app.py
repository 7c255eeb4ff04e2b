"""The application behind HTTP: it finds the endpoint that a request names, has it answer, and tells errors as JSON.

POST /v1/endpoints/NAME/predict   {"records": [...]}, or a stream of Arrow: predictions, one for each record or row
GET  /health                      the server answers
GET  /ready                       the models are loaded (503 until then)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

from headrace.errors import near
from headrace.serve.access import Access
from headrace.serve.refusals import (
    RETRY_AFTER,
    AnswerLate,
    BodyLate,
    EndpointUnknown,
    NotReady,
    PathUnknown,
    Refusal,
    Response,
    Stopping,
    WrongMethod,
    answer_to,
    answered,
)
from headrace.serve.request import ARROW, ClientLeft, Limits, Receive, body_of, check_content, trace_of

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
T = TypeVar("T")

_log = logging.getLogger("headrace.serve")


class Asked(NamedTuple):
    """A request to an endpoint: its body, its `traceparent` (empty if it has none), and when it came, in Unix
    seconds."""

    body: bytes
    trace: str
    at: float


class Predicted(NamedTuple):
    """An endpoint's answer: for each record the prediction, by column, and its id; and which variant and which version
    of the model gave them."""

    predictions: Sequence[Mapping[str, Any]]
    ids: Sequence[str]
    variant: str
    version: str


class PredictedStream(NamedTuple):
    """An endpoint's answer to a stream of Arrow: a stream with a row for each row, whose column `id` has the ids."""

    stream: bytes
    variant: str
    version: str


class Endpoint(Protocol):
    """What answers requests."""

    def predict(self, request: Asked, /) -> Awaitable[Predicted]:
        """Answer a request. It is cancelled if the client leaves or the time is up.

        Raises:
            RecordsRefused: the records don't fit the model.
            RowsRefused: the model can't answer for them.
            ModelBusy: too many requests wait already.
            ModelGone: the model's process has ended.
            LogError: the answers can't be logged.
        """
        ...

    def predict_stream(self, request: Asked, /) -> Awaitable[PredictedStream]:
        """Answer a request whose body is a stream of Arrow. See `predict`."""
        ...


class Endpoints(Protocol):
    """The endpoints of a server."""

    def find(self, name: str, /) -> Endpoint | None:
        """Return the endpoint of this name, or None. The name is any text that a client sent."""
        ...

    def names(self) -> Sequence[str]:
        """Return the names of all endpoints."""
        ...

    def is_ready(self) -> bool:
        """Return whether all endpoints can answer."""
        ...


class App:
    """Answers requests of HTTP: an application of ASGI. It is called in one event loop."""

    def __init__(self, endpoints: Endpoints, access: Access, limits: Limits) -> None:
        self._endpoints = endpoints
        self._access = access
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, unless its client leaves before."""
        with suppress(ClientLeft):
            response = await self._response(scope, receive)
            headers = [
                (b"content-type", response.kind),
                (b"content-length", str(len(response.body)).encode()),
                *response.headers,
            ]
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            await send({"type": "http.response.body", "body": response.body})

    async def _response(self, scope: Scope, receive: Receive) -> Response:
        try:
            return await self._answer(scope, receive)
        except ClientLeft:
            raise
        except asyncio.CancelledError:  # only a server that stops cancels a request
            return answer_to(Stopping("the server stops", hint="try again", headers=(RETRY_AFTER,)))
        except Exception as error:  # noqa: BLE001  whatever it is, the client must hear of it, but not its text
            response = answer_to(error)
            if response.status >= 500 and not isinstance(error, Refusal):
                _log.error("a request failed: %s", error, exc_info=error if response.status == 500 else None)
            return response

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        self._access.check(scope["headers"])
        match scope["raw_path"].split(b"/"):
            case [b"", b"health"]:
                _check_method(scope, "GET", "HEAD")
                return answered(200, {"healthy": True})
            case [b"", b"ready"]:
                _check_method(scope, "GET", "HEAD")
                self._check_ready()
                return answered(200, {"ready": True})
            case [b"", b"v1", b"endpoints", name, b"predict"]:
                _check_method(scope, "POST")
                named = unquote_to_bytes(name).decode("utf-8", "replace")
                self._access.check_endpoint(scope["headers"], named)
                return await self._predict(self._endpoint(named), scope, receive)
            case _:
                path = scope["raw_path"].decode("latin-1")
                raise PathUnknown(f"there is no path `{path:.80}`", hint="POST to `/v1/endpoints/NAME/predict`")

    async def _predict(self, endpoint: Endpoint, scope: Scope, receive: Receive) -> Response:
        headers, limits = scope["headers"], self._limits
        at, end = time.time(), asyncio.get_running_loop().time() + limits.request_s
        form = check_content(headers, limits)
        late = f"in {limits.request_s:g} seconds"
        body = await _before(
            end,
            body_of(headers, receive, limits),
            BodyLate(f"the body didn't come {late}", hint="send fewer records at once"),
        )
        asked = Asked(body, trace_of(headers), at)
        slow = AnswerLate(f"the endpoint didn't answer {late}", hint="try again later, or send fewer records at once")
        if form == "json":
            predicted = await _before(end, _unless_left(endpoint.predict(asked), receive), slow)
            return answered(200, predicted._asdict())
        found = await _before(end, _unless_left(endpoint.predict_stream(asked), receive), slow)
        named = ((b"headrace-variant", found.variant.encode()), (b"headrace-version", found.version.encode()))
        return Response(200, found.stream, named, ARROW.encode())

    def _endpoint(self, name: str) -> Endpoint:
        endpoint = self._endpoints.find(name)
        if endpoint is not None:
            return endpoint
        if name in self._endpoints.names():
            raise _not_ready()
        hint = near(name[:80], sorted(self._endpoints.names()), "there are") if self._access.may_list else None
        raise EndpointUnknown(f"there is no endpoint `{name:.80}`", hint=hint)

    def _check_ready(self) -> None:
        if not self._endpoints.is_ready():
            raise _not_ready()


def _not_ready() -> NotReady:
    return NotReady("the models aren't loaded yet", hint="try again later", headers=(RETRY_AFTER,))


def _check_method(scope: Scope, *methods: str) -> None:
    if scope["method"] not in methods:
        known = ", ".join(methods)
        raise WrongMethod(
            f"this path isn't asked by `{scope['method']:.20}`",
            hint=f"ask it by {known}",
            headers=((b"allow", known.encode()),),
        )


async def _before(end: float, work: Coroutine[Any, Any, T], late: Refusal) -> T:
    """Return what `work` gives, or raise `late` if it isn't done at `end`, on the loop's clock."""
    try:
        async with asyncio.timeout_at(end) as bound:
            return await work
    except TimeoutError:
        if bound.expired():
            raise late from None
        raise


async def _unless_left(work: Awaitable[T], receive: Receive) -> T:
    """Return what `work` gives. If the client leaves before, cancel it.

    Raises:
        ClientLeft: the client has left.
    """
    answer = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((answer, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientLeft
        return answer.result()
    finally:
        answer.cancel()
        leaving.cancel()
        await asyncio.wait((answer, leaving))


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

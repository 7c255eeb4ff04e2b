"""The HTTP application: it finds the endpoint that a request names, and returns the endpoint's answer, or an error as
JSON.

POST /v1/endpoints/NAME/predict   {"records": [...]}, or a stream of Arrow: predictions, one for each record or row
POST /v1/endpoints/NAME/feedback  {"labels": [...]}: labels of predictions, each with the prediction's id
GET  /health                      the server answers
GET  /ready                       the models are loaded (503 until then)
GET  /metrics                     what the server counts, for Prometheus
GET  /openapi.json                all paths and their requests, described for programs
GET  /                            a page that shows this description and can send requests
/v2/...                           the Open Inference Protocol: see `inference/protocol.py`
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from headrace.errors import HeadraceError, near
from headrace.serve.access.access import PREFLIGHT, Access
from headrace.serve.access.tokens import FEEDBACK, PREDICT
from headrace.serve.exchange import Exchange, Scope, Send
from headrace.serve.inference import protocol
from headrace.serve.inference.protocol import Described, Inferred
from headrace.serve.inference.tensors import Inquiry, inquiry_in
from headrace.serve.metrics import BYTES, KIND, LATENCY, REQUESTS, Metrics, Reading, text
from headrace.serve.openapi.document import document
from headrace.serve.openapi.page import page
from headrace.serve.openapi.schemas import Interface
from headrace.serve.refusals import (
    RETRY_AFTER,
    ContentRefused,
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
from headrace.serve.request import ARROW, HAS_LEFT, ClientLeft, Headers, Limits, Receive, values

READ = ("GET", "HEAD")
_END = b"/"
"""The key for a path that ends here, in the tree of the parts of paths. No part contains a `/`, so no part is this
key."""
HTML = b"text/html; charset=utf-8"
LEFT = 499
"""The status under which a request is counted if its client left before the answer. nginx uses this status too."""
_log = logging.getLogger("headrace.serve")


def _tell_nobody(variant: str, version: str) -> None:
    del variant, version


class Asked(NamedTuple):
    """A request to an endpoint: its body, its `traceparent` (empty if it has none), and when it came, in Unix seconds.
    As soon as a variant is chosen, `answers` is called with the variant and its version of the model."""

    body: bytes
    trace: str
    at: float
    answers: Callable[[str, str], None] = _tell_nobody


class Predicted(NamedTuple):
    """An endpoint's answer. For each record, `predictions` has the prediction by column, and `ids` has the prediction's
    id; `ids` is None if the predictions aren't logged. `variant` and `version` say which variant and which version of
    the model answered. If several variants answered, both are None; `variants` and `versions` then have one entry for
    each record."""

    predictions: Sequence[Mapping[str, Any]]
    ids: Sequence[str] | None
    variant: str | None
    version: str | None
    variants: Sequence[str] = ()
    versions: Sequence[str] = ()

    def content(self) -> dict[str, Any]:
        """Return the content of the response to the client."""
        content = self._asdict()
        return content if self.variants else {name: content[name] for name in self._fields[:4]}


class PredictedStream(NamedTuple):
    """An endpoint's answer to a stream of Arrow. `stream` has one row for each row of the request, and its column `id`
    has the ids of the predictions, or nulls if they aren't logged. If several variants answered, the stream also has
    the columns `variant` and `version`, and the fields `variant` and `version` list all that answered."""

    stream: bytes
    variant: str
    version: str


class Endpoint(Protocol):
    """Answers the requests for one endpoint."""

    def predict(self, request: Asked, /) -> Awaitable[Predicted]:
        """Return the answer to a request. This call is cancelled if the client leaves or the time is up.

        Raises:
            RecordsRefused: the records don't fit the model.
            RowsRefused: the model can't answer for these records.
            ModelBusy: too many requests wait already.
            ModelGone: the model's process has ended.
            LogError: the answers can't be logged.
        """
        ...

    def predict_stream(self, request: Asked, /) -> Awaitable[PredictedStream]:
        """Return the answer to a request whose body is a stream of Arrow. See `predict`."""
        ...

    def interface(self) -> Interface:
        """Return what the endpoint takes and gives at the moment."""
        ...

    def feedback(self, body: bytes, /) -> Awaitable[int]:
        """Log the labels in a request's body, and return their number.

        Raises:
            LabelsRefused: the labels are refused.
            NothingKept: the endpoint logs no predictions.
            LogError: the labels can't be logged.
        """
        ...

    def infer(self, request: Asked, inquiry: Inquiry, version: str | None, /) -> Awaitable[Inferred]:
        """Return the answer to a request with tensors. The version `version` answers; if it is None, the route chooses
        a version. See `predict`.

        Raises:
            VersionUnknown: the version has no share of the requests.
        """
        ...

    def described(self, version: str | None, /) -> Described:
        """Return what a version takes and gives. If `version` is None, it is the version of `production`.

        Raises:
            VersionUnknown: the version has no share of the requests.
            ModelGone: the version can't answer.
        """
        ...


class Endpoints(Protocol):
    """The endpoints of a server."""

    def find(self, name: str, /) -> Endpoint | None:
        """Return the endpoint with this name, or None if there is none, or if it can't answer. `name` is any text that
        a client sent."""
        ...

    def get(self, name: str, /) -> Endpoint | None:
        """Return the endpoint with this name, even if it can't answer yet. Return None if there is none."""
        ...

    def names(self) -> Sequence[str]:
        """Return the names of all endpoints."""
        ...

    def is_ready(self) -> bool:
        """Return whether all endpoints can answer."""
        ...


class Path(NamedTuple):
    """A path of the server. A part in braces, such as `{endpoint}`, matches any name. `answer` answers requests with
    these HTTP methods."""

    path: str
    answer: Callable[[Exchange], Awaitable[Response]]
    methods: tuple[str, ...] = READ


class Paths:
    """The paths of a server. If a part of a request's path matches both a fixed part and a name, the fixed part is
    used."""

    def __init__(self, *paths: Path) -> None:
        self.known = paths
        self._root: dict[bytes | None, Any] = {}
        for path in paths:
            node = self._root
            for part in path.path.encode().split(b"/")[1:]:
                node = node.setdefault(None if part.startswith(b"{") else part, {})
            node[_END] = path, [part[1:-1] for part in path.path.split("/") if part.startswith("{")]

    def find(self, raw: bytes) -> tuple[Path, Mapping[str, str]] | None:
        """Return the path that matches a request's path, and the names in it. Return None if no path matches.

        >>> async def answer(exchange): ...
        >>> paths = Paths(Path("/v1/endpoints/{endpoint}/predict", answer))
        >>> paths.find(b"/v1/endpoints/my%20own/predict")[1]
        {'endpoint': 'my own'}
        >>> paths.find(b"/v1/endpoints/my/own/predict")
        """
        node, names = self._root, []
        for part in raw.split(b"/")[1:]:
            found = node.get(part)
            if found is None:
                found = node.get(None)
                names.append(part)
            if found is None:
                return None
            node = found
        if _END not in node or not raw.startswith(b"/"):
            return None
        path, keys = node[_END]
        texts = [unquote_to_bytes(name).decode("utf-8", "replace") for name in names]
        return path, dict(zip(keys, texts, strict=True))


class App:
    """Answers HTTP requests, as an ASGI application. It is called in one event loop. If the server has several
    web workers, `of_all` returns what all of them have counted, by web worker."""

    def __init__(
        self,
        endpoints: Endpoints,
        access: Access,
        limits: Limits,
        metrics: Metrics,
        of_all: Callable[[], Awaitable[Reading]] | None = None,
    ) -> None:
        self._of_all = of_all
        self._endpoints = endpoints
        self._access = access
        self._limits = limits
        self.metrics = metrics
        self.paths = Paths(
            Path("/health", self._health),
            Path("/ready", self._ready),
            Path("/metrics", self._measured),
            Path("/openapi.json", self._described),
            Path("/", self._page),
            Path("/v1/endpoints/{endpoint}/predict", self._predict, ("POST",)),
            Path("/v1/endpoints/{endpoint}/feedback", self._feedback, ("POST",)),
            Path("/v2", self._about),
            Path("/v2/health/live", self._live),
            Path("/v2/health/ready", self._ready),
            *self._inference("/v2/models/{endpoint}"),
            *self._inference("/v2/models/{endpoint}/versions/{version}"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. If its client leaves first, send nothing."""
        exchange = Exchange(scope, receive, self._limits)
        try:
            response = await self._response(exchange)
        except ClientLeft:
            self._count(exchange, LEFT, 0)
            return
        self._count(exchange, response.status, len(response.body))
        headers = [
            (b"content-type", response.kind),
            (b"content-length", str(len(response.body)).encode()),
            *response.headers,
            *self._access.cors(exchange.headers),
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _response(self, exchange: Exchange) -> Response:
        try:
            return await exchange.in_time(self._answer(exchange))
        except ClientLeft:
            raise
        except asyncio.CancelledError as error:  # only clients that leave and a server that stops cancel requests
            if error.args == (HAS_LEFT,):
                raise ClientLeft from None
            return self._refused(exchange, Stopping("the server stops", hint="try again", headers=(RETRY_AFTER,)))
        except Exception as error:  # noqa: BLE001  whatever it is, the client must hear of it, but not its text
            response = self._refused(exchange, error)
            if response.status >= 500 and not isinstance(error, Refusal):
                _log.error("a request failed: %s", error, exc_info=error if response.status == 500 else None)
            return response

    def _refused(self, exchange: Exchange, error: Exception) -> Response:
        exchange.error = type(error).__name__ if isinstance(error, HeadraceError) else HeadraceError.__name__
        response = answer_to(error)
        is_inference = exchange.path.split(b"/")[1:2] == [b"v2"]
        return protocol.error_of(response, error) if is_inference else response

    async def _answer(self, exchange: Exchange) -> Response:
        self._access.check(exchange.headers)
        found = self.paths.find(exchange.path)
        if found is None:
            raise PathUnknown(
                f"there is no path `{exchange.path.decode('latin-1'):.80}`",
                hint="POST to `/v1/endpoints/NAME/predict`",
            )
        path, exchange.names = found
        known = ", ".join(path.methods)
        if exchange.method == "OPTIONS" and self._is_preflight(exchange.headers):
            return answered(200, {}, ((b"access-control-allow-methods", known.encode()), *PREFLIGHT))
        if exchange.method not in path.methods:
            raise WrongMethod(
                f"this path doesn't accept the method `{exchange.method:.20}`",
                hint=f"use {known}",
                headers=((b"allow", known.encode()),),
            )
        return await path.answer(exchange)

    def _is_preflight(self, headers: Headers) -> bool:
        """Return whether this request is a preflight of a browser, sent for a page of a site that may read the
        answers. With a preflight, a browser asks if the page may send its real request."""
        return len(self._access.cors(headers)) > 1 and bool(values(headers, b"access-control-request-method"))

    def _count(self, exchange: Exchange, status: int, sent: int) -> None:
        metrics, endpoint = self.metrics, exchange.endpoint
        variant = endpoint, exchange.variant, exchange.version
        metrics.add(REQUESTS, *variant, str(status), exchange.error)
        if endpoint:
            metrics.took(LATENCY, exchange.seconds, *variant)
            metrics.add(BYTES, endpoint, "in", by=exchange.body_bytes)
            metrics.add(BYTES, endpoint, "out", by=sent)

    # -- what answers a path -------------------------------------------------------------------------------------

    async def _health(self, exchange: Exchange) -> Response:
        del exchange
        return answered(200, {"healthy": True})

    async def _ready(self, exchange: Exchange) -> Response:
        del exchange
        if not self._endpoints.is_ready():
            raise _not_ready()
        return answered(200, {"ready": True})

    async def _measured(self, exchange: Exchange) -> Response:
        endpoints = self._access.readable(exchange.headers)
        reading = self.metrics.reading() if self._of_all is None else await self._of_all()
        return Response(200, text(reading, endpoints, by_worker=self._of_all is not None).encode(), kind=KIND)

    async def _described(self, exchange: Exchange) -> Response:
        readable = self._access.readable(exchange.headers)
        names = [name for name in self._endpoints.names() if readable is None or name in readable]
        found = {name: self._endpoints.find(name) for name in names}
        interfaces = {name: None if each is None else each.interface() for name, each in found.items()}
        return answered(200, document(interfaces, with_tokens=self._access.tokens is not None))

    async def _page(self, exchange: Exchange) -> Response:
        """Return the page. A browser gets it without a token, since it says nothing about this server."""
        del exchange
        content, headers = page()
        return Response(200, content, headers, HTML)

    async def _predict(self, exchange: Exchange) -> Response:
        endpoint = self._endpoint(exchange)
        form = exchange.form()
        asked = Asked(await exchange.body(), exchange.trace, exchange.at, exchange.answers)
        if form == "json":
            predicted = await endpoint.predict(asked)
            return answered(200, predicted.content())
        found = await endpoint.predict_stream(asked)
        named = ((b"headrace-variant", found.variant.encode()), (b"headrace-version", found.version.encode()))
        return Response(200, found.stream, named, ARROW.encode())

    async def _feedback(self, exchange: Exchange) -> Response:
        """Log labels. They are accepted even while the endpoint's models aren't loaded."""
        name = exchange.names["endpoint"]
        self._access.check_endpoint(exchange.headers, name, FEEDBACK)
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise self._unknown(name)
        exchange.endpoint = name
        if exchange.form() != "json":
            raise ContentRefused("labels must be JSON", hint="send `Content-Type: application/json`")
        count = await endpoint.feedback(await exchange.body())
        return answered(200, {"labels": count})

    # -- the Open Inference Protocol -----------------------------------------------------------------------------

    def _inference(self, model: str) -> tuple[Path, ...]:
        """Return the paths of the Open Inference Protocol below `model`, which is the path of a model or of one of its
        versions."""
        return (
            Path(model, self._metadata),
            Path(f"{model}/ready", self._model_ready),
            Path(f"{model}/infer", self._infer, ("POST",)),
        )

    async def _about(self, exchange: Exchange) -> Response:
        self._access.readable(exchange.headers)
        return answered(200, protocol.server())

    async def _live(self, exchange: Exchange) -> Response:
        del exchange
        return answered(200, {"live": True})

    async def _metadata(self, exchange: Exchange) -> Response:
        described = self._endpoint(exchange).described(exchange.names.get("version"))
        return answered(200, protocol.metadata(exchange.endpoint, described))

    async def _model_ready(self, exchange: Exchange) -> Response:
        self._endpoint(exchange).described(exchange.names.get("version"))
        return answered(200, {"name": exchange.endpoint, "ready": True})

    async def _infer(self, exchange: Exchange) -> Response:
        endpoint = self._endpoint(exchange)
        head_bytes = exchange.head_bytes()
        asked = Asked(await exchange.body(), exchange.trace, exchange.at, exchange.answers)
        inquiry = inquiry_in(asked.body, head_bytes)
        found = await endpoint.infer(asked, inquiry, exchange.names.get("version"))
        return protocol.response_of(exchange.endpoint, found, inquiry)

    # -- inside --------------------------------------------------------------------------------------------------

    def _endpoint(self, exchange: Exchange) -> Endpoint:
        """Return the endpoint that the path names, after checking that the client may send it requests."""
        name = exchange.names["endpoint"]
        self._access.check_endpoint(exchange.headers, name, PREDICT)
        endpoint = self._endpoints.find(name)
        if endpoint is not None or name in self._endpoints.names():
            exchange.endpoint = name
        if endpoint is not None:
            return endpoint
        if exchange.endpoint:
            raise _not_ready()
        raise self._unknown(name)

    def _unknown(self, name: str) -> EndpointUnknown:
        hint = near(name[:80], sorted(self._endpoints.names()), "there are") if self._access.may_list else None
        return EndpointUnknown(f"there is no endpoint `{name:.80}`", hint=hint)


def _not_ready() -> NotReady:
    return NotReady("the models aren't loaded yet", hint="try again later", headers=(RETRY_AFTER,))

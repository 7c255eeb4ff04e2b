"""An endpoint that answers: its route chooses a version of its model, the version's process answers, and the answers
are logged before they leave."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from headrace.errors import DataError, HeadraceError
from headrace.models.streams import stream_of, table_in
from headrace.serve.app import Asked, Predicted, PredictedStream
from headrace.serve.asking import Model, ModelGone, Outcome, RowsRefused
from headrace.serve.choice import chosen
from headrace.serve.metrics import LOG, MIRRORS, PREDICTIONS, TAKEN, Metrics
from headrace.serve.openapi.schemas import Interface
from headrace.serve.predictions.prediction import Answered, PredictionId
from headrace.serve.records import Records, Rows
from headrace.spec.endpoint import SHADOW, Route, Variant
from headrace.spec.signature import Column

MOST_MIRRORED = 16
"""How many requests the shadow may be answering; copies of later ones are dropped, so it delays nobody."""
MOST_STREAM_ROWS = 100_000
"""How many rows a request in Arrow may have."""
ANSWER_S = 20.0
"""How long a model may take to answer, in seconds. After that, its process is ended and started anew. It is less than
a request may take (`Limits.request_s`), so that the client hears why."""

WhyEnded = Callable[[], Awaitable[str]]
_encode = msgspec.json.Encoder().encode


class Log(Protocol):
    """Where answers are kept."""

    async def keep(self, answered: Answered, /) -> PredictionId:
        """Keep the answers to a request, and return the id of the first one once they are durable."""
        ...


class Running:
    """A version of a model (`delays:3`) whose process answers. `why_ended` says why the process has ended, once it
    has. `gives` are the columns of its answers, if they are known, and `example` is a made-up record."""

    def __init__(
        self,
        version: str,
        model: Model,
        records: Records,
        why_ended: WhyEnded,
        *,
        gives: Sequence[Column] = (),
        example: Mapping[str, Any] | None = None,
    ) -> None:
        self.why_ended = why_ended
        self.version = version
        self.model = model
        self.records = records
        self.gives = gives
        self.example = example or {}
        self._asked = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def answers(self, rows: Rows, within_s: float) -> Outcome:
        """Return the model's answers for rows."""
        with self._busy():
            return await self.model.ask(rows.columns, rows.count, within_s)

    async def answers_stream(self, rows: bytes, count: int, within_s: float) -> Outcome:
        """Return the model's answers for a stream of Arrow with `count` rows, as a stream."""
        with self._busy():
            return await self.model.ask_stream(rows, count, within_s)

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self._asked += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._asked -= 1
            if not self._asked:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until it answers no request any more."""
        await self._idle.wait()


class LiveEndpoint:
    """An endpoint with a route and the versions that the route names."""

    def __init__(self, name: str, log: Log, *, answer_s: float = ANSWER_S, metrics: Metrics | None = None) -> None:
        self.name = name
        self._log = log
        self._metrics = metrics or Metrics()
        self._answer_s = answer_s
        self._route: Route | None = None
        self._running: Mapping[int, Running] = {}
        self._mirrors: set[asyncio.Task[None]] = set()

    @property
    def is_ready(self) -> bool:
        """Whether it can answer all that comes."""
        return self._route is not None and self._alive(self._route.main) is not None

    def go(self, route: Route, running: Mapping[int, Running]) -> None:
        """Answer by this route from now on. `running` are the versions that can answer, at each moment: the caller
        changes it when versions start and end. Requests that are being answered aren't disturbed."""
        self._route, self._running = route, running

    async def predict(self, request: Asked) -> Predicted:
        """Answer a request, and keep the answers.

        If the chosen variant can't answer because its process has ended, the variant `production` answers.

        Raises:
            RecordsRefused, RowsRefused: the records don't fit the model.
            ModelBusy, ModelSlow, ModelGone: the model can't answer now.
            LogError: the answers can't be logged.
        """
        began, salt = time.perf_counter(), secrets.randbits(64)
        route, variant, running = self._choice(f"{salt:016x}")
        request.answers(variant.name, running.version)
        rows = running.records.rows(request.body)
        for fault, count in rows.taken.items():
            self._metrics.add(TAKEN, self.name, fault, by=count)
        outcome = await running.answers(rows, self._answer_s)
        answered = _answered(self.name, variant.name, running.version, request, rows, outcome, salt, began)
        first = await self._kept(answered)
        if route.shadow is not None:
            self._mirror(route.shadow, request, rows)
        predictions = _by_row(outcome.columns, rows.count)
        return Predicted(predictions, _ids(first, rows.count), variant.name, running.version)

    async def predict_stream(self, request: Asked) -> PredictedStream:
        """Answer a request whose body is a stream of Arrow, and keep the answers. The shadow gets no copy of it.

        Raises:
            RowsRefused: the body is no sound stream, has no rows, or the rows don't fit the model.
            ModelBusy, ModelSlow, ModelGone: the model can't answer now.
            LogError: the answers can't be logged.
        """
        began, salt = time.perf_counter(), secrets.randbits(64)
        count = await asyncio.to_thread(_rows_in, request.body)
        _, variant, running = self._choice(f"{salt:016x}")  # after that wait, or the version might be gone by now
        request.answers(variant.name, running.version)
        outcome = await running.answers_stream(request.body, count, self._answer_s)
        assert outcome.arrow is not None
        first = await self._kept(
            Answered(
                count=count,
                at=request.at,
                endpoint=self.name,
                variant=variant.name,
                version=running.version,
                form="arrow",
                given=request.body,
                answers=outcome.arrow,
                latency_s=time.perf_counter() - began,
                salt=salt,
                trace=request.trace,
            )
        )
        stream = await asyncio.to_thread(_with_ids, outcome.arrow, first, count)
        return PredictedStream(stream, variant.name, running.version)

    def interface(self) -> Interface:
        """Return what the main variant takes and gives. Call it while the endpoint is ready."""
        assert self._route is not None
        running = self._running[self._route.main.version]
        return Interface(running.version, running.records, running.gives, running.example)

    async def end(self) -> None:
        """End what still answers copies of requests."""
        for each in self._mirrors:
            each.cancel()
        await asyncio.gather(*self._mirrors, return_exceptions=True)

    async def _kept(self, answered: Answered) -> PredictionId:
        """Keep answers, and return the id of the first one once they are durable."""
        began = time.perf_counter()
        first = await self._log.keep(answered)
        self._metrics.took(LOG, time.perf_counter() - began, self.name)
        self._metrics.add(PREDICTIONS, self.name, answered.variant, answered.version, by=answered.count)
        return first

    def _choice(self, key: str) -> tuple[Route, Variant, Running]:
        route = self._route
        assert route is not None, "requests come before there is a route"
        for variant in (chosen(route, key), route.main):
            if (running := self._alive(variant)) is not None:
                return route, variant, running
        raise ModelGone(
            f"version {route.main.version} of endpoint `{self.name}` isn't running", hint="try again in a moment"
        )

    def _alive(self, variant: Variant) -> Running | None:
        running = self._running.get(variant.version)
        return running if running is not None and running.model.is_alive else None

    def _mirror(self, version: int, request: Asked, rows: Rows) -> None:
        running = self._running.get(version)
        if running is None or not running.model.is_alive or len(self._mirrors) >= MOST_MIRRORED:
            self._metrics.add(MIRRORS, self.name, "dropped")
            return
        mirror = asyncio.ensure_future(self._shadowed(running, request, rows))
        self._mirrors.add(mirror)
        mirror.add_done_callback(self._mirrors.discard)

    async def _shadowed(self, running: Running, request: Asked, rows: Rows) -> None:
        """Let the shadow answer a copy of a request, and keep its answers. What it can't answer disturbs nobody."""
        began = time.perf_counter()
        try:
            outcome = await running.answers(rows, self._answer_s)
            salt = secrets.randbits(64)
            await self._kept(_answered(self.name, SHADOW, running.version, request, rows, outcome, salt, began))
        except HeadraceError:
            self._metrics.add(MIRRORS, self.name, "failed")
        else:
            self._metrics.add(MIRRORS, self.name, "answered")


def _answered(
    endpoint: str, variant: str, version: str, request: Asked, rows: Rows, outcome: Outcome, salt: int, began: float
) -> Answered:
    return Answered(
        count=rows.count,
        at=request.at,
        endpoint=endpoint,
        variant=variant,
        version=version,
        form="json",
        given=_encode(_by_row(rows.columns, rows.count)),
        answers=_encode(_by_row(outcome.columns, rows.count)),
        latency_s=time.perf_counter() - began,
        salt=salt,
        names=rows.names,
        trace=request.trace,
    )


def _rows_in(stream: bytes) -> int:
    """Return the number of rows in a stream of a client, after checking it."""
    try:
        count: int = table_in(stream).num_rows
    except DataError as error:
        raise RowsRefused(error.message, hint=error.hint) from error
    if not 0 < count <= MOST_STREAM_ROWS:
        raise RowsRefused(
            f"the stream has {count:,} rows, and a request may have 1 to {MOST_STREAM_ROWS:,}",
            hint="send them in several requests",
        )
    return count


def _with_ids(stream: bytes, first: PredictionId, count: int) -> bytes:
    """Return a stream of answers with the ids of the predictions as its first column."""
    table = table_in(stream)
    return stream_of(table.add_column(0, "id", pa.array(_ids(first, count), pa.string())))


def _ids(first: PredictionId, count: int) -> list[str]:
    return [str(first._replace(offset=first.offset + place)) for place in range(count)]


def _by_row(columns: Mapping[str, Sequence[Any]], count: int) -> list[dict[str, Any]]:
    """Return columns as one object for each row."""
    if not columns:
        return [{} for _ in range(count)]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

"""An endpoint that answers requests: its route chooses a version of its model, the version's process answers, and the
answers are logged before they are sent, as the endpoint's settings say."""

from __future__ import annotations

import asyncio
import secrets
import struct
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from headrace.errors import HeadraceError, UsageError
from headrace.serve.app import Asked, Predicted, PredictedStream
from headrace.serve.asking import ModelGone, Outcome, RowsRefused
from headrace.serve.choice import Places, places_of
from headrace.serve.inference.protocol import Described, Inferred, joined_columns, variant_with, versions_of
from headrace.serve.inference.tensors import IDS, Inquiry, Tensors, outputs_of
from headrace.serve.metrics import MIRRORS, TAKEN, Metrics
from headrace.serve.openapi.schemas import Interface
from headrace.serve.predictions.feedback import feedback_in
from headrace.serve.predictions.keeping import Keeper, Keeping, Say
from headrace.serve.predictions.prediction import Answered, Form
from headrace.serve.predictions.redaction import Redaction
from headrace.serve.predictions.suspects import FIRST_ROWS, Suspect
from headrace.serve.records import MOST_FAULTS, Body, Fault, Given, Records, RecordsRefused, Rows
from headrace.serve.running import Running
from headrace.serve.streams import AnswerPart, Stream, StreamPart, joined, read, with_ids
from headrace.spec.endpoint import SHADOW, Route, Variant
from headrace.spec.signature import Column

MOST_MIRRORED = 16
"""The most requests that the shadow answers at the same time. Copies of further requests are dropped, so the shadow
delays nobody."""
ANSWER_S = 20.0
"""How long a model may take to answer, in seconds. After that, its process is ended and started anew. This is less than
the limit for a request (`Limits.request_s`), so that the client gets the reason."""

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class _Share(NamedTuple):
    """The rows of a request that one variant answers: those at the positions `places`, or all rows if `places` is
    None."""

    variant: str
    running: Running
    places: Sequence[int] | None
    rows: Rows | StreamPart

    def ask(self, within_s: float, suspect: Suspect) -> Awaitable[Outcome]:
        """Return the answers for the rows."""
        if isinstance(self.rows, Rows):
            return self.running.answers(self.rows, within_s, suspect)
        return self.running.answers_stream(self.rows.asked, self.rows.count, within_s, suspect)

    @property
    def form(self) -> Form:
        """The form in which the rows are logged."""
        return "json" if isinstance(self.rows, Rows) else "arrow"

    def given(self, redaction: Redaction, most: int | None = None) -> bytes:
        """Return the rows as they are logged: all of them, or at least the first `most`."""
        if not isinstance(self.rows, Rows):
            return self.rows.given
        columns = {name: values[:most] for name, values in {**self.rows.columns, **self.rows.beside}.items()}
        count = self.rows.count if most is None else min(most, self.rows.count)
        return _encode(_by_row(redaction.columns(columns, self.running.records.takes), count))


class _Kept(NamedTuple):
    """The answers for a share, and the ids under which they are in the log; None if not all answers to the request
    are."""

    share: _Share
    outcome: Outcome
    ids: Sequence[str] | None


class LiveEndpoint:
    """An endpoint with a route and the versions that the route names."""

    def __init__(
        self,
        name: str,
        keeping: Keeping,
        *,
        answer_s: float = ANSWER_S,
        metrics: Metrics | None = None,
        say: Say = lambda _: None,
    ) -> None:
        self.name = name
        self._metrics = metrics or Metrics()
        self._keeper = Keeper(name, keeping, self._metrics, say)
        self.redaction = keeping.redaction
        self._answer_s = answer_s
        self._route: Route | None = None
        self._running: Mapping[int, Running] = {}
        self._mirrors: set[asyncio.Task[None]] = set()
        self._told_at = 0.0
        self._salts = _salts()

    @property
    def is_ready(self) -> bool:
        """Whether the endpoint can answer requests."""
        return self._route is not None and self._alive(self._route.main) is not None

    def go(self, route: Route, running: Mapping[int, Running]) -> None:
        """Use this route from now on. `running` are the versions that can answer at any moment, by number: the caller
        changes this mapping when versions start and end. Requests that are being answered aren't affected."""
        self._route, self._running = route, running

    async def predict(self, request: Asked) -> Predicted:
        """Answer a request, and log the answers as the endpoint's settings say (`Keeping`).

        If the route names a key column, the value of this column in a record decides which variant answers for the
        record. So several variants may answer one request. If the process of a chosen variant has ended, the variant
        `production` answers instead.

        Raises:
            RecordsRefused, RowsRefused: the records don't fit the model.
            ModelBusy, ModelSlow, ModelGone: the model can't answer now.
            LogError: the answers can't be logged.
        """
        began, route, unlogged = time.perf_counter(), self._routed(), self._keeper.why_not()
        shares = self._shares(route, request, Body(request.body))
        kept = await self._kept(request, shares, await self._outcomes(request, shares), began, unlogged)
        self._mirror_all(route, request, shares, unlogged)
        return _predicted(kept)

    async def predict_stream(self, request: Asked) -> PredictedStream:
        """Answer a request whose body is a stream of Arrow, and log the answers. The shadow gets no copy of the
        request. For the rest, see `predict`.

        Raises:
            RowsRefused: the body isn't a valid stream or has no rows, or the rows don't fit the model.
        """
        began = time.perf_counter()
        route, stream, divided = await self._read(request.body)
        shares = []
        with ExitStack() as held:
            for name, places in divided.items():
                variant, running = self._runner(route, name)
                request.answers(variant.name, running.version)
                held.enter_context(running.busy())
                records = _records(running, route)
                part = await asyncio.to_thread(stream.part, places, records.takes, records.beside, self.redaction)
                shares.append(_Share(variant.name, running, places, part))
            outcomes = await self._outcomes(request, shares)
            parts = [
                AnswerPart(outcome.arrow or b"", share.places, share.variant, share.running.version)
                for share, outcome in zip(shares, outcomes, strict=True)
            ]
            answers = await asyncio.to_thread(joined, parts)  # before they are logged: what can't be joined isn't kept
            kept = await self._kept(request, shares, outcomes, began, self._keeper.why_not())
        return PredictedStream(
            await asyncio.to_thread(with_ids, answers, _ids(kept)),
            ", ".join(dict.fromkeys(part.variant for part in parts)),
            ", ".join(dict.fromkeys(part.version for part in parts)),
        )

    async def infer(self, request: Asked, inquiry: Inquiry, version: str | None) -> Inferred:
        """Answer a request with tensors, and log the answers as records. If the client named a version, only this
        version answers. For the rest, see `predict`.

        Raises:
            VersionUnknown: the version has no share of the requests.
            RowsRefused: the model's answers can't be tensors.
        """
        began, route, unlogged = time.perf_counter(), self._routed(), self._keeper.why_not()
        shares = self._shares(route, request, Tensors(inquiry.inputs), version)
        outcomes = await self._outcomes(request, shares)
        whole = joined_columns([outcome.columns for outcome in outcomes], [share.places for share in shares])
        outputs = outputs_of(whole, shares[0].running.gives, inquiry.wanted)
        kept = await self._kept(request, shares, outcomes, began, unlogged)
        self._mirror_all(route, request, shares, unlogged)
        ids = _ids(kept) or [""] * sum(share.rows.count for share in shares)
        variants = {(each.variant, each.running.version.rpartition(":")[2]) for each in shares}
        return Inferred(outputs, ids, *(variants.pop() if len(variants) == 1 else (None, None)))

    def described(self, version: str | None) -> Described:
        """Return what a version takes and gives. If `version` is None, it is the version of `production`.

        Raises:
            VersionUnknown: the version has no share of the requests.
            ModelGone: the version can't answer.
        """
        route = self._routed()
        _, running = self._named(route, str(route.main.version) if version is None else version)
        records = _records(running, route)
        takes = [*records.takes, *(Column(name=name, type="string") for name in records.beside)]
        return Described(versions_of(route), takes, running.gives)

    def interface(self) -> Interface:
        """Return what the main variant takes and gives. Call it while the endpoint is ready."""
        route = self._routed()
        running = self._running[route.main.version]
        records = _records(running, route)
        about = {route.key: "A-17", route.time: "2026-01-31"}
        example = {**running.example, **{name: about[name] for name in records.beside}}
        return Interface(running.version, records, running.gives, example)

    async def feedback(self, body: bytes) -> int:
        """Log the labels in the body of a request, and return their number. A label never has an earlier time than a
        label that was logged before it, even if the clock was set back in between.

        Raises:
            LabelsRefused: the labels are refused.
            NothingKept: the endpoint logs no predictions.
            LogError: the labels can't be logged.
        """
        self._told_at = max(time.time(), self._told_at)
        feedback = feedback_in(body, self.name, at=self._told_at)
        await self._keeper.keep_feedback(feedback)
        return len(feedback.labels)

    async def end(self) -> None:
        """Cancel the answers of the shadow that aren't finished."""
        for each in self._mirrors:
            each.cancel()
        await asyncio.gather(*self._mirrors, return_exceptions=True)

    def _routed(self) -> Route:
        assert self._route is not None, "requests come before there is a route"
        return self._route

    async def _read(self, body: bytes) -> tuple[Route, Stream, Places]:
        """Return the endpoint's route, the rows of a stream, and which variants answer for them by this route. If the
        route changes while the rows are read, they are read again for the new route, since versions of the old one may
        have ended."""
        while True:
            route = self._routed()
            stream, places = await asyncio.to_thread(_read, body, route)
            if route == self._route:
                return route, stream, places

    def _shares(self, route: Route, request: Asked, given: Given, version: str | None = None) -> list[_Share]:
        """Return which variants answer for which rows of a request. If `version` is given, a variant with this version
        answers for all rows; otherwise the route chooses the variants.

        Raises:
            RecordsRefused: the rows don't fit the model.
            VersionUnknown: no variant has this version.
        """
        keys = None
        if version is None and route.key is not None and len(route.variants) > 1:
            keys = given.keys(_records(self._runner(route, route.main.name)[1], route))
        divided = places_of(route, keys) if version is None else {self._named(route, version)[0].name: None}
        shares, faults = [], list[Fault]()
        for name, places in divided.items():
            variant, running = self._runner(route, name)
            request.answers(variant.name, running.version)
            try:
                rows = given.rows(_records(running, route), places)
            except RecordsRefused as refused:
                faults += [_placed(fault, places) for fault in refused.faults]
                continue
            for fault, count in rows.taken.items():
                self._metrics.add(TAKEN, self.name, fault, by=count)
            shares.append(_Share(variant.name, running, places, rows))
        if faults:
            raise RecordsRefused(sorted(faults, key=lambda fault: fault.record or 0)[:MOST_FAULTS])
        return shares

    def _runner(self, route: Route, name: str) -> tuple[Variant, Running]:
        """Return the variant with this name and its version's process. If this variant can't answer, return the main
        variant and its version's process."""
        for variant in (route.variant(name), route.main):
            if variant is not None and (running := self._alive(variant)) is not None:
                return variant, running
        raise ModelGone(
            f"version {route.main.version} of endpoint `{self.name}` isn't running", hint="try again in a moment"
        )

    def _named(self, route: Route, version: str) -> tuple[Variant, Running]:
        """Return the variant with the version that a client named, and the version's process."""
        variant = variant_with(version, route)
        if (running := self._alive(variant)) is None:
            raise ModelGone(f"version {version} of endpoint `{self.name}` isn't running", hint="try again in a moment")
        return variant, running

    async def _outcomes(self, request: Asked, shares: Sequence[_Share]) -> list[Outcome]:
        """Return the answers of the variants, in the order of `shares`."""
        with ExitStack() as held:
            for share in shares:
                held.enter_context(share.running.busy())
            return await _together([share.ask(self._answer_s, self._suspect(request, share)) for share in shares])

    def _suspect(self, request: Asked, share: _Share) -> Suspect:
        """Return how a request is named in the server's log if a process ends while it answers."""
        given = None if self._keeper.is_off else partial(share.given, self.redaction, FIRST_ROWS)
        return Suspect(at=request.at, trace=request.trace, count=share.rows.count, form=share.form, given=given)

    async def _kept(
        self, request: Asked, shares: Sequence[_Share], outcomes: Sequence[Outcome], began: float, unlogged: str
    ) -> list[_Kept]:
        """Log the answers of the variants, and return the answers with their ids, as far as they are logged. `unlogged`
        is why they aren't to be logged; empty if they are."""
        if unlogged:
            for share in shares:
                self._keeper.leave(share.variant, share.running.version, share.rows.count, unlogged)
            return [_Kept(share, outcome, None) for share, outcome in zip(shares, outcomes, strict=True)]
        salt = next(self._salts)  # a shadow's copy gets another: who has a request's ids can't guess the copy's
        answered = [
            _answered(self.name, share, self.redaction, request, outcome, began, salt)
            for share, outcome in zip(shares, outcomes, strict=True)
        ]
        firsts = await _together([self._keeper.keep(each) for each in answered])
        is_whole = None not in firsts
        return [
            _Kept(share, outcome, first.texts(share.rows.count) if is_whole and first is not None else None)
            for share, outcome, first in zip(shares, outcomes, firsts, strict=True)
        ]

    def _alive(self, variant: Variant) -> Running | None:
        running = self._running.get(variant.version)
        return running if running is not None and running.model.is_alive else None

    def _mirror_all(self, route: Route, request: Asked, shares: Sequence[_Share], unlogged: str) -> None:
        if route.shadow is not None:
            for share in shares:
                self._mirror(route.shadow, request, share.rows, unlogged)

    def _mirror(self, version: int, request: Asked, rows: Rows | StreamPart, unlogged: str) -> None:
        running = self._running.get(version)
        if running is None or not running.model.is_alive or len(self._mirrors) >= MOST_MIRRORED:
            self._metrics.add(MIRRORS, self.name, "dropped")
            return
        mirror = asyncio.ensure_future(self._shadowed(request, _Share(SHADOW, running, None, rows), unlogged))
        self._mirrors.add(mirror)
        mirror.add_done_callback(self._mirrors.discard)

    async def _shadowed(self, request: Asked, share: _Share, unlogged: str) -> None:
        """Let the shadow answer a copy of a request, and log its answers. If it fails, this is only counted."""
        try:
            began = time.perf_counter()
            await self._kept(request, [share], await self._outcomes(request, [share]), began, unlogged)
        except HeadraceError:
            self._metrics.add(MIRRORS, self.name, "failed")
        else:
            self._metrics.add(MIRRORS, self.name, "answered")


def _salts(at_once: int = 512) -> Iterator[int]:
    """Yield numbers of 64 bits that nobody can guess. Many are drawn at once, since each call of the system takes
    longer than the writing of an answer."""
    while True:
        yield from struct.unpack(f"{at_once}Q", secrets.token_bytes(8 * at_once))


def _records(running: Running, route: Route) -> Records:
    """Return the reader of an endpoint's records for a version. It knows the route's key and time columns.

    Raises:
        RowsRefused: the version takes the route's time column, but not as a time.
    """
    try:
        return running.records.about(route.key, route.time)
    except UsageError as error:
        raise RowsRefused(error.message, hint=error.hint) from error


def _read(body: bytes, route: Route) -> tuple[Stream, Places]:
    """Return the rows of a stream, and which variants answer for them."""
    stream = read(body, route.key, route.time)
    return stream, places_of(route, stream.keys)


def _placed(fault: Fault, places: Sequence[int] | None) -> Fault:
    """Return a fault with the position of its record among all records of the request. In `fault`, the record is
    numbered among those at `places` (None: all)."""
    if places is None or fault.record is None:
        return fault
    return replace(fault, record=places[fault.record])


async def _together(work: Sequence[Awaitable[T]]) -> list[T]:
    """Await all of `work` at the same time, and return the results. If one fails, the others are cancelled."""
    if len(work) == 1:
        return [await work[0]]
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _answered(
    endpoint: str, share: _Share, redaction: Redaction, request: Asked, outcome: Outcome, began: float, salt: int
) -> Answered:
    rows = share.rows
    if isinstance(rows, Rows):
        answers, names = _encode(_by_row(outcome.columns, rows.count)), rows.names
    else:
        answers, names = outcome.arrow or b"", ()
    return Answered(
        count=rows.count,
        at=request.at,
        endpoint=endpoint,
        variant=share.variant,
        version=share.running.version,
        form=share.form,
        given=share.given(redaction),
        answers=answers,
        latency_s=time.perf_counter() - began,
        salt=salt,
        names=names,
        trace=request.trace,
    )


def _ids(kept: Sequence[_Kept]) -> Sequence[str] | None:
    """Return the ids of a request's predictions, in the order of its rows; None if not all of them are in the log."""
    parts = [{IDS: each.ids} for each in kept if each.ids is not None]
    return joined_columns(parts, [each.share.places for each in kept])[IDS] if len(parts) == len(kept) else None


def _predicted(kept: Sequence[_Kept]) -> Predicted:
    """Return the answers to a request, in the order of its records."""
    if len(kept) == 1:
        ((share, outcome, ids),) = kept
        return Predicted(_by_row(outcome.columns, share.rows.count), ids, share.variant, share.running.version)
    rows = [
        (place, prediction, share.variant, share.running.version)
        for share, outcome, _ in kept
        for place, prediction in zip(share.places or (), _by_row(outcome.columns, share.rows.count), strict=True)
    ]
    _, predictions, variants, versions = map(list, zip(*sorted(rows, key=itemgetter(0)), strict=True))
    ids = _ids(kept)
    if len(set(versions)) == len(set(variants)) == 1:  # `production` answered for a variant that couldn't
        return Predicted(predictions, ids, variants[0], versions[0])
    return Predicted(predictions, ids, None, None, variants, versions)


def _by_row(columns: Mapping[str, Sequence[Any]], count: int) -> list[dict[str, Any]]:
    """Return columns as one object for each row."""
    if not columns:
        return [{} for _ in range(count)]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

"""A version of a model whose process is running."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from headrace.serve.asking import Model, ModelGone, Outcome
from headrace.serve.predictions.suspects import Suspect
from headrace.serve.records import Records, Rows
from headrace.spec.signature import Column

WhyEnded = Callable[[], Awaitable[str]]
Ask = Callable[[Model, bool], Awaitable[Outcome]]
"""Asks a process for answers. If the second argument is True, it sends the rows alone."""


class Running:
    """A version of a model (`delays:3`) whose process answers. Once the process has ended, `why_ended` returns the
    reason. `gives` are the columns of the answers, if they are known, and `example` is a made-up record."""

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
        self._next: Running | None = None
        self._is_followed = asyncio.Event()
        self._asked = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def answers(self, rows: Rows, within_s: float, suspect: Suspect | None = None) -> Outcome:
        """Return the model's answers for rows. `suspect` is the request that they came in.

        If the process ends, the rows are sent to the next process of the version, as far as `within_s` seconds allow.
        Rows that had been sent together with others are then sent alone, so that only the request that ends processes
        fails. Rows that were sent alone when a process ended aren't sent again, so no request ends more than two
        processes.

        Raises:
            ModelGone: the process has ended, and the rows were sent alone, or no other process answered in time.
            ModelBusy, ModelSlow, RowsRefused: see `Model.ask`.
        """

        def ask(model: Model, is_alone: bool) -> Awaitable[Outcome]:
            return model.ask(rows.columns, rows.count, within_s, is_alone=is_alone, suspect=suspect)

        return await self._answered(ask, within_s)

    async def answers_stream(self, rows: bytes, count: int, within_s: float, suspect: Suspect | None = None) -> Outcome:
        """Return the model's answers for a stream of Arrow with `count` rows, as a stream. See `answers`."""

        def ask(model: Model, is_alone: bool) -> Awaitable[Outcome]:
            return model.ask_stream(rows, count, within_s, is_alone=is_alone, suspect=suspect)

        return await self._answered(ask, within_s)

    def follow(self, running: Running | None) -> None:
        """After the process has ended: `running` is the version's next process. If it is None, there will be none."""
        if not self._is_followed.is_set():
            self._next = running
            self._is_followed.set()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Return a context in which a new route can't end the process."""
        self._asked += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._asked -= 1
            if not self._asked:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until the process isn't answering any request."""
        await self._idle.wait()

    async def _answered(self, ask: Ask, within_s: float) -> Outcome:
        ends = asyncio.get_running_loop().time() + within_s
        try:
            with self.busy():
                return await ask(self.model, False)
        except ModelGone as gone:
            if gone.again == "no":
                raise
            first = gone
        try:
            async with asyncio.timeout_at(ends):
                return await self._answered_next(ask, first)
        except TimeoutError:
            raise first from None

    async def _answered_next(self, ask: Ask, gone: ModelGone) -> Outcome:
        """Return the answers of the next process, or of one after it. `gone` says how this process has ended."""
        running, is_alone = self, False
        while gone.again != "no":
            is_alone |= gone.again == "alone"
            await running._is_followed.wait()
            if running._next is None:
                break
            running = running._next
            try:
                with running.busy():
                    return await ask(running.model, is_alone)
            except ModelGone as error:
                gone = error
        raise gone

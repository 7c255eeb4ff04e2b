"""A version of a model whose process is running."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from headrace.serve.asking import Model, Outcome
from headrace.serve.records import Records, Rows
from headrace.spec.signature import Column

WhyEnded = Callable[[], Awaitable[str]]


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
        self._asked = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def answers(self, rows: Rows, within_s: float) -> Outcome:
        """Return the model's answers for rows."""
        with self.busy():
            return await self.model.ask(rows.columns, rows.count, within_s)

    async def answers_stream(self, rows: bytes, count: int, within_s: float) -> Outcome:
        """Return the model's answers for a stream of Arrow with `count` rows, as a stream."""
        with self.busy():
            return await self.model.ask_stream(rows, count, within_s)

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

"""The prediction log for code in an event loop, which awaits until answers are in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from headrace.errors import LogError
from headrace.serve.predictions.feedback import Feedback
from headrace.serve.predictions.log import PredictionLog
from headrace.serve.predictions.prediction import Answered, PredictionId
from headrace.serve.predictions.writer import Settled


class AwaitedLog:
    """A writer of the prediction log, for one event loop. Once answers are in the log, they are on disk; if the writer
    `is_buffered`, about a second later. When the log begins to fail, `say` is called in the writer's thread.

    Raises:
        LogError: the log's folder can't be made.
    """

    def __init__(
        self, log: PredictionLog, *, is_buffered: bool = False, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._log = log
        self._writer = log.writer(self._settled, is_buffered=is_buffered, say=say)

    async def keep(self, answered: Answered) -> PredictionId:
        """Log the answers to a request, and return the id of the first one once they are in the log.

        Raises:
            LogError: they can't be logged.
        """
        kept: asyncio.Future[PredictionId] = self._loop.create_future()
        self._writer.log(answered, kept)
        return await kept

    async def keep_feedback(self, feedback: Feedback) -> None:
        """Log feedback, and return once it is in the log.

        Raises:
            LogError: it can't be logged.
        """
        kept: asyncio.Future[None] = self._loop.create_future()
        self._writer.log(feedback, kept)
        await kept

    def close(self, within_s: float) -> bool:
        """Log the answers that were given so far, and close the segment. Return whether all is on disk; if not, say
        why. This takes at most `within_s` seconds and blocks the event loop, so call it only at the end."""
        is_closed = self._writer.close(within_s)
        self._log.close()
        return is_closed

    def _settled(self, batch: Sequence[Settled]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_tell, batch)


def _tell(batch: Sequence[Settled]) -> None:
    for each in batch:
        kept: asyncio.Future[PredictionId | None] = each.token
        if kept.done():  # its client has left
            continue
        kept.set_exception(each.first) if isinstance(each.first, LogError) else kept.set_result(each.first)

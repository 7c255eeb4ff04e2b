"""The writer of the prediction log in one process: a thread that logs answers and feedback, many entries with one
sync."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from headrace.errors import LogError
from headrace.serve.predictions.feedback import Feedback
from headrace.serve.predictions.prediction import Answered, PredictionId
from headrace.serve.predictions.segment import Segment

CLOSED = ".closed"
"""The suffix of a segment that nobody writes to any more."""
MOST_S = 60.0
"""The most seconds for which a segment is written to. Then it is closed, even if nothing more comes."""
MOST_BYTES = 64 << 20
"""The most bytes of rows and answers in a segment. Its last batch may exceed this."""
SYNC_S = 1.0
"""How often a buffered segment is synced, in seconds. A loss of power loses what was logged since the last sync."""
MOST_AT_ONCE = 1_000
"""The most entries that are logged with one sync. An entry has the answers to one request, or its feedback."""
MOST_WAITING_BYTES = 64 << 20
"""About how much memory the entries may need that wait for the disk. Further entries are refused."""
_BYTES_OF_ENTRY = 1_000
"""About how much memory an entry needs while it waits, without its rows and answers."""
_BYTES_OF_LABEL = 64
"""About how many bytes a label and its id have, without the characters of a text."""


class Settled(NamedTuple):
    """The result of logging the answers to one request, or the feedback in it. `token` is what the caller passed to
    `Writer.log`.

    `first` is the id of the first prediction (None for feedback) if the entry is in the log. It is the error if the log
    couldn't be written.
    """

    token: Any
    first: PredictionId | LogError | None


class Writer:
    """Logs the answers of one process, and feedback, into segments in a folder of its own.

    Entries that come while a batch is synced become the next batch. So under load, many requests share one sync; if the
    log is idle, a request doesn't wait for others. When a batch is on disk or couldn't be written, `settled` is called
    in the writer's thread with the results.

    If the writer `is_buffered`, batches aren't synced: `settled` is called when a batch is written. All batches are
    synced together every `sync_s` seconds. Entries that come during this sync wait for it. So if the disk is slow, the
    log becomes slow, but a loss of power doesn't lose more. If a sync fails, the next batch gets the error.

    When the log begins to fail, `say` is called with a line of text in the writer's thread: the next batch may never
    come, or nobody may look at its result.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        settled: Callable[[Sequence[Settled]], None],
        *,
        most_s: float = MOST_S,
        most_bytes: int = MOST_BYTES,
        is_buffered: bool = False,
        sync_s: float = SYNC_S,
        most_waiting_bytes: int = MOST_WAITING_BYTES,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._name = name
        self._settled = settled
        self._most_s = most_s
        self._most_bytes = most_bytes
        self._is_buffered = is_buffered
        self._sync_s = sync_s
        self._most_waiting_bytes = most_waiting_bytes
        self._say = say
        self._clock = clock
        self._queue: SimpleQueue[tuple[Answered | Feedback, Any] | None] = SimpleQueue()
        self._segment: Segment | None = None
        self._number = 0
        self._begun = 0.0
        self._bytes = 0
        self._unsynced_since: float | None = None
        self._failed: LogError | None = None
        self._is_failing = False
        self._ends = False
        self._given_bytes = self._settled_bytes = 0
        self._thread = Thread(target=self._work, name="headrace-prediction-log", daemon=True)
        self._thread.start()

    def log(self, entry: Answered | Feedback, token: Any) -> None:
        """Log the answers to a request, or the feedback in it, without waiting. `settled` gets the result later,
        together with `token`. Only one thread may call this.

        Raises:
            LogError: too many entries wait for the disk.
        """
        if self._given_bytes - self._settled_bytes >= self._most_waiting_bytes:
            most = f"{self._most_waiting_bytes:,} bytes"
            raise LogError(
                f"the prediction log `{self._folder}` can't keep up: {most} wait for its disk",
                hint="look whether the disk hangs or is overloaded",
            )
        self._given_bytes += _size(entry) + _BYTES_OF_ENTRY
        self._queue.put((entry, token))

    def close(self, within_s: float) -> bool:
        """Log all entries that were given so far, close the segment and end the thread. Return whether all that was
        logged is on disk; if not, say why. If closing takes longer than `within_s` seconds, the disk hangs: then return
        False, and the thread ends only when the process ends."""
        self._queue.put(None)
        self._thread.join(within_s)
        if self._thread.is_alive():
            self._say(f"the prediction log didn't close within {within_s:g} s; the next server seals what it has")
            return False
        return self._failed is None

    def _work(self) -> None:
        while not self._ends:
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001  an ended thread would let all wait who come later
                self._fail(error)
        try:
            self._leave()
        except Exception as error:  # noqa: BLE001  as above
            self._fail(error)

    def _turn(self) -> None:
        """Log what has come, or wait until something comes or the present segment must be synced or closed."""
        try:
            batch = [self._queue.get(timeout=self._rest_s())]
        except Empty:
            self._leave() if self._unsynced_since is None else self._sync()
            return
        while batch[-1] is not None and len(batch) < MOST_AT_ONCE and not self._queue.empty():
            batch.append(self._queue.get())
        self._ends = batch[-1] is None
        asked = [each for each in batch if each is not None]
        if asked:
            entries = [entry for entry, _ in asked]
            settled = self._written(entries, [token for _, token in asked])
            self._settled_bytes += sum(map(_size, entries)) + len(entries) * _BYTES_OF_ENTRY
            self._settled(settled)
            if self._is_sync_due():
                self._sync()

    def _rest_s(self) -> float | None:
        """Return how many seconds the present segment may stay open, or unsynced; None if no segment is open."""
        if self._segment is None:
            return None
        if self._unsynced_since is not None:
            return min(max(0.0, self._unsynced_since + self._sync_s - self._clock()), self._sync_s)
        return min(max(0.0, self._begun + self._most_s - self._clock()), self._most_s)

    def _is_sync_due(self) -> bool:
        """Return whether something was written, but not synced, for so long; or the clock was set back since."""
        return self._unsynced_since is not None and not 0 <= self._clock() - self._unsynced_since < self._sync_s

    def _sync(self) -> None:
        """Sync the present segment. If that fails, leave it as it is, and keep the error for the next batch."""
        assert self._segment is not None
        self._unsynced_since = None
        try:
            self._segment.sync()
        except Exception as error:  # noqa: BLE001  whatever it is, it isn't sure that the segment is on disk
            self._fail(error)
        else:
            self._is_failing = False

    def _fail(self, error: Exception) -> None:
        """Leave the present segment as it is, and keep the error for the next batch."""
        self._failed = self._told(error)
        self._abandon()

    def _told(self, error: Exception) -> LogError:
        """Return an error as `settled` gets it. Say it if the log only now begins to fail."""
        told = error if isinstance(error, LogError) else LogError(f"an answer can't be logged: {error!r}")
        if not self._is_failing:
            self._is_failing = True
            lost = f"; about the last {self._sync_s:g} s of it may be lost" if self._is_buffered else ""
            with suppress(OSError, ValueError):  # nobody reads the output any more
                self._say(f"the prediction log fails{lost}: {told.message}")
        return told

    def _written(self, batch: Sequence[Answered | Feedback], tokens: Sequence[Any]) -> list[Settled]:
        try:
            segment = self._open()
            offsets = segment.append(batch)
            if self._is_buffered and self._unsynced_since is None:
                self._unsynced_since = self._clock()
        except Exception as error:  # noqa: BLE001  whatever it is: who waits must hear of it, and the next batch be logged
            self._abandon()
            told = self._told(error)
            return [Settled(token, told) for token in tokens]
        self._is_failing = self._is_failing and self._is_buffered  # a buffered log works only once a sync does
        self._bytes += sum(map(_size, batch))
        return [
            Settled(
                token,
                PredictionId(segment.writer, segment.number, offset, each.salt) if isinstance(each, Answered) else None,
            )
            for token, offset, each in zip(tokens, offsets, batch, strict=True)
        ]

    def _open(self) -> Segment:
        """Return the segment to write to: a new one, if the present one is old or large."""
        now = self._clock()
        if self._segment is not None and (now - self._begun >= self._most_s or self._bytes >= self._most_bytes):
            self._leave()
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed
        if self._segment is None:
            self._number += 1
            self._segment = Segment.begin(
                self._folder, self._name, self._number, now=now, is_buffered=self._is_buffered
            )
            self._begun, self._bytes = now, 0
        return self._segment

    def _leave(self) -> None:
        """Close the present segment, if there is one, so that others may seal it."""
        if self._unsynced_since is not None:
            self._sync()
        if self._segment is not None:
            segment, self._segment = self._segment, None
            if segment.close():
                with suppress(OSError):  # it is sealed as a dead writer's then, as is one that isn't whole
                    segment.path.rename(segment.path.with_suffix(CLOSED))

    def _abandon(self) -> None:
        """Leave a segment that couldn't be written to, under its name. It is sealed later, with the entries that are on
        disk."""
        self._unsynced_since = None
        if self._segment is not None:
            segment, self._segment = self._segment, None
            segment.abandon()


def _size(entry: Answered | Feedback) -> int:
    """Return about how many bytes an entry of the log has."""
    if isinstance(entry, Feedback):
        texts = (label for _, label in entry.labels if isinstance(label, str))
        return _BYTES_OF_LABEL * len(entry.labels) + sum(map(len, texts))
    return len(entry.given) + len(entry.answers or b"")

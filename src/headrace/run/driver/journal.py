"""The journal: all that a tick has to store, gathered until it is committed in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from headrace.run.curves import Summary
from headrace.run.events import Event, encode_event
from headrace.run.ports import Batch, Doubt, Ledger, NoticeRow, ResultRow, RunRow, TaskRow
from headrace.spec.artifact import Ref
from headrace.spec.intent import Advance, Intent

_encode_ref = msgspec.msgpack.Encoder().encode


class Advances:
    """The cursor advances that a tick has stored.
    The ledger drops an advance if another task or a person moved the cursor first."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._asked: list[tuple[str, Advance]] = []

    def ask(self, task: str, intents: Iterable[Intent]) -> None:
        """Note which cursors a task asks to advance, and to which values."""
        self._asked += ((task, each) for each in intents if isinstance(each, Advance))

    def dropped(self) -> list[str]:
        """Return a note for each cursor advance that the ledger dropped, because a person or another task had moved the
        cursor first. Then forget all advances. Call this after the transaction has been committed."""
        if not self._asked:
            return []
        notes = [
            f"cursor `{advance.name}` was moved on from version {advance.version} by {self._mover(advance)} meanwhile,"
            f" so the value that `{task}` asked for was dropped"
            for task, advance in self._asked
            if not self._is_kept(advance)
        ]
        self._asked.clear()
        return notes

    def _mover(self, advance: Advance) -> str:
        version = self._ledger.set_here(advance.name, advance.version + 1)
        is_own = version is not None and version[0]
        return "another task of this run" if is_own else "another run or a person"

    def _is_kept(self, advance: Advance) -> bool:
        """Return whether this run has set the cursor to the value that the task asked for. Look for this value in all
        versions of the cursor that are newer than the one that the task read."""
        value, version = _encode_ref(advance.value), advance.version + 1
        while (found := self._ledger.set_here(advance.name, version)) is not None:
            if found == (True, value):
                return True
            version += 1
        return False


class Journal:
    """Numbers events, and commits them together with the rows that they change. A run is open once its first events are
    stored. The gathered events are tentative if they open the run or give it new code."""

    def __init__(self, ledger: Ledger, next_seq: int) -> None:
        self._ledger = ledger
        self._advances = Advances(ledger)
        self._seq = next_seq
        self.is_open = next_seq > 0
        self._clear()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        return not self._bodies and not self._absorbed

    @property
    def is_tentative(self) -> bool:
        """Whether the gathered events may be stored only once the pipeline's trace is good. If the trace is refused,
        nothing is stored: there is no run, or the run stays as it was."""
        return not self.is_open or self._renewed

    def note(self, event: Event, body: bytes | None = None) -> None:
        """Add an event to the next commit. `body` is the encoded event if the driver received it as bytes, otherwise
        None."""
        self._bodies.append(encode_event(event) if body is None else body)

    def keep(self, refs: Iterable[Ref]) -> None:
        """Record that the run names these artifacts, so that the store keeps them."""
        self._kept.extend(refs)

    def offer(self, result: ResultRow) -> None:
        """Add to the next commit an output that later runs may reuse."""
        self._results.append(result)

    def absorb(self, signal: int) -> None:
        """Add to the next commit a signal that has been turned into an event. One transaction stores the event and
        removes the signal from the inbox."""
        self._absorbed.append(signal)

    def intend(self, task: str, intents: Sequence[Intent]) -> None:
        """Add the intents of a task to the next commit: they are applied in the transaction that stores the task's
        success."""
        self._intents.extend((task, intent) for intent in intents)
        self._advances.ask(task, intents)

    def log(self, task: str) -> None:
        """Note that the last added event holds what a task has logged."""
        self._logged.append((task, self._seq + len(self._bodies) - 1))

    def inherit(self, task: str, key: str) -> None:
        """Note that a reused task gets a copy of what was logged by the task that made its output."""
        self._inherited.append((task, key))

    def doubt(self, doubt: Doubt) -> None:
        """Mark an output, in the next commit, as one that no run may reuse any more."""
        self._doubts.append(doubt)

    def announce(self, notice: NoticeRow) -> None:
        """Add to the next commit a notice that goes out to people once it is stored."""
        self._notices.append(notice)

    def renew(self) -> None:
        """Make the next commit delete all stored rows of tasks and of what they logged, because these rows are from an
        older trace."""
        self._renewed = True

    def commit(self, run: RunRow | None, tasks: list[TaskRow], metrics: list[Summary]) -> None:
        """Store everything that was added since the last commit, in one transaction.

        Raises:
            LeaseLost: another driver took the run.
            LedgerError: the ledger can't be written.
        """
        self._ledger.commit(
            Batch(
                first=self._seq,
                bodies=self._bodies,
                run=run,
                tasks=tasks,
                results=self._results,
                kept=self._kept,
                absorbed=self._absorbed,
                doubts=self._doubts,
                renewed=self._renewed,
                intents=self._intents,
                metrics=metrics,
                relogged=self._renewed,
                logged=self._logged,
                inherited=self._inherited,
                notices=self._notices,
            )
        )
        self._seq += len(self._bodies)
        self.is_open = True
        self._clear()

    def dropped(self) -> list[str]:
        """Return a note for each new cursor value that was dropped since the last call.

        A value is dropped if another task or a person moved the cursor first.
        """
        return self._advances.dropped()

    def _clear(self) -> None:
        self._bodies: list[bytes] = []
        self._results: list[ResultRow] = []
        self._kept: list[Ref] = []
        self._absorbed: list[int] = []
        self._doubts: list[Doubt] = []
        self._renewed = False
        self._intents: list[tuple[str, Intent]] = []
        self._logged: list[tuple[str, int]] = []
        self._inherited: list[tuple[str, str]] = []
        self._notices: list[NoticeRow] = []

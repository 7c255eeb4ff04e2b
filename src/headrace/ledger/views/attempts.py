"""Which attempts of a task count for what is shown of its output."""

from __future__ import annotations

from operator import itemgetter

from headrace.ledger.views.query import Query
from headrace.run.events import Checkpointed, Event, Launched, Reused, Succeeded, stored_event

Keys = tuple[dict[int, str], str]
"""The keys of a task's attempts, and the key of its present output."""


class Attempts:
    """Tells which attempts of tasks count for what is shown of their outputs. It reads the events of each run once."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._launched: dict[str, list[tuple[int, Event]]] = {}
        self._keys: dict[str, dict[str, Keys]] = {}
        self._results: dict[str, dict[tuple[str, str], set[int]]] = {}

    def keys(self, run: str, task: str) -> Keys:
        """Return the keys of a task's attempts, and the key of its present output. If the run got new code, these keys
        differ: what an attempt logged belongs to the output of its own key. A task that the new code doesn't have any
        more is known, too."""
        if run not in self._keys:
            self._keys[run] = self._read_keys(run)
        return self._keys[run].get(task, ({}, ""))

    def of_result(self, run: str, task: str, key: str) -> set[int]:
        """Return the attempts from which a task's output under a key comes: the attempt that succeeded and, if it began
        at a checkpoint, the attempts before it that led to the checkpoint. Return an empty set if none has succeeded,
        or if the task was launched again under this key since then."""
        if run not in self._results:
            self._results[run] = self._read_results(run)
        return self._results[run].get((task, key), set())

    def _read_keys(self, run: str) -> dict[str, Keys]:
        keys, present = dict[str, dict[int, str]](), dict[str, str]()
        for event in self._events(run, Reused):
            if isinstance(event, Launched):
                present[event.task] = keys.setdefault(event.task, {})[event.attempt] = event.key
            elif isinstance(event, Reused) and not event.run:
                present[event.task] = event.key
        return {task: (of, present[task]) for task, of in keys.items()}

    def _read_results(self, run: str) -> dict[tuple[str, str], set[int]]:
        """Return what `of_result` returns, by task and key."""
        keys, began = dict[tuple[str, int], str](), dict[tuple[str, int], int | None]()
        saved, results = dict[tuple[str, str], int](), dict[tuple[str, str], int]()
        for event in self._events(run, Checkpointed, Succeeded):
            if isinstance(event, Launched):
                keys[event.task, event.attempt] = event.key
                began[event.task, event.attempt] = saved.get((event.task, event.key))
                results.pop((event.task, event.key), None)
            elif isinstance(event, Checkpointed | Succeeded) and (event.task, event.attempt) in keys:
                newest = saved if isinstance(event, Checkpointed) else results
                newest[event.task, keys[event.task, event.attempt]] = event.attempt
        return {(task, key): _path(task, result, began) for (task, key), result in results.items()}

    def _events(self, run: str, *kinds: type[Event]) -> list[Event]:
        """Return a run's launches and its events of other `kinds`, in their order."""
        if run not in self._launched:
            self._launched[run] = self._of_kind(run, Launched)
        found = [*self._launched[run], *(each for kind in kinds for each in self._of_kind(run, kind))]
        return [event for _, event in sorted(found, key=itemgetter(0))]

    def _of_kind(self, run: str, kind: type[Event]) -> list[tuple[int, Event]]:
        return [(seq, stored_event(body)) for seq, body in self._query.of_kind(run, kind)]


def _path(task: str, result: int, began: dict[tuple[str, int], int | None]) -> set[int]:
    """Return the attempts that led to the attempt `result`, and this attempt. `began` has the attempt at whose
    checkpoint each attempt began."""
    found, attempt = set[int](), result
    while attempt not in found:  # an attempt that was launched twice may have begun at its own checkpoint
        found.add(attempt)
        attempt = began[task, attempt] or attempt
    return found

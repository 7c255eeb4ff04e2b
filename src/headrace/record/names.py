"""Which generations of the store the ledger's rows name, and by which runs."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from headrace.record import statements as sql
from headrace.record.ports import Spills
from headrace.run.events import Checkpointed, Succeeded, decode_event
from headrace.run.wire import Frames, Report, decode_up
from headrace.spec.artifact import Ref, blobs

Generation = tuple[str, str]
"""The digest and the nonce of a blob."""

LIVE = frozenset(("queued", "running", "waiting"))
"""The states of a run that has not ended."""

_decode_ref = msgspec.msgpack.Decoder(Ref).decode


class RunRecord(Struct, frozen=True):
    """A run, as far as keeping its blobs goes."""

    number: int
    id: str
    state: str
    created: float
    ended: float | None
    bundle: str

    @property
    def has_ended(self) -> bool:
        """Whether it came to an end; such a run may still be resumed."""
        return self.state not in LIVE


class ResultRecord(Struct, frozen=True):
    """A result, and the generations that it needs."""

    key: str
    run: int
    task: str
    needs: tuple[Generation, ...]
    unusable: str | None


class Names:
    """What the ledger names, as one snapshot.

    `by_run` are the generations that each run names, by the run's number, with their sizes; `keys` the runs that have a
    task with such a key.
    """

    def __init__(self, db: sqlite3.Connection, spills: Spills | None = None) -> None:
        db.execute("BEGIN")
        try:
            self.runs = [RunRecord(*row) for row in db.execute(sql.ALL_RUNS)]
            self.by_run: dict[int, dict[Generation, int]] = defaultdict(dict)
            self.keys: dict[str, list[int]] = defaultdict(list)
            for run, digest, nonce, size in db.execute(sql.ALL_BLOBS):
                self.by_run[run][digest, nonce] = size
            for run, _, _, key, out in db.execute(sql.ALL_OUTS):
                self._name(run, _decode_ref(out))
                if key is not None:
                    self.keys[key].append(run)
            self.results = [
                ResultRecord(key, run, task, tuple(_generations(_decode_ref(out))), unusable)
                for key, run, task, out, unusable in db.execute(sql.ALL_RESULTS)
            ]
        finally:
            db.execute("ROLLBACK")
        self._by_maker: dict[int, list[ResultRecord]] | None = None
        self.spilled = _spilled(self.runs, spills) if spills is not None else set()

    def results_of(self, run: RunRecord) -> Sequence[ResultRecord]:
        """Give the results that a run made."""
        if self._by_maker is None:
            self._by_maker = defaultdict(list)
            for result in self.results:
                self._by_maker[result.run].append(result)
        return self._by_maker.get(run.number, ())

    @property
    def sizes(self) -> dict[Generation, int]:
        """All generations that runs name, with the bytes that each had."""
        return {each: size for named in self.by_run.values() for each, size in named.items()}

    def of(self, kept: Sequence[RunRecord]) -> dict[Generation, list[RunRecord]]:
        """Give what some of the runs name, each generation with the runs that name it."""
        found: dict[Generation, list[RunRecord]] = defaultdict(list)
        for run in kept:
            for generation in self.by_run.get(run.number, ()):
                found[generation].append(run)
        return found

    def needed(self, kept: Sequence[RunRecord]) -> set[Generation]:
        """Give all that has to stay while these runs stay; a bundle that a run names by digest alone has no nonce."""
        found = set(self.of(kept)) | self.spilled
        numbers = {run.number for run in kept}
        for result in self.results:
            if result.unusable is None and result.run in numbers:
                found.update(result.needs)
        for run in kept:
            if all(digest != run.bundle for digest, _ in self.by_run.get(run.number, ())):
                found.add((run.bundle, ""))
        return found

    def _name(self, run: int, ref: Ref) -> None:
        named = self.by_run[run]
        for each in blobs(ref):
            named[each.digest, each.nonce or ""] = each.size


def _spilled(runs: Sequence[RunRecord], spills: Spills) -> set[Generation]:
    """Give what workers have reported while no driver listened: a driver to come will store it."""
    return {
        generation
        for run in runs
        if not run.has_ended
        for _, data in spills.spills(run.id)
        for ref in _reported(data)
        for generation in _generations(ref)
    }


def _reported(data: bytes) -> Iterator[Ref]:
    for body in Frames().feed(data):
        message = decode_up(body)
        if isinstance(message, Report):
            event = decode_event(message.body)
            if isinstance(event, Succeeded | Checkpointed):
                yield event.out


def _generations(ref: Ref) -> Iterator[Generation]:
    return ((each.digest, each.nonce or "") for each in blobs(ref))

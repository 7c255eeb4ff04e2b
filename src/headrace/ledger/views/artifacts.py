"""Finds artifacts and the runs that hold them. `Views` has all of this too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Self

import msgspec

from headrace.errors import FEW, NotFoundError, listed
from headrace.ledger.database.address import Address
from headrace.ledger.database.database import NO_END
from headrace.ledger.database.opening import connect_to_read
from headrace.ledger.views.query import Query
from headrace.ledger.views.rows import RUN_LINES
from headrace.run.events import stored_event
from headrace.run.projection import kept_by
from headrace.spec.artifact import Ref, decode_ref, within

LOOKED_THROUGH = 1000
"""How many of the latest runs are searched for an artifact that is in no index."""


class ArtifactViews:
    """Reads where artifacts are in a ledger. A missing ledger is shown as empty, and isn't created."""

    def __init__(self, address: Address, *, project: str = "") -> None:
        self._db = connect_to_read(address, project=project)
        self._sql = self._db.sql
        self._query = Query(self._db)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to the ledger."""
        self._db.close()

    def runs_holding(self, digest: str) -> set[int]:
        """Return the numbers of the runs that made or reused an artifact, given its digest or the beginning of its
        digest."""
        span = digest, digest + "\U0010ffff"
        statements = self._sql.RUNS_BY_BLOB, self._sql.TASKS_BY_DIGEST
        return {run for statement in statements for run, _ in self._query.all(statement, *span)}

    def runs_telling_of(self, digest: str) -> Iterator[int]:
        """Yield the numbers of the resumed runs whose events have this digest, or the beginning of one, newest run
        first. Such a run may have made the artifact before it got new code."""
        for (number,) in self._query.all(self._sql.RESUMED_RUNS, LOOKED_THROUGH):
            if any(digest.encode() in body for body in self.bodies(self.run_id(number))):
                yield number

    def regions(self, generation: str) -> set[str]:
        """Return the regions that may have a generation (`DIGEST.NONCE`): the regions of all runs that name the
        generation."""
        return self._query.regions(generation)

    def reuses(self, digests: Iterable[str]) -> Mapping[tuple[str, str | None], list[int]]:
        """Return, by an output's digest and key, the numbers of the runs that reused the output, newest run first. Only
        outputs with one of `digests` are looked up."""
        found: dict[tuple[str, str | None], list[int]] = {}
        wanted = msgspec.json.encode(list(digests)).decode()
        for run, digest, key in self._query.all(self._sql.REUSED_TASKS, wanted):
            found.setdefault((digest, key), []).append(run)
        return {of: sorted(set(runs), reverse=True) for of, runs in found.items()}

    def artifact(self, digest: str) -> Ref:
        """Return a task's output, or a part of one, given its digest or the beginning of its digest.

        Raises:
            NotFoundError: no task produced such an artifact, or several digests begin with `digest`.
        """
        found = self._artifacts(digest) or self._earlier_artifacts(digest)
        if len(found) > 1:
            raise NotFoundError(
                f"several artifacts begin with `{digest}`", hint=f"give more characters: {listed(found, FEW)}"
            )
        if not found:
            raise NotFoundError(
                f"no task produced an artifact `{digest}`",
                hint="`headrace show RUN --json` lists the digests of outputs",
            )
        return next(iter(found.values()))

    def _artifacts(self, digest: str) -> dict[str, Ref]:
        """Return the artifacts whose digests begin with `digest` in the outputs of one run's tasks, by digest."""
        # an artifact that is made of parts, or is stored in the ledger's row, has no blob, so no index finds its runs
        latest = (line.number for line in self._query.read(RUN_LINES, self._sql.RUN_LINES, NO_END, LOOKED_THROUGH))
        for number in chain(sorted(self.runs_holding(digest), reverse=True), latest):
            outs = [decode_ref(out) for _, out in self._query.all(self._sql.TASK_OUTS, number)]
            if found := {ref.digest: ref for out in outs for ref in within(out) if ref.digest.startswith(digest)}:
                return found
        return {}

    def _earlier_artifacts(self, digest: str) -> dict[str, Ref]:
        """Return the same for what a run made before it got new code: only its events name that."""
        for number in self.runs_telling_of(digest):
            outs = [ref for body in self.bodies(self.run_id(number)) for ref in kept_by(stored_event(body))]
            if found := {ref.digest: ref for out in outs for ref in within(out) if ref.digest.startswith(digest)}:
                return found
        return {}

    def run_id(self, number: int) -> str:
        """Return the id of a run by its number."""
        found: str = self._query.all(self._sql.RUN_ID, number)[0][0]
        return found

    def bodies(self, run: str | None = None) -> Iterator[bytes]:
        """Yield a run's events, encoded as they are stored."""
        number, seq = self._query.run(run).number, 0
        while rows := self._query.all(self._sql.EVENTS_FROM, number, seq, 1000):
            yield from (body for _, body in rows)
            seq = rows[-1][0] + 1

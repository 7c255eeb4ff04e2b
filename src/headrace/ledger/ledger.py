"""The ledger: what is stored of all runs, written by their drivers.

    with Ledger("sqlite:///state/ledger.db") as ledger:
        run = ledger.open_run("flights")       # or ledger.take(run_id)
        run.commit(batch)

A new run is in the ledger from its first commit on. One transaction a commit, which ends on the disk.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence

from headrace.errors import NotFoundError
from headrace.ledger.database.address import Address
from headrace.ledger.database.database import Database
from headrace.ledger.database.leases import Holder, Lease, Leases
from headrace.ledger.database.opening import connect
from headrace.ledger.ports import Share
from headrace.ledger.run_ledger import RunLedger
from headrace.run.ports import LIVE
from headrace.spec.fleet import Pool


class Ledger:
    """A project's ledger, at a file's path or a URL.

    It has to be that of `project`, if one is named. Its runs share the capacity of `pools` by the rule `share`, which
    is `place.share.grant`.
    """

    def __init__(
        self,
        address: Address,
        *,
        project: str = "",
        pools: Sequence[Pool] = (),
        share: Share | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.address = address
        self._pools = {pool.name: pool for pool in pools}
        self._share = share
        self._told = clock
        self._clock = clock or time.time
        self._project = project
        self._db = connect(address, project=project)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connection; runs that were opened here have connections of their own."""
        self._db.close()

    @property
    def name(self) -> str:
        """Return where it is, for people."""
        return self._db.name

    @property
    def leases(self) -> Leases:
        """The leases of its runs."""
        return self._db.leases

    def now(self) -> float:
        """Return the time (Unix seconds): the server's, where one keeps the ledger, unless a clock was given."""
        return self._db.now() if self._told is None else self._told()

    def connect(self) -> Database:
        """Return a connection of one's own to its database."""
        return connect(self.address)

    def open_run(self, pipeline: str, *, holder: str = "") -> RunLedger:
        """Return a new run its id and its lease. It has no row before its first commit, which has to carry one."""
        while True:
            run_id = new_id(pipeline, self._clock())
            db = self.connect()
            try:
                held = db.leases.acquire(run_id, holder)
                try:
                    if self._run(run_id) is None:
                        return self._ledger(db, run_id, held, holder=holder, pipeline=pipeline)
                except BaseException:
                    held.release()
                    raise
                held.release()
            except BaseException:
                db.close()
                raise
            db.close()

    def take(self, run_id: str, holder: str = "") -> RunLedger:
        """Take the lease of a run that is there, and fence out whoever drove it before.

        Raises:
            NotFoundError: there is no such run.
            LeaseHeld: another driver holds it; the message says who.
        """
        self._known(run_id)
        db = self.connect()
        try:
            held = db.leases.acquire(run_id, holder)
            try:
                with db.troubles():
                    number, pipeline, epoch, seq = db.atomically(lambda: self._taken(db, run_id, held, holder))
                return self._ledger(
                    db, run_id, held, holder=holder, pipeline=pipeline, number=number, epoch=epoch, next_seq=seq
                )
            except BaseException:
                held.release()
                raise
        except BaseException:
            db.close()
            raise

    def _taken(self, db: Database, run_id: str, held: Lease, holder: str) -> tuple[int, str, int, int]:
        """Count one more driver of a run; return its number, its pipeline, the count, and its next event's number."""
        held.check()
        found = db.execute(db.sql.RUN_BY_ID, (run_id,)).fetchone()
        if found is None:
            raise _unknown(run_id)
        number, epoch, pipeline, _ = found
        db.execute(db.sql.TAKE_RUN, (holder, number))
        (seq,) = db.execute(db.sql.NEXT_SEQ, (number,)).fetchone()
        return number, pipeline, epoch + 1, seq

    def holder(self, run_id: str) -> Holder | None:
        """Return which driver holds a run, or None where none lives."""
        with self._db.troubles():
            return self.leases.holder(run_id)

    def has(self, run_id: str) -> bool:
        """Return whether there is such a run. One whose driver was killed before its first commit isn't there."""
        return self._run(run_id) is not None

    def is_begun(self) -> bool:
        """Return whether there is any run."""
        with self._db.troubles():
            return self._db.execute(self._db.sql.NEWEST_RUN).fetchone() is not None

    def is_over(self, run_id: str) -> bool:
        """Return whether a run has ended; so has one that isn't there."""
        found = self._run(run_id)
        return found is None or found[3] not in LIVE

    def signal(self, run_id: str, kind: str, *, by: str, body: str = "") -> None:
        """Put a signal into a run's inbox; its driver absorbs it as an event.

        Raises:
            NotFoundError: there is no such run.
        """
        number, *_ = self._known(run_id)
        with self._db.troubles():
            self._db.execute(self._db.sql.SIGNAL, (number, kind, by, body, self._clock()))

    def _known(self, run_id: str) -> tuple[int, int, str, str]:
        found = self._run(run_id)
        if found is None:
            raise _unknown(run_id)
        return found

    def _run(self, run_id: str) -> tuple[int, int, str, str] | None:
        with self._db.troubles():
            found: tuple[int, int, str, str] | None = self._db.execute(self._db.sql.RUN_BY_ID, (run_id,)).fetchone()
            return found

    def _ledger(
        self,
        db: Database,
        run_id: str,
        held: Lease,
        *,
        holder: str,
        pipeline: str,
        number: int | None = None,
        epoch: int = 1,
        next_seq: int = 0,
    ) -> RunLedger:
        return RunLedger(
            db,
            lease=held,
            run=run_id,
            pipeline=pipeline,
            holder=holder,
            number=number,
            epoch=epoch,
            next_seq=next_seq,
            pools=self._pools,
            share=self._share,
            clock=self._clock,
        )


def new_id(pipeline: str, now: float) -> str:
    """Make up an id of a run: the day, the pipeline's name, and four hex digits of chance.

    >>> new_id("pipelines.py:Flights", 1795600000.0)
    '20261125-flights-...'
    """
    day = time.strftime("%Y%m%d", time.gmtime(now))
    name = re.sub(r"[^a-z0-9_]+", "-", pipeline.rpartition(":")[2].lower()).strip("-")[:40]
    return f"{day}-{name or 'run'}-{os.urandom(2).hex()}"


def _unknown(run_id: str) -> NotFoundError:
    return NotFoundError(f"there is no run `{run_id}`", hint="`headrace runs` lists them")

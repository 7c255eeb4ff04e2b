"""The ledger: the stored record of all runs, which their drivers write.

    with Ledger("sqlite:///state/ledger.db") as ledger:
        run = ledger.open_run("flights")       # or ledger.take(run_id)
        run.commit(batch)

A new run is in the ledger after its first commit. Each commit is one transaction, and returns when it is on disk.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import count

from headrace.errors import LeaseHeld, NotFoundError
from headrace.ledger.database.address import Address
from headrace.ledger.database.database import Database
from headrace.ledger.database.leases import Holder, Lease, Leases
from headrace.ledger.database.opening import connect
from headrace.ledger.ports import Share
from headrace.ledger.run_ledger import RunLedger
from headrace.run.ports import KNOWN_SIGNALS, LIVE
from headrace.spec.fleet import Pool

MANY_DRAWS = 100
"""If this many ids, drawn one after another, all belong to other runs, nearly all ids of this length are in use. The
next ids to be drawn are longer."""


class Ledger:
    """A project's ledger, at a file's path or a URL.

    If `project` is given, the ledger must belong to that project. The ledger's runs share the capacity of `pools`.
    `share` is the rule that divides it (`place.share.grant`). If `clock` is given, it is called for the time in Unix
    seconds instead of the real clock.
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
        """Close the ledger's connection. Runs that were opened from it have their own connections, which stay open."""
        self._db.close()

    @property
    def name(self) -> str:
        """The ledger's address to show to people, without a password."""
        return self._db.name

    @cached_property
    def user(self) -> str:
        """The name to record in events, moves of aliases and signals as the user who gave the command: on a server, the
        role that logged in; otherwise the operating system's user."""
        with self._db.troubles():
            return self._db.user()

    @property
    def leases(self) -> Leases:
        """The leases of the ledger's runs."""
        return self._db.leases

    def now(self) -> float:
        """Return the time in Unix seconds: from `clock` if one was given, else from the ledger's server, else from this
        machine."""
        return self._db.now() if self._told is None else self._told()

    def connect(self) -> Database:
        """Return a new connection to the ledger's database, for the caller alone."""
        return connect(self.address)

    def open_run(self, pipeline: str, *, holder: str = "") -> RunLedger:
        """Return the ledger of a new run, with a new id and a held lease. The run has no row yet: its first commit must
        contain the row.

        The id is drawn at random, and drawn again if another run has it. Among 300 runs of one pipeline on one day, the
        probability that two draw the same id is about one half.
        """
        db = self.connect()
        try:
            for draws in count():
                run_id = new_id(pipeline, self._clock(), size=2 + draws // MANY_DRAWS)
                try:
                    held = db.leases.acquire(run_id, holder, is_patient=False)
                except LeaseHeld:
                    continue  # another run was given the same id, and its driver is alive
                try:
                    if self._run(run_id) is None:
                        return self._ledger(db, run_id, held, holder=holder, pipeline=pipeline)
                except BaseException:
                    held.release()
                    raise
                held.release()
            raise AssertionError  # `count` has no end
        except BaseException:
            db.close()
            raise

    def take(self, run_id: str, holder: str = "") -> RunLedger:
        """Take the lease of an existing run and return its ledger. After that, an earlier driver of the run can't write
        any more.

        Raises:
            NotFoundError: there is no such run.
            LeaseHeld: another driver holds the lease; the message names it.
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
        """Raise the run's epoch by one; return the run's number, its pipeline, the new epoch, and the number of the
        run's next event."""
        held.check()
        found = db.execute(db.sql.RUN_BY_ID, (run_id,)).fetchone()
        if found is None:
            raise _unknown(run_id)
        number, epoch, pipeline, _ = found
        db.execute(db.sql.TAKE_RUN, (holder, number))
        (seq,) = db.execute(db.sql.NEXT_SEQ, (number,)).fetchone()
        return number, pipeline, epoch + 1, seq

    def holder(self, run_id: str) -> Holder | None:
        """Return the driver that holds a run, or None if no driver is alive."""
        with self._db.troubles():
            return self.leases.holder(run_id)

    def has(self, run_id: str) -> bool:
        """Return whether a run exists. A run whose driver was killed before its first commit doesn't exist."""
        return self._run(run_id) is not None

    def is_begun(self) -> bool:
        """Return whether the ledger has at least one run."""
        with self._db.troubles():
            return self._db.execute(self._db.sql.NEWEST_RUN).fetchone() is not None

    def is_over(self, run_id: str) -> bool:
        """Return whether a run has ended. This is True for a run that doesn't exist."""
        found = self._run(run_id)
        return found is None or found[3] not in LIVE

    def signal(self, run_id: str, kind: str, *, by: str, body: str = "") -> None:
        """Put a signal into a run's inbox. The run's driver will turn it into an event.

        Raises:
            NotFoundError: there is no such run.
        """
        number, *_ = self._known(run_id)
        with self._db.troubles():
            self._db.execute(self._db.sql.SIGNAL, (number, kind, by, body, self._clock()))

    def has_signals(self, run_id: str) -> bool:
        """Return whether a run's inbox holds a signal that this release knows."""
        number, *_ = self._known(run_id)
        with self._db.troubles():
            rows = self._db.execute(self._db.sql.INBOX, (number,)).fetchall()
        return any(row[1] in KNOWN_SIGNALS for row in rows)

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


def new_id(pipeline: str, now: float, *, size: int = 2) -> str:
    """Return a new id for a run: the day (UTC), the pipeline's name, and `size` random bytes as hex digits.

    >>> new_id("pipelines.py:Flights", 1795600000.0)
    '20261125-flights-...'
    """
    day = time.strftime("%Y%m%d", time.gmtime(now))
    name = re.sub(r"[^a-z0-9_]+", "-", pipeline.rpartition(":")[2].lower()).strip("-")[:40]
    return f"{day}-{name or 'run'}-{os.urandom(size).hex()}"


def _unknown(run_id: str) -> NotFoundError:
    return NotFoundError(f"there is no run `{run_id}`", hint="`headrace runs` lists them")

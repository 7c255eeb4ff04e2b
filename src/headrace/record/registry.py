"""The registry: models and datasets by name, each with numbered versions, and aliases that point at one.

A version is an artifact, and an artifact that is registered again under its name keeps the number that it has.
"""

from __future__ import annotations

from contextlib import closing

from headrace.errors import NotFoundError
from headrace.record.database import Database
from headrace.record.ledger import Ledger
from headrace.record.names import is_named
from headrace.record.registering import lock, put
from headrace.spec.artifact import blobs
from headrace.spec.intent import Register, RegistryKind, check_alias, check_name


def register(ledger: Ledger, wanted: Register, *, by: str, origin: str | None = None, why: str | None = None) -> int:
    """Register an artifact outside of runs; give its version, which is the one that it has if it is registered already.

    The artifact has to be in the store by now: from here on it stays there. `origin` says where it came from, `why`
    why the aliases point at it though its report says no.

    Raises:
        NotFoundError: a collector has taken its last name away meanwhile, and may be deleting it.
        UsageError: the name, or one of the aliases, can't be one.
        LedgerError: the ledger can't be written.
    """
    check_name(wanted.kind, wanted.name)
    for alias in wanted.aliases:
        check_alias(alias)

    def work(db: Database) -> int:
        lock(db)
        for what, out in (("artifact", wanted.out), ("report", wanted.report), ("preparation", wanted.preparation)):
            if out is not None and not all(is_named(db, each) for each in blobs(out)):
                raise NotFoundError(
                    f"the {what} {out.digest[:12]} was given up by `headrace gc` just now, or is no run's",
                    hint="name it once more; if no run has it any more, run the pipeline again",
                )
        put(db, wanted, run=None, task=None, by=by, at=ledger.now(), origin=origin, why=why)
        return _version(db, wanted)

    with closing(ledger.connect()) as db, db.troubles():
        return db.atomically(lambda: work(db))


def point(
    ledger: Ledger, kind: RegistryKind, name: str, alias: str, version: int, *, by: str, why: str | None = None
) -> None:
    """Point an alias at a version, whatever it pointed at before; `why` is kept with it.

    Raises:
        UsageError: the alias can't be one.
        NotFoundError: there is no such version.
    """
    check_alias(alias)
    with closing(ledger.connect()) as db, db.troubles():
        there = {number for _, _, number, *_ in db.execute(db.sql.VERSIONS_OF, (kind, name)).fetchall()}
        if version not in there:
            raise NotFoundError(
                f"{kind} `{name}` has no version {version}",
                hint=f"its newest is {max(there)}" if there else f"there is no {kind} of this name",
            )
        db.execute(db.sql.PUT_ALIAS, (kind, name, alias, version, ledger.now(), by, why))


def unpoint(ledger: Ledger, kind: RegistryKind, name: str, alias: str) -> None:
    """Remove an alias; the version that it pointed at stays. Where there is none, nothing is done."""
    with closing(ledger.connect()) as db, db.troubles():
        db.execute(db.sql.FORGET_ALIAS, (kind, name, alias))


def _version(db: Database, wanted: Register) -> int:
    found: int = db.execute(db.sql.VERSION_OF, (wanted.kind, wanted.name, wanted.out.identity)).fetchone()[0]
    return found

"""The registry: models and datasets by name, each with numbered versions, and aliases that point at a version.

A version is an artifact. An artifact that is registered again under the same name keeps its version number.
"""

from __future__ import annotations

from contextlib import closing

from headrace.errors import NotFoundError
from headrace.ledger.database.database import Database
from headrace.ledger.generations import is_named
from headrace.ledger.ledger import Ledger
from headrace.ledger.records import VERSIONS
from headrace.ledger.registration import lock, put
from headrace.spec.artifact import blobs
from headrace.spec.intent import Register, RegistryKind, check_alias, check_name


def register(ledger: Ledger, wanted: Register, *, by: str, origin: str | None = None, why: str | None = None) -> int:
    """Register an artifact outside of runs and return its version. If the artifact is already registered under this
    name, its version number stays the same.

    The artifact must already be in the store, and is kept in the store from now on. `origin` says where the artifact
    came from. `why` says why the aliases point at the artifact although its report advises against that.

    Raises:
        NotFoundError: the garbage collector no longer keeps the artifact, and may be deleting it.
        UsageError: the name or an alias is invalid.
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
                    f"the {what} {out.digest[:12]} was deleted by `headrace gc` just now, or no run has it",
                    hint="try again; if no run has it any more, run the pipeline again",
                )
        put(db, wanted, run=None, task=None, by=by, at=ledger.now(), origin=origin, why=why)
        return _version(db, wanted)

    with closing(ledger.connect()) as db, db.troubles():
        return db.atomically(lambda: work(db))


def point(
    ledger: Ledger, kind: RegistryKind, name: str, alias: str, version: int, *, by: str, why: str | None = None
) -> None:
    """Point an alias at a version. If the alias exists, it no longer points at its previous version. `why` is stored
    with the alias.

    Raises:
        UsageError: the alias is invalid.
        NotFoundError: there is no such version.
    """
    check_alias(alias)
    with closing(ledger.connect()) as db, db.troubles():
        there = {row.version for row in VERSIONS.read(db.execute(db.sql.VERSIONS_OF, (kind, name)))}
        if version not in there:
            raise NotFoundError(
                f"{kind} `{name}` has no version {version}",
                hint=f"its newest is {max(there)}" if there else f"there is no {kind} of this name",
            )
        db.execute(db.sql.PUT_ALIAS, (kind, name, alias, version, ledger.now(), by, why))


def unpoint(ledger: Ledger, kind: RegistryKind, name: str, alias: str) -> None:
    """Remove an alias, but not the version that it points at. If there is no such alias, do nothing."""
    with closing(ledger.connect()) as db, db.troubles():
        db.execute(db.sql.FORGET_ALIAS, (kind, name, alias))


def _version(db: Database, wanted: Register) -> int:
    found: int = db.execute(db.sql.VERSION_OF, (wanted.kind, wanted.name, wanted.out.identity)).fetchone()[0]
    return found

"""The registry: models and datasets by name, each with numbered versions, and aliases that point at a version.

A version is an artifact. An artifact that is registered again under the same name keeps its version number.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from headrace.errors import NotFoundError
from headrace.ledger import registration
from headrace.ledger.database.database import Database
from headrace.ledger.generations import kept
from headrace.ledger.ledger import Ledger
from headrace.ledger.records import VERSIONS, erased, has_erased
from headrace.ledger.registration import Move, lock, new_nonce, put
from headrace.spec.endpoint import Route
from headrace.spec.intent import Register, RegistryKind, check_alias, check_name


def register(
    ledger: Ledger,
    wanted: Register,
    *,
    by: str,
    origin: str | None = None,
    why: str | None = None,
    is_forced: bool = False,
) -> int:
    """Register an artifact outside of runs and return its version. If the artifact is already registered under this
    name, its version number stays the same.

    The artifact must already be in the store, and is kept in the store from now on. `origin` says where the artifact
    came from. `why` is the reason to move the aliases, and is recorded with each move. `is_forced` is recorded with
    them too: pass True if the artifact's report advises against the moves, and somebody insists on them.

    Raises:
        NotFoundError: the artifact was erased together with a person's data; or the garbage collector no longer keeps
            it, and may be deleting it.
        UsageError: the name or an alias is invalid.
        LedgerError: the ledger can't be written.
    """
    check_name(wanted.kind, wanted.name)
    for alias in wanted.aliases:
        check_alias(alias)

    nonce = new_nonce()

    def work(db: Database) -> int:
        lock(db)
        for what, out in (("artifact", wanted.out), ("report", wanted.report), ("preparation", wanted.preparation)):
            if out is None or kept(db, [out])[0]:
                continue
            if has_erased(out, erased(db)):
                raise NotFoundError(
                    f"the {what} {out.digest[:12]} was erased together with a person's data",
                    hint="run the pipeline again, and register what the new run makes",
                )
            raise NotFoundError(
                f"the {what} {out.digest[:12]} was deleted by `headrace gc` just now, or no run has it",
                hint="try again; if this error comes back, run the pipeline again",
            )
        at = ledger.now()
        put(db, wanted, run=None, task=None, by=by, at=at, origin=origin, why=why, is_forced=is_forced, nonce=nonce)
        return _version(db, wanted)

    with closing(ledger.connect()) as db, db.troubles():
        return db.atomically(lambda: work(db))


def point(
    ledger: Ledger,
    kind: RegistryKind,
    name: str,
    alias: str,
    version: int,
    *,
    by: str,
    why: str | None = None,
    is_forced: bool = False,
) -> None:
    """Point an alias at a version. If the alias exists, it no longer points at its previous version. `why` is recorded
    with the move. `is_forced` is True if the version's report advises against the move.

    Raises:
        UsageError: the alias is invalid.
        NotFoundError: there is no such version.
    """
    check_alias(alias)
    nonce = new_nonce()

    def work(db: Database) -> bool:
        lock(db)
        found = {row.version: row.identity for row in VERSIONS.read(db.execute(db.sql.VERSIONS_OF, (kind, name)))}
        if version not in found:
            raise NotFoundError(
                f"{kind} `{name}` has no version {version}",
                hint=f"its newest is {max(found)}" if found else f"there is no {kind} of this name",
            )
        move = Move(alias=alias, at=ledger.now(), by=by, why=why, is_forced=is_forced)
        registration.point(db, kind, name, found[version], move, nonce)
        return True

    _atomically(ledger, work, (kind, name, alias, nonce))


def unpoint(ledger: Ledger, kind: RegistryKind, name: str, alias: str, *, by: str, why: str | None = None) -> None:
    """Remove an alias, but not the version that it points at. `why` is recorded. If there is no such alias, do
    nothing."""
    nonce = new_nonce()

    def work(db: Database) -> bool:
        lock(db)
        move = Move(alias=alias, at=ledger.now(), by=by, why=why)
        registration.unpoint(db, kind, name, move, nonce)
        return True

    _atomically(ledger, work, (kind, name, alias, nonce))


def reroute(
    ledger: Ledger,
    name: str,
    change: Callable[[Route | None], Route | None],
    *,
    by: str,
    why: str | None = None,
    is_forced: bool = False,
) -> Route | None:
    """Change the route of an endpoint, as `registration.reroute` does, and return the new route.

    Raises:
        UsageError: an endpoint can't have this name, or `change` raised this error.
        NotFoundError: the model has no such version.
    """
    check_name("model", name)
    nonce = new_nonce()

    def work(db: Database) -> bool:
        lock(db)
        registration.reroute(db, name, change, Move(at=ledger.now(), by=by, why=why, is_forced=is_forced), nonce)
        return True

    with closing(ledger.connect()) as db, db.troubles():
        is_stored = db.sql.ROUTE_BY_NONCE
        db.atomically(lambda: work(db), done=lambda: True if db.execute(is_stored, (name, nonce)).fetchone() else None)
        return registration.route_of(db, name)


def _atomically(ledger: Ledger, work: Callable[[Database], bool], move: tuple[str, str, str, str]) -> None:
    """Do `work` in a transaction. If the connection breaks, try again, but only if the move with the key `move` was not
    stored."""
    with closing(ledger.connect()) as db, db.troubles():
        db.atomically(lambda: work(db), done=lambda: True if db.execute(db.sql.MOVE_ROW, move).fetchone() else None)


def _version(db: Database, wanted: Register) -> int:
    found: int = db.execute(db.sql.VERSION_OF, (wanted.kind, wanted.name, wanted.identity)).fetchone()[0]
    return found

"""Adds and revokes the tokens by which clients ask endpoints."""

from __future__ import annotations

from contextlib import closing

from msgspec.structs import asdict

from headrace.errors import NotFoundError
from headrace.ledger.ledger import Ledger
from headrace.ledger.records import TokenRecord


def add(ledger: Ledger, token: TokenRecord) -> None:
    """Add a token.

    Raises:
        LedgerError: the ledger can't be written.
    """
    with closing(ledger.connect()) as db, db.troubles():
        db.atomically(lambda: db.execute(db.sql.PUT_TOKEN, db.sql.values("PUT_TOKEN", asdict(token))))


def revoke(ledger: Ledger, token: str) -> None:
    """End a token. A token that was revoked before stays as it is.

    Raises:
        NotFoundError: there is no such token.
        LedgerError: the ledger can't be written.
    """
    with closing(ledger.connect()) as db, db.troubles():
        if db.execute(db.sql.TOKEN_ROW, (token,)).fetchone() is None:
            raise NotFoundError(f"there is no token `{token:.40}`", hint="`headrace tokens` lists them")
        db.atomically(lambda: db.execute(db.sql.REVOKE_TOKEN, (ledger.now(), token)))

"""Makes, lists and revokes the tokens that let clients ask endpoints."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Sequence

from msgspec import Struct

from headrace.errors import UsageError
from headrace.inspect.views import Views
from headrace.ledger import tokens as ledger_tokens
from headrace.ledger.records import TokenRecord
from headrace.project.project import Project
from headrace.project.state import open_ledger
from headrace.serve.access.tokens import PREDICT, SCOPES, Token, digest_of, written
from headrace.spec.endpoint import sole
from headrace.spec.intent import is_name

_ID_BYTES, _SECRET_BYTES = 5, 32


class TokenView(Struct, frozen=True, kw_only=True):
    """A token for display. `name` says who or what uses it. `endpoints` are the endpoints that it is for (empty: all),
    and `scopes` what it lets clients do there. `at` and `by` say when and by whom it was made. `expires` and `revoked`
    say when it expires and when it was revoked, or are None. All times are in Unix seconds. `valid` says whether
    servers accept it now."""

    id: str
    name: str
    endpoints: tuple[str, ...]
    scopes: tuple[str, ...]
    at: float
    by: str
    expires: float | None
    revoked: float | None
    valid: bool


class MadeToken(Struct, frozen=True, kw_only=True):
    """A token that was made just now. `token` is its text, which isn't stored anywhere."""

    id: str
    token: str


def make_token(
    project: Project, name: str, endpoints: Sequence[str], within_s: float | None, scopes: Sequence[str] = SCOPES
) -> MadeToken:
    """Make and return a token for these endpoints, or for all endpoints if `endpoints` is empty. It expires after
    `within_s` seconds; None means that it is valid until it is revoked. `scopes` are what it lets clients do.

    Raises:
        UsageError: `name` is empty, `within_s` isn't above 0, or `endpoints` has a name that no endpoint can have.
    """
    if not name.strip():
        raise UsageError("a token needs a name", hint="say for whom or what it is")
    if within_s is not None and within_s <= 0:
        raise UsageError(
            "the token would expire at once: `--within` isn't above 0", hint='give a time such as `--within "90d"`'
        )
    for endpoint in endpoints:
        if not is_name(endpoint):  # an empty name would let the token ask every endpoint
            raise UsageError(
                f"`{endpoint:.80}` can't be the name of an endpoint",
                hint="a name has letters, digits and `_ . -`; give `--endpoint` once for each name",
            )
        sole(endpoint, 1)
    identity = base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode().lower()
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    with open_ledger(project) as ledger:
        now = ledger.now()
        token = TokenRecord(
            id=identity,
            digest=digest_of(secret),
            name=name,
            endpoints=" ".join(dict.fromkeys(endpoints)),
            at=now,
            by=ledger.user,
            expires=None if within_s is None else now + within_s,
            revoked=None,
            scopes=" ".join(dict.fromkeys(scopes)),
        )
        ledger_tokens.add(ledger, token)
    return MadeToken(id=identity, token=written(identity, secret))


def revoke_token(project: Project, token: str) -> None:
    """Revoke a token, given by its id or its text. Servers that reach the ledger refuse it within a second.

    Raises:
        NotFoundError: there is no such token.
    """
    parts = token.split("_")
    with open_ledger(project) as ledger:
        ledger_tokens.revoke(ledger, parts[1] if len(parts) > 2 else token)


def token_views(views: Views) -> list[TokenView]:
    """Return all tokens, the newest first."""
    now = time.time()
    return [
        TokenView(
            id=row.id,
            name=row.name,
            endpoints=tuple(row.endpoints.split()),
            scopes=_scopes(row),
            at=row.at,
            by=row.by,
            expires=row.expires,
            revoked=row.revoked,
            valid=row.revoked is None and (row.expires is None or row.expires > now),
        )
        for row in views.tokens()
    ]


def valid_tokens(views: Views) -> list[Token]:
    """Return the tokens that aren't revoked, in the form in which a server uses them. Some may have expired: the server
    checks this for each request."""
    return [
        Token(row.id, row.digest, frozenset(row.endpoints.split()), row.expires, frozenset(_scopes(row)))
        for row in views.tokens()
        if row.revoked is None
    ]


def _scopes(row: TokenRecord) -> tuple[str, ...]:
    """Return what a token lets clients do. A token without scopes was made by an older release, in which every token
    was for predictions."""
    return (PREDICT,) if row.scopes is None else tuple(row.scopes.split())

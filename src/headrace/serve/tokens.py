"""Tokens: texts by which clients show that they may ask. A server keeps only what identifies them."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import NamedTuple

from headrace.serve.refusals import AccessRefused, NotReady, TokenRefused
from headrace.serve.request import Headers, values

PREFIX = "headrace"
"""The beginning of each token, by which programs that look for leaked secrets can find one."""
OLDEST_S = 600.0
"""For how long a server lets clients in by the tokens that it knows, while the ledger can't be read."""
PREDICT, FEEDBACK = SCOPES = ("predict", "feedback")
"""What a token may be for: to ask for predictions, and to say what really came of them."""
_NOBODY = "0" * 64
_CHALLENGE = ((b"www-authenticate", b"Bearer"),)


class Token(NamedTuple):
    """What a server knows of a token: its id, the SHA-256 of its secret, the endpoints that it lets ask (empty: all),
    until when, in Unix seconds, and what it is for."""

    id: str
    digest: str
    endpoints: frozenset[str]
    expires: float | None
    scopes: frozenset[str] = frozenset(SCOPES)


def written(identity: str, secret: str) -> str:
    """Return a token as its client sends it."""
    return f"{PREFIX}_{identity}_{secret}"


def digest_of(secret: str) -> str:
    """Return what is kept of a token's secret. The secret is 256 random bits, so a fast digest is enough: nobody can
    try them all."""
    return sha256(secret.encode()).hexdigest()


class Tokens:
    """The tokens that a server knows. `know` may be called in another thread than `check`."""

    def __init__(self, clock: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steady = steady
        self._known: dict[str, Token] = {}
        self._known_at = steady()

    def know(self, tokens: Iterable[Token]) -> None:
        """Take these tokens, which were read just now, in place of those that were known."""
        self._known = {token.id: token for token in tokens}
        self._known_at = self._steady()

    def check(self, headers: Headers, endpoint: str, scope: str) -> Token:
        """Check that a client may ask an endpoint for this, by its header `Authorization: Bearer TOKEN`, and return the
        token.

        Raises:
            TokenRefused: it has no valid token.
            AccessRefused: its token is for other endpoints, or for something else.
            NotReady: nobody knows which tokens are still valid.
        """
        token = self.valid(headers)
        if token.endpoints and endpoint not in token.endpoints:
            raise AccessRefused(
                f"the token `{token.id}` isn't for the endpoint `{endpoint:.80}`",
                hint="`headrace tokens make` makes a token for it",
            )
        if scope not in token.scopes:
            raise AccessRefused(
                f"the token `{token.id}` isn't for this: its scope is {' '.join(sorted(token.scopes))}",
                hint=f"`headrace tokens make --scope {scope}` makes a token for it",
            )
        return token

    def valid(self, headers: Headers) -> Token:
        """Return the token that a client shows, if it is valid. For the errors, see `check`."""
        if self._steady() - self._known_at > OLDEST_S:
            raise NotReady(
                f"the tokens couldn't be looked up for {OLDEST_S / 60:g} minutes, so none is taken",
                hint="see why the server can't read its ledger",
            )
        given = values(headers, b"authorization")
        if not given:
            raise TokenRefused(
                "the request has no token",
                hint="send the header `Authorization: Bearer TOKEN`; `headrace tokens make` makes a token",
                headers=_CHALLENGE,
            )
        kind, _, text = given[0].partition(" ")
        prefix, _, rest = text.strip().partition("_")
        identity, _, secret = rest.partition("_")
        token = self._known.get(identity)
        same = hmac.compare_digest(digest_of(secret), _NOBODY if token is None else token.digest)
        is_token = len(given) == 1 and kind.lower() == "bearer" and prefix == PREFIX
        if token is None or not same or not is_token:
            hint = "it may have been revoked; a new one is taken after a second"
            raise TokenRefused("this token isn't valid", hint=hint, headers=_CHALLENGE)
        if token.expires is not None and token.expires <= self._clock():
            raise TokenRefused("this token has expired", hint="`headrace tokens make` makes one", headers=_CHALLENGE)
        return token

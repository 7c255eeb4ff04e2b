"""Tokens: secret texts that clients send to show that they may make requests. A server has no token itself, only its id
and a digest."""

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
"""While the ledger can't be read, a server uses the tokens that it knows for this many seconds."""
PREDICT, FEEDBACK = SCOPES = ("predict", "feedback")
"""The kinds of requests that a token may allow: requests for predictions, and requests with labels of predictions."""
_NOBODY = "0" * 64
_CHALLENGE = ((b"www-authenticate", b"Bearer"),)


class Token(NamedTuple):
    """What a server knows about a token. `digest` is the SHA-256 of its secret. `endpoints` are the endpoints that it
    is valid for (empty: all). `expires` is in Unix seconds (None: it doesn't expire). `scopes` are the kinds of
    requests that it allows."""

    id: str
    digest: str
    endpoints: frozenset[str]
    expires: float | None
    scopes: frozenset[str] = frozenset(SCOPES)


def written(identity: str, secret: str) -> str:
    """Return a token as its client sends it."""
    return f"{PREFIX}_{identity}_{secret}"


def digest_of(secret: str) -> str:
    """Return the digest of a token's secret, which is stored instead of the secret. The secret is 256 random bits, so a
    fast digest is enough: nobody can try all secrets."""
    return sha256(secret.encode()).hexdigest()


class Tokens:
    """The tokens that a server knows. `know` may be called in another thread than `check`."""

    def __init__(self, clock: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steady = steady
        self._known: dict[str, Token] = {}
        self._known_at = steady()

    def know(self, tokens: Iterable[Token]) -> None:
        """Use these tokens, which were read just now, in place of those that were known before."""
        self._known = {token.id: token for token in tokens}
        self._known_at = self._steady()

    def check(self, headers: Headers, endpoint: str, scope: str) -> Token:
        """Return the token in a request's header `Authorization: Bearer TOKEN`, after checking that it is valid for
        this endpoint and this scope.

        Raises:
            TokenRefused: the request has no valid token.
            AccessRefused: the token is for other endpoints or other scopes.
            NotReady: it isn't known which tokens are still valid.
        """
        token = self.valid(headers)
        if token.endpoints and endpoint not in token.endpoints:
            raise AccessRefused(
                f"the token `{token.id}` isn't for the endpoint `{endpoint:.80}`",
                hint="`headrace tokens make` makes a token for it",
            )
        if scope not in token.scopes:
            raise AccessRefused(
                f"the token `{token.id}` isn't for such requests: its scope is {' '.join(sorted(token.scopes))}",
                hint=f"`headrace tokens make --scope {scope}` makes a token for it",
            )
        return token

    def valid(self, headers: Headers) -> Token:
        """Return a request's token if it is valid. For the errors, see `check`."""
        if self._steady() - self._known_at > OLDEST_S:
            raise NotReady(
                f"the tokens couldn't be looked up for {OLDEST_S / 60:g} minutes, so no token is accepted",
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
            hint = "it may have been revoked; a new token is accepted after a second"
            raise TokenRefused("this token isn't valid", hint=hint, headers=_CHALLENGE)
        if token.expires is not None and token.expires <= self._clock():
            raise TokenRefused("this token has expired", hint="`headrace tokens make` makes one", headers=_CHALLENGE)
        return token

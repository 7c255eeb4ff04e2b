"""Sends a notice by a webhook: a POST of JSON. The headers are those of Standard Webhooks (standardwebhooks.com), with
which a receiver recognises a notice that comes twice, and checks who sent it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import threading
from collections.abc import Mapping

import httpx

from headrace.errors import sentence
from headrace.spec.redaction import masked

PREFIX = "whsec_"


def headers(notice: str, body: bytes, at: int, secret: str | None) -> dict[str, str]:
    """Return the headers for a notice's id and body. `at` is the time of this try (Unix seconds). With a secret, the
    headers have a signature.

    >>> headers("notice_1", b"{}", 1700000000, "whsec_c2VjcmV0")["webhook-signature"]
    'v1,b7dFRe14T3f6FlG2b8Wh3dvR3V2dKqWEoO8qDyBzYBE='
    """
    found = {"content-type": "application/json", "webhook-id": notice, "webhook-timestamp": str(at)}
    if secret is not None:
        signed = hmac.new(_key(secret), f"{notice}.{at}.".encode() + body, hashlib.sha256).digest()
        found["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return found


def send(url: str, body: bytes, sent: Mapping[str, str], *, limit_s: float) -> str | None:
    """POST a notice. Return None if the server accepted it, else what went wrong. The returned text doesn't have the
    URL, which may be a secret.

    Redirects are not followed. The server's answer is not read beyond its status. The request is made in a thread of
    its own: looking up a host's name has no time limit, and so could hang.
    """
    outcome: list[str | None] = []
    call = threading.Thread(
        target=lambda: outcome.append(_post(url, body, sent, limit_s)), name="headrace-webhook", daemon=True
    )
    call.start()
    call.join(limit_s)
    return outcome[0] if outcome else f"the webhook's server didn't answer within {limit_s:g} s"


def _post(url: str, body: bytes, sent: Mapping[str, str], limit_s: float) -> str | None:
    try:
        with (
            httpx.Client(timeout=limit_s, follow_redirects=False) as client,
            client.stream("POST", url, content=body, headers=dict(sent)) as answer,
        ):
            status, reason = answer.status_code, answer.reason_phrase
    except httpx.TimeoutException:
        return f"the webhook's server didn't answer within {limit_s:g} s"
    except Exception as error:  # noqa: BLE001  nobody else sees it: this is a thread's first function
        return f"the webhook's server can't be reached: {masked(sentence(error)).replace(url, '***'):.200}"
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"the webhook's server answered with {status}, a redirect, and redirects aren't followed"
    return f"the webhook's server answered with {status} {reason:.60}".rstrip()


def _key(secret: str) -> bytes:
    """Return the key in a secret. The form `whsec_...` has the key in base64; any other secret is the key itself."""
    if secret.startswith(PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            pass
    return secret.encode()

"""Turns the errors of an object store into errors that a user understands.

The texts of obstore's errors contain requests, addresses and answers of the server, so they are never shown.
"""

from __future__ import annotations

import re
from typing import Literal

from headrace.errors import StoreError, StoreUnreachable

Act = Literal["read", "write", "list", "delete"]

GONE = frozenset({"NoSuchBucket", "ContainerNotFound"})
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"})
UNKNOWN = frozenset({"InvalidAccessKeyId", "AuthFailure", "UnrecognizedClientException", "InvalidClientTokenId"})
SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
ELSEWHERE = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "IncorrectEndpoint",
        "InvalidRegion",
    }
)
FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "InsufficientCapacity", "XMinioStorageFull"})
RIGHTS = {
    "read": "s3:GetObject",
    "write": "s3:PutObject, s3:AbortMultipartUpload",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
}

_CODE = re.compile(r"<Code>(\w+)</Code>")
_REGION = re.compile(r"<Region>([\w-]+)</Region>|expecting '([\w-]+)'")
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_ASKED_AGAIN = re.compile(r" in ([\d.]+m?s), after \d+ retries, .*? retry_timeout: ([\d.]+m?s)")
_KIND = re.compile(r"kind: (Connect|Timeout|Request|Decode|Interrupted|Unknown)")
_IDENTITY = re.compile(r"169\.254\.169\.254|metadata\.google|/token|sts\.|[Cc]redential")


def is_missing(error: BaseException) -> bool:
    """Return whether the error says that the object doesn't exist. If it says that the whole bucket doesn't exist,
    return False."""
    return isinstance(error, FileNotFoundError) and code_of(error) not in GONE


def is_passing(error: BaseException) -> bool:
    """Return whether repeating the request may help.

    Repeating may help if the answer was incomplete, if there was no answer, or if the server had an error. It doesn't
    help if obstore has already repeated the request until its time limit.
    """
    if isinstance(error, FileNotFoundError) or _is_spent(error):
        return False
    status = status_of(error)
    return type(error).__name__ == "GenericError" and (status is None or status >= 500 or status == 429)


def _is_spent(error: BaseException) -> bool:
    """Return whether the error's text says that obstore has repeated the request until its time limit."""
    matched = _ASKED_AGAIN.search(str(error))
    return matched is not None and _seconds(matched[1]) >= _seconds(matched[2])


def _seconds(text: str) -> float:
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text[:-1])


def code_of(error: BaseException) -> str:
    """Return the server's code for the error, such as `NoSuchBucket`, or "" if the answer has no code."""
    matched = _CODE.search(str(error))
    return matched[1] if matched else ""


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of the server's answer, or None if there was no answer."""
    matched = _STATUS.search(str(error))
    return int(matched[1]) if matched else None


def refusal(error: BaseException, *, url: str, endpoint: str, act: Act) -> StoreError:
    """Return our error for an error that obstore raised. `act` says what the request was for: to read, write, list or
    delete."""
    bucket = url.partition("://")[2].partition("/")[0]
    text, code, status = str(error), code_of(error), status_of(error)
    if code in GONE or (isinstance(error, FileNotFoundError) and act in ("list", "write")):
        return StoreUnreachable(
            f"the store `{url}` can't be used: there is no bucket `{bucket}` at {endpoint}",
            hint="make the bucket, or correct `url` (or `endpoint`) of the store in headrace.toml",
        )
    if code in FULL or status == 507:
        return StoreError(f"no room left in the store `{url}`", hint="free some (`headrace gc`), or raise its quota")
    if code in SKEWED:
        return StoreUnreachable(
            f"the store `{url}` refused the request: this machine's clock is off by too much",
            hint="set the clock (by NTP): signatures are valid for some minutes only",
        )
    if code in ELSEWHERE or status in (301, 307) or "incorrectly configured region" in text:
        matched = _REGION.search(text)
        region = (matched[1] or matched[2]) if matched else None
        return StoreUnreachable(
            f"the bucket `{bucket}` of the store `{url}` is in another region"
            + (f": `{region}`" if region else f" than the one that was asked, at {endpoint}"),
            hint=f'set region = "{region or "THE-REGION-OF-THE-BUCKET"}" for the store in headrace.toml',
        )
    if code in EXPIRED:
        return StoreUnreachable(
            f"the credentials for the store `{url}` have expired",
            hint="get new ones (sign in again, or renew the token), then `headrace resume` the run",
        )
    if code == "SignatureDoesNotMatch":
        return StoreUnreachable(
            f"the store `{url}` refused the request's signature: the secret key doesn't belong to the access key",
            hint="set both again (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or the profile in ~/.aws/credentials)",
        )
    if code in UNKNOWN:
        return StoreUnreachable(
            f"the store `{url}` doesn't know the access key",
            hint="check AWS_ACCESS_KEY_ID or the profile, and that they are for this server",
        )
    return _other(text, code, status, error, url=url, endpoint=endpoint, act=act)


def _other(
    text: str, code: str, status: int | None, error: BaseException, *, url: str, endpoint: str, act: Act
) -> StoreError:
    host = endpoint.partition("://")[2]
    if type(error).__name__ == "UnauthenticatedError" or (_IDENTITY.search(text) and host not in text):
        return StoreUnreachable(
            f"there are no credentials for the store `{url}`",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws/credentials, or give the "
            "machine a role (Google, Azure: their own usual places)",
        )
    if type(error).__name__ == "PermissionDeniedError" or status == 403:
        verb = {"list": "list", "delete": "delete in"}.get(act, act)
        return StoreUnreachable(
            f"these credentials may not {verb} the store `{url}`, or they aren't valid there",
            hint=f"give them the right ({RIGHTS[act]} on the bucket), or use others",
        )
    if status is not None:
        busy = status in (429, 503) or status >= 500
        return StoreUnreachable(
            f"the store `{url}` kept answering {status}{f' ({code})' if code else ''} when asked to {act}",
            hint="look at the server's health, and try again" if busy else f"look at the server at {endpoint}",
        )
    kind = _KIND.search(text)
    what = "didn't answer in time" if kind and kind[1] == "Timeout" else "can't be reached, or broke off"
    return StoreUnreachable(
        f"the store `{url}` {what} at {endpoint}",
        hint="check `endpoint` of the store in headrace.toml (http or https, host, port), the network, and its server",
    )

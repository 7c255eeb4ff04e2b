"""The response of a web service: its status, its `Retry-After`, and its body, unpacked up to a limit."""

from __future__ import annotations

import email.utils
import math
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from headrace.errors import SourceError
from headrace.spec.noun import Noun
from headrace.stages.ingest._http.urls import shown

TIMEOUTS = 20
"""The time limit for a whole response, as a multiple of the timeout for one piece of the response."""
_ZLIB = {"gzip": 31, "x-gzip": 31, "deflate": 47}


class Answer(Noun, frozen=True):
    """A server's response: the URL after redirects, the status, the headers (names in lower case), and the body."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def link(self) -> str | None:
        """The URL of the next page from the `Link` header; None if the header names none."""
        for each in httpx.Response(self.status, headers={"link": self.headers.get("link", "")}).links.values():
            if "next" in each.get("rel", "").split():
                return each["url"]
        return None

    @property
    def said(self) -> str:
        """The status in words, such as `404 Not Found`."""
        return f"{self.status} {httpx.codes.get_reason_phrase(self.status)}".strip()


def refuse_status(answer: Answer, *, secret: bool) -> None:
    """Check that a response's status is a success; `secret` is whether the request carried credentials.

    Raises:
        SourceError: the status isn't from 200 to 299. The hint fits the status.
    """
    if 200 <= answer.status < 300:
        return
    hints = {
        401: "the service doesn't accept this `auth`" if secret else 'give `auth=hr.secret("NAME")`',
        403: "this user lacks the rights to read it: get them, or give another `auth`",
        404: "check the URL and `params`",
        410: "check the URL and `params`",
    }
    said = " ".join(answer.body[:300].decode("utf-8", "replace").split())
    told = f": {said}" if said and "<" not in said[:20] else ""
    raise SourceError(
        f"`{shown(answer.url)}` answered {answer.said}{told}",
        hint=hints.get(answer.status, "look at what the service says of this request"),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the `Retry-After` header asks to wait; None if there is no valid header.

    A date in the header is compared with the server's own `Date` header, if there is one.

    >>> retry_after({"retry-after": "7"})
    7.0
    >>> date = {"date": "Wed, 21 Oct 2026 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}
    >>> retry_after(date)
    30.0
    """
    text = headers.get("retry-after", "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    until = _date(text)
    if until is None:
        return None
    there = _date(headers.get("date", ""))
    return max(0.0, until - (time.time() if there is None else there))


def _date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def unpacked(
    response: httpx.Response,
    url: str,
    limit: int,
    *,
    within_s: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """Return the body of a response, unpacked.

    This function unpacks the body itself, piece by piece, so that it can stop at `limit`: even one small packed piece
    can unpack to a vast size.

    Raises:
        SourceError: the body has more than `limit` bytes, isn't complete after `within_s` seconds, or is packed in an
            unknown way.
    """
    end = clock() + within_s
    told = response.headers.get("content-encoding", "").strip().lower()
    if told not in ("", "identity", *_ZLIB):
        raise SourceError(
            f"`{shown(url)}` answered in the encoding `{told}`, which the request didn't allow",
            hint="tell the service's operator",
        )
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_big(url, f"{int(length):,} bytes", limit)
    unpack: Any = zlib.decompressobj(_ZLIB[told]) if told in _ZLIB else None
    found = bytearray()
    try:
        for piece in response.iter_raw():
            if clock() > end:
                raise SourceError(
                    f"`{shown(url)}` answered with {len(found):,} bytes in {within_s:,.0f} s, and wasn't finished",
                    hint=f"ask for less per page, or raise `timeout`: an answer may take {TIMEOUTS} times the timeout",
                )
            rest = piece
            while rest:
                if unpack is not None and unpack.eof:  # a body may be several packed parts, with zeros after them
                    if not (rest := rest.lstrip(b"\0")):
                        break
                    unpack = zlib.decompressobj(_ZLIB[told])
                found += rest if unpack is None else unpack.decompress(rest, limit + 1 - len(found))
                if len(found) > limit:
                    raise _too_big(url, "a body", limit)
                rest = b"" if unpack is None else unpack.unused_data
    except zlib.error as error:
        raise SourceError(
            f"the body of `{shown(url)}` can't be unpacked as `{told}`: {error}", hint="tell the service's operator"
        ) from error
    if unpack is not None and found and not unpack.eof:
        raise httpx.RemoteProtocolError("the compressed body broke off")
    return bytes(found)


def _too_big(url: str, what: str, limit: int) -> SourceError:
    return SourceError(
        f"`{shown(url)}` answered with {what} over the limit of {limit / 2**20:,.0f} MiB",
        hint="ask for less per page, or raise `limit_mib`",
    )

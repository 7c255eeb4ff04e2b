"""Sends requests to a web service: with a limit on the rate, with retries, and with a limit on the response's size."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from headrace.errors import SourceError
from headrace.stages.ingest._http.addresses import Guard
from headrace.stages.ingest._http.answer import TIMEOUTS, Answer, retry_after, unpacked
from headrace.stages.ingest._http.limits import Manners
from headrace.stages.ingest._http.urls import origin, shown

REDIRECTS = 20
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The statuses after which a request is sent again."""

BACKOFF_S = 0.5
LONGEST_S = 60.0


class Caller:
    """An HTTP client of one web service, used while one stage runs."""

    def __init__(
        self,
        url: str,
        manners: Manners,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._origin = origin(url)
        self._manners = manners
        context = _context(manners.verify)
        self._client = httpx.Client(
            transport=transport
            or Guard(
                lambda: httpx.HTTPTransport(verify=context, proxy=manners.proxy),
                allowed=(self._origin[1],) if manners.allow_private else (),
                proxied=manners.proxy is not None,
            ),
            timeout=manners.timeout_s,
            trust_env=False,  # ignore proxies from the environment, and .netrc, whose credentials nobody chose
        )
        self._clock = clock
        self._sleep = sleep
        self._free = clock()
        self.requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(
        self,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        method: str = "GET",
        body: bool = True,
        headers: Mapping[str, str] | None = None,
        once: bool = False,
    ) -> Answer:
        """Send a request, and return the response. Retry after a network error, and after a status such as 429 or 503.

        A response with any other status is returned. If `body` is False, only the response's headers are read. With
        `once`, the request is never retried, and a response with any status is returned.

        Raises:
            SourceError: the retries are used up, or the response is refused (too large, a wrong redirect, ...).
        """
        full = str(httpx.URL(url).copy_merge_params(_plain(params))) if params else url
        tries = 0 if once else self._manners.retries
        for left in range(tries, -1, -1):
            trouble, told_s = "", None
            try:
                answer = self._follow(full, method, headers or {}, body=body)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError) as error:
                raise SourceError(f"`{shown(full)}` can't be asked: {error}", hint="check the URL") from error
            except httpx.HTTPError as error:
                trouble = self._trouble(full, error)
            else:
                if once or answer.status not in PASSING:
                    return answer
                trouble = _busy(answer)
                told_s = retry_after(answer.headers)
            if not left:
                break
            self._wait(tries - left, told_s, trouble)
        count = tries + 1
        raise SourceError(
            trouble + (f", asked {count} times" if count > 1 else ""),
            hint="check whether the service works, raise `retries`, or lower `rate`",
        )

    def heed(self, answer: Answer) -> None:
        """Wait as long as a response's `Retry-After` header asks, if its status says that the service is busy.

        Raises:
            SourceError: the header asks for a longer wait than `patience`.
        """
        told_s = retry_after(answer.headers)
        if answer.status in PASSING and told_s is not None:
            self._wait(0, told_s, _busy(answer))

    def _wait(self, tried: int, told_s: float | None, trouble: str) -> None:
        if told_s is not None and told_s > self._manners.patience_s:
            raise SourceError(
                f"{trouble}, and says to come back in {told_s:,.0f} s",
                hint=f"run again then, lower `rate`, or raise `patience` (now {self._manners.patience_s:g} s)",
            )
        if told_s is None:
            told_s = min(LONGEST_S, BACKOFF_S * 2**tried) * random.uniform(0.5, 1.0)
        self._sleep(told_s)

    def _pace(self) -> None:
        """Wait until the limit on the rate allows one more request, and count the request."""
        if self._manners.rate is not None:
            now = self._clock()
            if self._free > now:
                self._sleep(self._free - now)
            self._free = max(self._free, now) + 1 / self._manners.rate
        self.requests += 1

    def _follow(self, url: str, method: str, headers: Mapping[str, str], *, body: bool) -> Answer:
        """Send a request, follow redirects, and return the last response.

        Credentials and the user's headers are sent to the service's own host only, not to other hosts.
        """
        passed = [url]
        while True:
            self._pace()
            request = self._client.build_request(method, url, headers={**self._headers(url), **headers})
            response = self._client.send(request, stream=True, auth=self._auth(url), follow_redirects=False)
            try:
                if response.next_request is None:
                    return self._read(response, url, body=body and method != "HEAD")
                target = str(response.next_request.url)
            finally:
                response.close()
            if target in passed:
                chain = " to ".join(f"`{shown(each)}`" for each in [*passed[passed.index(target) :], target])
                raise SourceError(
                    f"an endless redirect: from {chain}", hint="check the URL, and whether it needs a sign-in"
                )
            if len(passed) > REDIRECTS:
                raise SourceError(
                    f"`{shown(passed[0])}` was redirected more than {REDIRECTS} times, last to `{shown(target)}`",
                    hint="check the URL, and whether it needs a sign-in",
                )
            if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
                raise SourceError(
                    f"`{shown(url)}` redirects from https to `{shown(target)}`", hint="give the right URL"
                )
            passed.append(target)
            url = target

    def _headers(self, url: str) -> dict[str, str]:
        own = {"Accept-Encoding": "gzip, deflate"}
        if origin(url) != self._origin:
            return own
        bearer = {"Authorization": f"Bearer {self._manners.auth}"} if isinstance(self._manners.auth, str) else {}
        return {**own, **bearer, **self._manners.headers}

    def _auth(self, url: str) -> httpx.Auth | None:
        if isinstance(self._manners.auth, tuple) and origin(url) == self._origin:
            return httpx.BasicAuth(*self._manners.auth)
        return None

    def _read(self, response: httpx.Response, url: str, *, body: bool) -> Answer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        within_s = TIMEOUTS * self._manners.timeout_s
        limit = self._manners.limit_bytes
        content = unpacked(response, url, limit, within_s=within_s, clock=self._clock) if body else b""
        return Answer(url=url, status=response.status_code, headers=headers, body=content)

    def _trouble(self, url: str, error: httpx.HTTPError) -> str:
        """Return a message for a network error after which a retry may succeed; raise SourceError for any other
        error."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise SourceError(
                    f"the certificate of `{urlsplit(url).netloc}` isn't valid: {cause.verify_message}",
                    hint='if its authority is your own, give its certificate by `verify="path/ca.pem"`',
                ) from error
            if isinstance(cause, ssl.SSLError):
                raise SourceError(
                    f"no TLS with `{urlsplit(url).netloc}`: {cause.reason or cause}",
                    hint="if the service doesn't use TLS, write `http://`",
                ) from error
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.TimeoutException):
            return f"`{shown(url)}` gave no answer within {self._manners.timeout_s:g} s"
        return f"`{shown(url)}` can't be reached, or broke off: {error}"


def _busy(answer: Answer) -> str:
    return f"`{shown(answer.url)}` answered {answer.said}"


def _plain(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _context(verify: bool | str) -> ssl.SSLContext:
    try:
        context = httpx.create_ssl_context(verify=bool(verify))
        if isinstance(verify, str):
            context.load_verify_locations(cafile=verify)
    except (OSError, ssl.SSLError) as error:
        raise SourceError(f"the certificates `{verify}` can't be read: {error}", hint="give a PEM file") from error
    return context

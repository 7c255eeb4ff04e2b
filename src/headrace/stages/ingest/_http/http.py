"""`ingest.http`: reads a web service as a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import pyarrow as pa

from headrace.codec.joined import Joined
from headrace.define.argument_check import held_to_types
from headrace.define.attempt import attempt
from headrace.define.ports import Attempt
from headrace.define.secret import Secret
from headrace.define.stage import ready
from headrace.errors import DefinitionError, SourceError
from headrace.stages.ingest._files.formats import Pairs, schema_of
from headrace.stages.ingest._http.answer import refuse_status
from headrace.stages.ingest._http.bodies import check_format, table_of
from headrace.stages.ingest._http.caller import Caller
from headrace.stages.ingest._http.limits import Manners, manners
from headrace.stages.ingest._http.pages import By, Pages, first
from headrace.stages.ingest._http.pagination import Changed, Page, Walk, Wanted, validator, version_of
from headrace.stages.ingest._http.request import LATER, check_words, sent, telling
from headrace.stages.ingest._http.urls import checked, shown

RESTARTS = 3
"""How many times all pages are read if they change during each reading. After the last reading, the task fails."""

Probe = Literal["auto", "first", "always"]
_ALWAYS = "asked at "


@held_to_types(
    "ingest.http",
    apart=(
        *("url", "paginate", "params", "headers", "auth", "format", "schema", "version"),
        *("rate", "retries", "timeout", "patience", "limit_mib", "max_pages", "verify", "proxy"),
    ),
)
def http(
    url: str,
    *,
    paginate: By | Pages | None = None,
    rows: str | None = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    auth: str | tuple[str, str] | None = None,
    format: Literal["json", "jsonl", "csv", "parquet", "arrow"] = "json",
    schema: pa.Schema | Pairs | None = None,
    key: str | Sequence[str] = (),
    version: Probe = "auto",
    rate: str | float | None = None,
    retries: int = 5,
    timeout: str | float = "60s",
    patience: str | float = "10m",
    limit_mib: float = 256,
    max_pages: int = 10_000,
    allow_private: bool = False,
    verify: bool | str = True,
    proxy: str | None = None,
) -> pa.Table:
    """Read a web service, and return its rows as a table.

    In a pipeline, the call makes two tasks. `http_version` asks for the version of the data. `http` reads the data,
    unless that version has been read before.

    Args:
        url: the address, with `http://` or `https://`.
        paginate: how pages follow each other: `"next"`, `"cursor"`, `"page"`, `"offset"`, or an `ingest.Pages` with
            more settings. None: there is one page.
        rows: the path of the list of rows in a page's JSON, such as `data.items`. None: the JSON itself is the list.
        params: parameters to add to the URL after the `?`.
        headers: headers to send, to the service's own host only.
        auth: a token (`hr.secret("TOKEN")`, sent as `Bearer`), or a user and a password. It is sent to the service's
            own host only.
        format: the format of the responses.
        schema: the columns to read. None: found from all rows.
        key: one or more fields that identify a row. With a key, a row that comes twice is noticed. For JSON only.
        version: how to see whether the data changed. `"auto"`: by the page's ETag or Last-Modified, or a digest of its
            bytes. If there are several pages, the data are always read, because the first page may stay the same when
            others change. `"first"`: by the first page, even with several pages. `"always"`: read the data each time.
        rate: the highest rate of requests, such as `"10/s"` or `"600/m"`. None: no limit.
        retries: how often a request is sent again after a network error or a status such as 429 or 503.
        timeout: the longest time during which the server may send nothing. A whole response may take twenty times as
            long.
        patience: the longest wait that the server may ask for (`Retry-After`); a longer one is an error.
        limit_mib: the largest size of a page, unpacked, in MiB.
        max_pages: the largest number of pages.
        allow_private: whether the host of `url` may be in a private network. Another host that `url` redirects to must
            be public.
        verify: a file of certificates (PEM) to trust in addition to the usual ones. False: trust any certificate.
        proxy: the URL of a proxy, which then resolves host names. None: no proxy.

    Raises:
        DefinitionError: an argument is wrong, or two don't go together.
        SourceError: the service can't be read, or its response isn't as described by the arguments.
    """
    _check_url(url)
    check_format(format)
    if version not in ("auto", "first", "always"):
        raise DefinitionError(f"version={version!r} is not known", hint='give "auto", "first" or "always"')
    pages, schema = _pages(paginate), schema_of(schema)
    if type(max_pages) is not int or max_pages < 1:
        raise DefinitionError(f"max_pages={max_pages!r} is not a number of pages", hint="give a whole number from 1")
    manner = {
        "rate": rate,
        "retries": retries,
        "timeout": timeout,
        "patience": patience,
        "limit_mib": limit_mib,
        "allow_private": allow_private,
        "verify": verify,
        "proxy": proxy,
    }
    manners(headers={}, auth=None, **manner)  # type: ignore[arg-type]  # wrong settings raise an error here
    if key and format != "json":
        raise DefinitionError(f"`key` works with JSON, not with `{format}`", hint="leave it out")
    params, headers = {} if params is None else params, {} if headers is None else headers
    check_words(params, headers, auth)
    asked = {"params": dict(params), "headers": dict(headers), "auth": auth, "manner": manner}
    told = http_version(url, pages=pages, probe=version, **asked)
    take = read.with_options(cache=False) if _is_always_read(pages, version) else read
    return take(
        url,
        told,
        pages=pages,
        rows=rows,
        form=format,
        schema=schema,
        key=(key,) if isinstance(key, str) else tuple(key),
        max_pages=max_pages,
        **asked,
    )


def _check_url(url: Any) -> None:
    if isinstance(url, str):
        checked(url)
    elif not isinstance(url, LATER):
        raise DefinitionError(f"the URL is a `{type(url).__name__}`", hint="give a text, such as `https://...`")


def _is_always_read(pages: Pages | None, probe: str) -> bool:
    return probe == "always" or (pages is not None and probe == "auto")


def _pages(paginate: Any) -> Pages | None:
    if isinstance(paginate, Pages | None):
        return paginate
    if not isinstance(paginate, str):
        raise DefinitionError(f"paginate={paginate!r:.80} is not known", hint='give "page", or an `ingest.Pages`')
    return Pages(by=paginate)  # type: ignore[arg-type]  # an unknown `by` raises an error there


@ready("ingest.http.version", version=1, kind="ingest", cache=False)
def http_version(
    url: str,
    *,
    pages: Pages | None,
    probe: str,
    params: dict[str, Any],
    headers: dict[str, str],
    auth: str | tuple[str, str] | None,
    manner: dict[str, Any],
) -> str:
    """Return the version of a service's data, found from the response to a HEAD request. If that response has no
    version, the first page is read to find one. If the data must be read in each run, return a different text each
    time."""
    if _is_always_read(pages, probe):
        return _ALWAYS + datetime.now(UTC).isoformat()
    params, headers, auth = _told(params, headers, auth)
    start = first(url, params, pages)
    with _caller(url, headers, auth, manner) as caller:
        head = None
        with suppress(SourceError):  # some services refuse HEAD in many ways; the GET below finds real errors
            head = caller.ask(start.url, start.params, method="HEAD", once=True)
        if head is not None:
            if 200 <= head.status < 300 and (found := validator(head)):
                return found
            caller.heed(head)
        answer = caller.ask(start.url, start.params)
        refuse_status(answer, secret=auth is not None)
        return version_of(answer)


@ready("ingest.http", version=2, on=("httpx", "msgspec", "pyarrow"), kind="ingest", name="http")
def read(
    url: str,
    version: str,
    *,
    pages: Pages | None,
    rows: str | None,
    form: str,
    schema: pa.Schema | None,
    key: tuple[str, ...],
    max_pages: int,
    params: dict[str, Any],
    headers: dict[str, str],
    auth: str | tuple[str, str] | None,
    manner: dict[str, Any],
) -> pa.Table:
    """Return the rows of all pages of a service. A new attempt skips the pages that the last attempt saved."""
    here = attempt()
    params, headers, auth = _told(params, headers, auth)
    wanted = Wanted(
        url=url,
        params=params,
        pages=pages,
        format=form,
        rows=rows,
        key=key,
        limit=max_pages,
        secret=auth is not None,
        veiled=_words([params, headers, auth]),
    )
    with _caller(url, headers, auth, manner) as caller:
        found = _unchanged(caller, wanted, here)
    if pages is None and not version.startswith(_ALWAYS):
        here.saw(version=found[0].version)
    return table_of([page.data for page in found if page.rows or form != "json"], form, schema, url)


def _unchanged(caller: Caller, wanted: Wanted, here: Attempt) -> list[Page]:
    """Return all pages. If the service changes while it is read, the pages are read again.

    Pages that an earlier attempt saved aren't requested again.

    Raises:
        SourceError: the data changed during each reading, or the pages contradict each other in the same way at each
            reading.
    """
    walk = partial(Walk, caller, wanted, keep=lambda tables: here.keep(Joined(tables)))
    kept = here.checkpoint()
    if isinstance(kept, pa.Table):
        with suppress(Changed):
            return walk(kept=kept).pages()
    changes: list[Changed] = []
    for _ in range(RESTARTS):
        try:
            return walk().pages()
        except Changed as change:
            changes.append(change)
    last = changes[-1]
    if last.otherwise and len({str(change) for change in changes}) == 1:
        raise SourceError(
            f"`{shown(wanted.url)}` was read {RESTARTS} times over, and each time {last}", hint=last.otherwise
        ) from last
    raise SourceError(
        f"`{shown(wanted.url)}` changed while it was read, {RESTARTS} times over: {last}",
        hint="read it at a quieter time, or by pages that don't shift (a cursor, an order by time)",
    ) from last


def _caller(url: str, headers: Mapping[str, str], auth: Any, manner: Mapping[str, Any]) -> Caller:
    told: Manners = manners(headers=headers, auth=auth, **manner)
    return Caller(url, told)


def _told(params: Any, headers: Any, auth: Any) -> tuple[dict[str, Any], dict[str, str], Any]:
    """Return `params`, `headers` and `auth` with the values of secrets filled in. The values of `params` are converted
    to types that can be sent."""
    params, headers, auth = _revealed(params), _revealed(headers), _revealed(auth)
    telling(params, headers, auth)
    return {name: sent(value) for name, value in params.items()}, headers, auth


def _revealed(value: Any) -> Any:
    """Return a value with each `Secret` in it replaced by its environment variable's value.

    In a pipeline this changes nothing, because the worker has already filled in the secrets.
    """
    if isinstance(value, Secret):
        found = os.environ.get(value.name)
        if found is None:
            raise SourceError(f"secret `{value.name}` is not set", hint=f"set the environment variable {value.name}")
        return found
    if isinstance(value, dict):
        return {name: _revealed(each) for name, each in value.items()}
    return type(value)(_revealed(each) for each in value) if isinstance(value, tuple | list) else value


def _words(value: Any) -> tuple[str, ...]:
    """Return all texts in a value, including those inside dictionaries, lists and tuples."""
    if isinstance(value, str):
        return (value,)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return tuple(word for each in items for word in _words(each))

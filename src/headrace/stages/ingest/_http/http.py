"""`ingest.http`: what a web service gives, as a table."""

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
"""So often what changed while it was read is read anew."""

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

    In a pipeline these are two tasks: `http_version` asks for the version of what is there, `http` reads it, unless
    that version has been read before.

    Args:
        url: where it is; `http://` or `https://`.
        paginate: how its pages follow each other: `"next"`, `"cursor"`, `"page"`, `"offset"`, or an `ingest.Pages`
            that says more.
        rows: where in the JSON of a page the list of rows stands, as a path such as `data.items`; if not given, the
            JSON is the list.
        params: what is added to the URL after the `?`.
        headers: sent along, to the service's own host only.
        auth: a token (`hr.secret("TOKEN")`, sent as `Bearer`), or a user and a password; sent to the service's own
            host only.
        format: what it answers with.
        schema: the columns; found from all rows if not given.
        key: a field of the rows, or several, by which a row that comes on two pages is known; of JSON.
        version: `"auto"`: by ETag or Last-Modified of the one page, or the digest of its bytes; what has pages is
            read always, since its first page doesn't tell of the others. `"first"`: it does. `"always"`: read always.
        rate: at most so many requests, such as `"10/s"`, `"600/m"`.
        retries: how often a request is made again after an answer such as 429 or 503, or none.
        timeout: the longest that the server may be silent; an answer may take twenty times that until it is whole.
        patience: the longest Retry-After that is waited for.
        limit_mib: the most that a page may hold, unpacked.
        max_pages: the most pages.
        allow_private: whether the host of `url` may be in a private network; not another that it redirects to.
        verify: a file of certificates (PEM) to trust beside the usual ones; False trusts any.
        proxy: the URL of a proxy; it then resolves the names.

    Raises:
        DefinitionError: something of this makes no sense.
        SourceError: the service can't be read, or doesn't give what was expected.
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
    manners(headers={}, auth=None, **manner)  # type: ignore[arg-type]  # what is wrong in it is said now
    if key and format != "json":
        raise DefinitionError(f"`key` works with JSON, not with `{format}`", hint="leave it out")
    params, headers = {} if params is None else params, {} if headers is None else headers
    check_words(params, headers, auth)
    asked = {"params": dict(params), "headers": dict(headers), "auth": auth, "manner": manner}
    told = http_version(url, pages=pages, probe=version, **asked)
    return read(
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


def _pages(paginate: Any) -> Pages | None:
    if isinstance(paginate, Pages | None):
        return paginate
    if not isinstance(paginate, str):
        raise DefinitionError(f"paginate={paginate!r:.80} is not known", hint='give "page", or an `ingest.Pages`')
    return Pages(by=paginate)  # type: ignore[arg-type]  # which says what is wrong


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
    """Ask a service for the version of what it has, without reading it where it can tell."""
    if probe == "always" or (pages is not None and probe == "auto"):
        return _ALWAYS + datetime.now(UTC).isoformat()
    params, headers, auth = _told(params, headers, auth)
    start = first(url, params, pages)
    with _caller(url, headers, auth, manner) as caller:
        with suppress(SourceError):  # some services know no HEAD, and say so in many ways; GET tells what is wrong
            answer = caller.ask(start.url, start.params, method="HEAD", once=True)
            if 200 <= answer.status < 300 and (found := validator(answer)):
                return found
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
    """Read all pages of a service; an attempt that is made again asks only for those that the last one hadn't kept."""
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
    """Return all pages, of a service that didn't change meanwhile; those that an earlier attempt kept aren't asked for.

    Raises:
        SourceError: it changed each time, or contradicts itself in the same way each time.
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
    """Return what is sent along, with the values of secrets, and as it can be sent."""
    params, headers, auth = _revealed(params), _revealed(headers), _revealed(auth)
    telling(params, headers, auth)
    return {name: sent(value) for name, value in params.items()}, headers, auth


def _revealed(value: Any) -> Any:
    """Return what a secret stands for, where a stage is called outside of a pipeline; a worker has its value
    already."""
    if isinstance(value, Secret):
        found = os.environ.get(value.name)
        if found is None:
            raise SourceError(f"secret `{value.name}` is not set", hint=f"set the environment variable {value.name}")
        return found
    if isinstance(value, dict):
        return {name: _revealed(each) for name, each in value.items()}
    return type(value)(_revealed(each) for each in value) if isinstance(value, tuple | list) else value


def _words(value: Any) -> tuple[str, ...]:
    """Return all text in a value."""
    if isinstance(value, str):
        return (value,)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return tuple(word for each in items for word in _words(each))

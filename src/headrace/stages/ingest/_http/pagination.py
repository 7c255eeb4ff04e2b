"""Reads a service page by page, notices changes during the reading, and resumes an interrupted reading."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
from blake3 import blake3

from headrace.define.log import warn
from headrace.errors import SourceError
from headrace.spec.noun import Noun
from headrace.stages.ingest._files.formats import Source, read_table
from headrace.stages.ingest._http.answer import Answer, refuse_status
from headrace.stages.ingest._http.bodies import Body, open_body
from headrace.stages.ingest._http.caller import Caller
from headrace.stages.ingest._http.pages import PLACES, Pages, Request, find, first, following, has_no_place
from headrace.stages.ingest._http.redaction import Veil
from headrace.stages.ingest._http.urls import shown

KEEP_SHARE = 0.2
"""Roughly the largest share of the reading's time that is spent on saving pages. If small pages come fast, several
pages are saved together."""

_SCHEMA = pa.schema(
    [
        ("after", pa.binary()),
        ("etag", pa.string()),
        ("modified", pa.string()),
        ("total", pa.int64()),
        ("rows", pa.int64()),
        ("version", pa.string()),
        ("data", pa.large_binary()),
    ]
)


_decode_lines = msgspec.json.Decoder().decode_lines


class Changed(Exception):
    """Raised if the data seem to have changed between two pages; the message says how.

    `otherwise` is the hint for the user if the same problem occurs at each reading. In that case, the cause isn't a
    change of the data.
    """

    def __init__(self, how: str, *, otherwise: str = "") -> None:
        super().__init__(how)
        self.otherwise = otherwise


class Page(Noun, frozen=True):
    """A page that was read: its rows as bytes, the request for the next page, and the headers that tell its version.

    `after` is the request for the next page, or None for the last page. `total` is how many rows all pages have
    together, as this page reports it, or None.
    """

    after: Request | None
    etag: str
    modified: str
    total: int | None
    rows: int
    version: str
    data: bytes


class Wanted(Noun, frozen=True):
    """The data to read from a service.

    `key` are the fields that identify a row, and `limit` is the largest number of pages. `secret` is whether requests
    carry credentials. `veiled` are texts that may be secret; they are removed from the pages that are saved.
    """

    url: str
    params: Mapping[str, Any]
    pages: Pages | None
    format: str
    rows: str | None
    key: tuple[str, ...]
    limit: int
    secret: bool
    veiled: tuple[str, ...] = ()


class Walk:
    """One reading of all pages of a service.

    `keep` is a function that saves a list of tables. Each call gets the tables of the previous call (the same objects)
    and one new table. `kept` is a table of pages that an interrupted reading saved with `keep`, or None.
    """

    def __init__(
        self,
        caller: Caller,
        wanted: Wanted,
        *,
        kept: pa.Table | None = None,
        keep: Callable[[Sequence[pa.Table]], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._caller = caller
        self._wanted = wanted
        self._keep = keep
        self._clock = clock
        self._veil = Veil(wanted.veiled)
        self._tables = [] if kept is None else [kept]
        self._pages = [] if kept is None else _loaded(kept, self._veil)
        self._rows = sum(page.rows for page in self._pages)
        self._unkept: list[Page] = []
        self._seen_keys: dict[bytes, int] = {}
        self._asked: dict[bytes, int] = {}
        self._keeping_s: float | None = None
        self._kept_at = clock()

    def pages(self) -> list[Page]:
        """Read the pages that aren't read yet, and return all pages.

        Raises:
            Changed: the data changed during the reading.
            SourceError: a response is wrong, or the pages don't fit the settings.
        """
        wanted = self._wanted
        start = first(wanted.url, wanted.params, wanted.pages)
        if self._pages:
            self._confirm_kept(start)
        self._note(start, 1)
        for number, page in enumerate(self._pages, start=1):
            self._check(page, number, None)
            if page.after is not None:
                self._note(page.after, number + 1)
        request = self._pages[-1].after if self._pages else start
        while request is not None:
            request = self._next(request)
        if len(self._pages) > 1:
            self._confirm(start)
        self._check_total()
        return self._pages

    def _next(self, request: Request) -> Request | None:
        wanted, number = self._wanted, len(self._pages) + 1
        if number > wanted.limit:
            raise SourceError(
                f"`{shown(wanted.url)}` has more than {wanted.limit:,} pages",
                hint="if you expect more pages, raise `max_pages`",
            )
        answer = self._caller.ask(request.url, request.params)
        refuse_status(answer, secret=wanted.secret)
        body = self._opened(answer)
        if body.doubt and number == 1:
            warn(body.doubt)
        rows = self._count(body, request)
        so_far = self._rows + rows
        total = self._total(body, number)
        page = Page(
            after=following(wanted.pages, request, answer, body.said, rows=rows, rows_so_far=so_far),
            etag=answer.headers.get("etag", ""),
            modified=answer.headers.get("last-modified", ""),
            total=total,
            rows=rows,
            version=version_of(answer),
            data=body.data,
        )
        self._check(page, number, body.items)
        if page.after is not None:
            self._note(page.after, number + 1)
        elif number == 1 and rows and wanted.pages is not None and has_no_place(body.said, wanted.pages):
            self._check_only(page, wanted.pages)
        self._pages.append(page)
        self._rows = so_far
        self._unkept.append(page)
        if page.after is not None:
            self._keep_some()
        return page.after

    def _opened(self, answer: Answer) -> Body:
        if answer.status == 204:
            return Body(data=b"", rows=0)
        return open_body(answer, self._wanted.format, self._wanted.rows)

    def _check_only(self, page: Page, pages: Pages) -> None:
        """Check a first page that has no field for the next page.

        The page is treated as the only page, and a warning says so. There is no warning if the next URL may come in the
        `Link` header.

        Raises:
            SourceError: the page reports more or fewer rows in all than it has.
        """
        where = pages.at or " or ".join(PLACES[pages.by][:2])
        if page.total not in (None, page.rows):
            raise SourceError(
                f"page 1 of `{shown(self._wanted.url)}` has no `{where}`, where the next page should be named: it "
                f"reports {page.total:,} rows and gave {page.rows:,}",
                hint="correct `at` of `paginate`: it must say where a page names the next one",
            )
        if pages.by == "cursor" or pages.at:  # a `Link` header may be missing on the only page
            warn(f"page 1 of `{shown(self._wanted.url)}` has no `{where}`, so it was treated as the only page")

    def _total(self, body: Body, number: int) -> int | None:
        """Return how many rows all pages have together, as page `number` reports it at the path `paginate.total`.
        Return None if there is no such path, or no number at it.

        Raises:
            SourceError: the first page is JSON, and has no number at this path.
        """
        pages = self._wanted.pages
        if pages is None or not pages.total:
            return None
        found = find(body.said, pages.total)
        if number == 1 and body.said is not None and not isinstance(found, int):
            raise SourceError(
                f"`{shown(self._wanted.url)}` has no number of rows at `{pages.total}`",
                hint="correct `total` of `paginate`, or leave it out",
            )
        return found if isinstance(found, int) else None

    def _count(self, body: Body, request: Request) -> int:
        if body.rows >= 0 or self._wanted.pages is None:
            return max(body.rows, 0)
        return int(read_table(Source.of_bytes(shown(request.url), body.data), self._wanted.format).num_rows)

    def _note(self, request: Request, number: int) -> None:
        """Remember the request for page `number`; raise SourceError if an earlier page had the same request."""
        mark = msgspec.json.encode(request, order="sorted")
        if mark in self._asked:
            raise SourceError(
                f"page {number - 1} of `{shown(self._wanted.url)}` leads back to page {self._asked[mark]}",
                hint="its pages go round in a circle: tell its operator, or correct `paginate`",
            )
        self._asked[mark] = number

    def _check(self, page: Page, number: int, items: Sequence[Any] | None) -> None:
        """Check that a page reports the same total as the first page, and that no row has the key of another row.

        `items` are the page's decoded rows; None to decode them from the page.

        Raises:
            Changed: the total differs, or a row of an earlier page comes again.
            SourceError: a row has no key, or two rows of the page have the same key.
        """
        before = self._pages[0] if self._pages else page
        if page.total != before.total:
            raise Changed(
                f"page 1 reports {before.total} rows, page {number} reports {page.total}",
                otherwise="set `total` of `paginate` to the path of the number of all rows, or leave it out",
            )
        if not self._wanted.key or self._wanted.format != "json":
            return
        for item in _decode_lines(page.data) if items is None else items:
            values = [find(item, each) for each in self._wanted.key]
            if all(value is None for value in values):
                raise SourceError(
                    f"a row on page {number} of `{shown(self._wanted.url)}` has no `{', '.join(self._wanted.key)}`",
                    hint="set `key` to a field that each row has",
                )
            mark = msgspec.json.encode(values)
            other, self._seen_keys[mark] = self._seen_keys.get(mark), number
            if other is not None:
                self._refuse_twice(f"`{', '.join(self._wanted.key)}` {mark[1:-1].decode()}", other, number)

    def _refuse_twice(self, row: str, other: int, number: int) -> None:
        """Raise the error for a key that two rows have: one on page `other`, and a later one on page `number`.

        Rows don't move within one page. So if a key occurs twice on one page, the key doesn't identify rows. `row` is
        the key in words.

        Raises:
            Changed: the rows are on different pages.
            SourceError: both rows are on the same page.
        """
        keys = "set `key` to the fields that identify a row, or leave it out"
        if other == number:
            raise SourceError(
                f"several rows on page {number} of `{shown(self._wanted.url)}` have {row}, so the key doesn't "
                "identify rows",
                hint=keys,
            )
        raise Changed(
            f"the row with {row} is on pages {other} and {number}",
            otherwise=f"{keys}; if `key` is right, the service gives the same row on several pages: check `paginate`",
        )

    def _check_total(self) -> None:
        told = self._pages[0].total
        if told is not None and told != self._rows:
            raise Changed(
                f"it reports {told} rows and gave {self._rows}",
                otherwise="set `total` of `paginate` to the path of the number of all rows; if it is right, check that "
                "each page leads to the next one",
            )

    def _confirm_kept(self, start: Request) -> None:
        """Raise Changed if the first page is no longer the same as the saved one. Its ETag or Last-Modified is
        compared, or its rows if it has neither header."""
        page = self._pages[0]
        if page.etag or page.modified:
            self._confirm(start)
            return
        answer = self._caller.ask(start.url, start.params)
        refuse_status(answer, secret=self._wanted.secret)
        body = self._opened(answer)
        if (body.data, self._total(body, 1)) != (page.data, page.total):
            raise Changed("its first page is not the one that was read")

    def _confirm(self, start: Request) -> None:
        """Raise Changed if the first page now has another ETag or Last-Modified than when it was read. If it had
        neither header then, do nothing."""
        page = self._pages[0]
        conditions = {"If-None-Match": page.etag} if page.etag else {"If-Modified-Since": page.modified}
        if not (page.etag or page.modified):
            return
        answer = self._caller.ask(start.url, start.params, headers=conditions, body=False)
        if answer.status == 304:
            return
        refuse_status(answer, secret=self._wanted.secret)
        if validator(answer) != _validator(page.etag, page.modified):
            raise Changed("its first page is not the one that was read")

    def _keep_some(self) -> None:
        """Save the pages read since the last save, unless saving would take too large a share of the time."""
        now = self._clock()
        if self._keeping_s is not None and self._keeping_s > KEEP_SHARE * (now - self._kept_at):
            return
        self._tables.append(_table(self._unkept, self._veil))
        self._unkept = []
        self._keep(self._tables)
        # the first save isn't counted: much of its time goes into imports
        self._keeping_s = 0.0 if self._keeping_s is None else self._clock() - now
        self._kept_at = self._clock()


def validator(answer: Answer) -> str:
    """Return a response's version: its ETag or Last-Modified header, or an empty text if it has neither."""
    return _validator(answer.headers.get("etag", ""), answer.headers.get("last-modified", ""))


def version_of(answer: Answer) -> str:
    """Return a response's version: its ETag or Last-Modified header, or the digest of its body if it has neither."""
    return validator(answer) or f"digest {blake3(answer.body).hexdigest()}"


def _validator(etag: str, modified: str) -> str:
    # the same content may have another ETag when compressed (`-gzip`), or when a proxy changed it (`W/`)
    return f"ETag {etag.removeprefix('W/').replace('-gzip', '')}" if etag else f"as of {modified}" if modified else ""


def _table(pages: Sequence[Page], veil: Veil) -> pa.Table:
    rows = [
        {name: getattr(page, name) for name in _SCHEMA.names if name != "after"}
        | {"after": veil.hide(msgspec.json.encode(page.after))}
        for page in pages
    ]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _loaded(table: pa.Table, veil: Veil) -> list[Page]:
    return [
        Page(**{**row, "after": msgspec.json.decode(veil.show(row["after"]), type=Request | None)})
        for row in table.to_pylist()
    ]

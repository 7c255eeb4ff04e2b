"""How a service divides what it has into pages, and which page comes after one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urljoin

from headrace.errors import DefinitionError, SourceError
from headrace.spec.noun import Noun
from headrace.stages.declared import Declared
from headrace.stages.ingest._http.answer import Answer
from headrace.stages.ingest._http.urls import shown

By = Literal["next", "cursor", "page", "offset"]

PLACES: dict[str, tuple[str, ...]] = {
    "next": ("next", "links.next", "links.next.href", "_links.next.href", "paging.next", "next_url", "@odata.nextLink"),
    "cursor": ("next_cursor", "cursor", "meta.next_cursor", "paging.cursors.after", "next_page_token", "nextPageToken"),
}
"""Where a body tells of the next page, if `at` doesn't say where: the first of these that is there."""
_ABSENT = object()


class Pages(Noun, metaclass=Declared, frozen=True):
    """How pages follow each other.

    Args:
        by: `"next"`: by a URL, in the `Link` header or in the body; `"cursor"`: by a word in the body, given back as a
            parameter; `"page"`: by a number that grows by one until a page is empty; `"offset"`: by the number of rows
            so far, until a page is empty.
        at: where the body tells the URL or the cursor, as a path such as `meta.next`.
        param: the parameter that takes the cursor, page number or offset; its name is `by` if not told.
        first: the first page's number.
        total: where the body tells how many rows there are in all: it must stay, and be the number of rows in the end.
    """

    by: By
    at: str = ""
    param: str = ""
    first: int = 1
    total: str = ""

    def __post_init__(self) -> None:
        # what a user writes is held against the types before; this is what else makes no sense
        if self.at and self.by in ("page", "offset"):
            raise DefinitionError(f"`at` has no effect with pages by {self.by!r}", hint="leave it out")
        if self.param and self.by == "next":
            raise DefinitionError("`param` has no effect with pages by 'next'", hint="leave it out")


class Request(Noun, frozen=True):
    """What to ask for: a URL, and parameters that are added to it."""

    url: str
    params: Mapping[str, Any]


def first(url: str, params: Mapping[str, Any], pages: Pages | None) -> Request:
    """Return the request for the first page."""
    if pages is None or pages.by in ("next", "cursor"):
        return Request(url=url, params=dict(params))
    start = pages.first if pages.by == "page" else 0
    return Request(url=url, params={**params, pages.param or pages.by: start})


def following(
    pages: Pages | None, request: Request, answer: Answer, body: object, *, rows: int, rows_so_far: int
) -> Request | None:
    """Return the request for the page after one with so many rows, or None if it was the last.

    Raises:
        SourceError: the answer tells of a next page that can't be asked for.
    """
    if pages is None:
        return None
    if pages.by == "next":
        target = answer.link or told(body, pages)
        if not target:
            return None
        if not isinstance(target, str):
            raise SourceError(
                f"`{shown(answer.url)}` tells {target!r} as the URL of the next page",
                hint='say where it is: `paginate=ingest.Pages(by="next", at="links.next")`',
            )
        try:
            return Request(url=urljoin(answer.url, target), params={})
        except ValueError as error:
            raise SourceError(
                f"`{shown(answer.url)}` tells {target!r:.100} as the URL of the next page: {error}",
                hint="tell its operator",
            ) from error
    name = pages.param or pages.by
    if pages.by == "cursor":
        cursor = told(body, pages)
        return (
            None if cursor in (None, "", False) else Request(url=request.url, params={**request.params, name: cursor})
        )
    if rows == 0:
        return None
    after = rows_so_far if pages.by == "offset" else request.params[name] + 1
    return Request(url=request.url, params={**request.params, name: after})


def told(body: object, pages: Pages) -> object:
    """Return what a body tells of the next page."""
    for path in (pages.at,) if pages.at else PLACES[pages.by]:
        found = find(body, path)
        if found is not None:
            return found
    return None


def has_no_place(body: object, pages: Pages) -> bool:
    """Return whether a body lacks even the place where it would tell of a next page."""
    paths = (pages.at,) if pages.at else PLACES.get(pages.by, ())
    return bool(paths) and all(find(body, path, _ABSENT) is _ABSENT for path in paths)


def find(body: object, path: str, otherwise: Any = None) -> Any:
    """Return what stands at a path in a body, or else; a part of the path that is a number is a place in a list.

    >>> find({"data": [{"id": 7}]}, "data.0.id")
    7
    """
    if isinstance(body, dict) and path in body:
        return body[path]
    for part in path.split("."):
        if isinstance(body, list) and part.isdecimal() and int(part) < len(body):
            body = body[int(part)]
        elif isinstance(body, dict) and part in body:
            body = body[part]
        else:
            return otherwise
    return body

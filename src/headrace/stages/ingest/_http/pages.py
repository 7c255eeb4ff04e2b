"""How a service divides its data into pages, and how the next page is found."""

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
"""The paths in a body where the URL or the cursor of the next page is looked for if `Pages.at` is empty. The first path
that exists is used."""
_ABSENT = object()


class Pages(Noun, metaclass=Declared, frozen=True):
    """How the next page of a service is found.

    Args:
        by: `"next"`: by a URL in the `Link` header or in the body. `"cursor"`: by a value in the body that is sent back
            as a parameter. `"page"`: by a number that grows by one until a page is empty. `"offset"`: by the number of
            rows so far, until a page is empty.
        at: the path of the URL or cursor in the body, such as `meta.next`. Empty: the usual paths are tried.
        param: the name of the parameter for the cursor, page number or offset. Empty: the value of `by`.
        first: the number of the first page.
        total: the path, in the body, of the field that holds the number of all rows. This number must be the same on
            all pages, and must equal the number of rows read. Empty: the number isn't checked.
    """

    by: By
    at: str = ""
    param: str = ""
    first: int = 1
    total: str = ""

    def __post_init__(self) -> None:
        # the types are already checked; here are settings that don't go together
        if self.at and self.by in ("page", "offset"):
            raise DefinitionError(f"`at` has no effect with pages by {self.by!r}", hint="leave it out")
        if self.param and self.by == "next":
            raise DefinitionError("`param` has no effect with pages by 'next'", hint="leave it out")


class Request(Noun, frozen=True):
    """A request for a page: a URL, and parameters to add to it."""

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
    """Return the request for the next page, or None if the page that was just read is the last one.

    `request` and `answer` are the request for the page just read and the response to it. `body` is this page's decoded
    JSON, and `rows` its number of rows. `rows_so_far` is the number of rows of all pages up to and including this one.

    Raises:
        SourceError: the response names a next page whose URL is wrong.
    """
    if pages is None:
        return None
    if pages.by == "next":
        target = answer.link or told(body, pages)
        if not target:
            return None
        if not isinstance(target, str):
            raise SourceError(
                f"`{shown(answer.url)}` gives {target!r} as the URL of the next page",
                hint='say where it is: `paginate=ingest.Pages(by="next", at="links.next")`',
            )
        try:
            return Request(url=urljoin(answer.url, target), params={})
        except ValueError as error:
            raise SourceError(
                f"`{shown(answer.url)}` gives {target!r:.100} as the URL of the next page: {error}",
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
    """Return the URL or cursor of the next page from a body; None if the body has none."""
    for path in (pages.at,) if pages.at else PLACES[pages.by]:
        found = find(body, path)
        if found is not None:
            return found
    return None


def has_no_place(body: object, pages: Pages) -> bool:
    """Return whether a body has no field for the next page, not even an empty one."""
    paths = (pages.at,) if pages.at else PLACES.get(pages.by, ())
    return bool(paths) and all(find(body, path, _ABSENT) is _ABSENT for path in paths)


def find(body: object, path: str, otherwise: Any = None) -> Any:
    """Return the value at a path in a body, or `otherwise`. A number in the path is an index of a list.

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

"""URLs of web services: which can be asked, whom one talks to there, and how people are shown them."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from headrace.errors import DefinitionError


def origin(url: str) -> tuple[str, str, int | None]:
    """Return what of a URL says whom one talks to: scheme, host and port."""
    parts = httpx.URL(url)
    return parts.scheme, parts.host, parts.port


def shown(url: str) -> str:
    """Return a URL for people: without its query, which may hold a key, and without a password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0][:100]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def checked(url: str) -> str:
    """Return the URL if it is one that can be asked.

    Raises:
        DefinitionError: it is not.
    """
    try:
        parts = urlsplit(url)
        httpx.URL(url)
        _ = parts.port  # which is looked at only here
    except (ValueError, httpx.InvalidURL) as error:
        raise DefinitionError(f"`{shown(url)}` is not a web address: {error}", hint="correct it") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DefinitionError(
            f"`{url}` is not a web address", hint="it begins with `https://`; `ingest.files` takes paths"
        )
    if "@" in parts.netloc:
        raise DefinitionError(
            f"the URL `{shown(url)}` holds credentials", hint='give `auth=("user", hr.secret("PASSWORD"))`'
        )
    return url

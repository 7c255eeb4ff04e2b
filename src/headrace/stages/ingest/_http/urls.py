"""URLs of web services: checks them, finds their host, and makes them safe to show."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from headrace.errors import DefinitionError


def origin(url: str) -> tuple[str, str, int | None]:
    """Return the scheme, host and port of a URL. The port is None if the URL has none."""
    parts = httpx.URL(url)
    return parts.scheme, parts.host, parts.port


def shown(url: str) -> str:
    """Return a URL that is safe to show: without a password, and without its query, which may hold a key."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0][:100]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def checked(url: str) -> str:
    """Return the URL unchanged if a request can be sent to it.

    Raises:
        DefinitionError: the URL is malformed, isn't `http` or `https`, or holds credentials.
    """
    try:
        parts = urlsplit(url)
        httpx.URL(url)
        _ = parts.port  # raises ValueError if the port is wrong
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

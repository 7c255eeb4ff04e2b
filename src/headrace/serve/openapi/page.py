"""The page that shows the paths of a server, and can send requests to them. All clients get the same page: its script
reads the OpenAPI document, with the token that the user types if one is needed."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from headrace.report.markup import Markup, tag
from headrace.report.page import STYLE

_FOLDER = Path(__file__).parent


@cache
def page() -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """Return the page in HTML, and its headers. Because of the headers, the page can run only its own script, use only
    its own style, and send requests only to this server, and no other page can show it in a frame."""
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    style = STYLE.read_text(encoding="utf-8") + (_FOLDER / "page.css").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = (
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cache-control", b"no-cache"),
    )
    return _html(script, style).encode(), headers


def _html(script: str, style: str) -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", "Headrace: endpoints"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(style)),
    )
    field = tag("input", id="token", type="password", autocomplete="off", spellcheck="false")
    header = tag(
        "header",
        tag("p", "Headrace", class_="project", id="version"),
        tag("h1", "Endpoints"),
        tag(
            "form",
            tag("label", "Token, as `headrace tokens make` prints it", field),
            tag("button", "Show", type="submit"),
            id="access",
            class_="access",
            hidden=True,
        ),
    )
    words = "This page needs its own script. Programs read the same from `openapi.json`."
    body = tag(
        "body",
        header,
        tag("main", tag("noscript", tag("p", words)), tag("div", id="endpoints")),
        tag("footer", tag("p", "Made by Headrace.")),
        tag("script", Markup(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _digest(text: str) -> str:
    """Return the name of a script or style in a content security policy: its digest."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

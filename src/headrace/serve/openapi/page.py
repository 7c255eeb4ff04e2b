"""The page that shows what a server can be asked, and asks it. It is the same for all clients: its script reads the
document of OpenAPI, with the token that is typed in if one is needed."""

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
    """Return the page in HTML, and the headers that go with it. They let it run its own script, use its own style, and
    ask this server, and nothing else; and no other page may show it inside of itself."""
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
    """Return how a policy names a script or a style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

"""The frame of a page: its head, its security policy, its style and script, and the parts that pages share."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

from headrace.report.markup import Child, Markup, tag

FOLDER = Path(__file__).parent


def document(title: str, header: Markup, sections: Child, footer: Child = None) -> str:
    """Return a whole page. It needs no network and no other file, and user data in it can't run code."""
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _policy(script),
        tag("title", title),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        header,
        tag("main", sections),
        tag("footer", footer, tag("p", "Made by Headrace.")),
        tag("script", Markup(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def section(title: str, content: Child) -> Markup:
    """Return a part of a page with its title."""
    return tag("section", tag("h2", title), content)


def time_of(at: float) -> Markup:
    """Return a time (Unix seconds) as an element in UTC."""
    when = datetime.fromtimestamp(at, UTC)
    return tag("time", f"{when:%Y-%m-%d %H:%M:%S} UTC", datetime=when.isoformat(timespec="seconds"))


def _policy(script: str) -> Markup:
    """Return a policy that allows Headrace's own script and style and embedded pictures, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return tag(
        "meta",
        http_equiv="Content-Security-Policy",
        content=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )

"""Pages of the listed sites may ask a server from a browser, and no others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.errors import ConfigError
from headrace.serve.access.access import Access, origins_in
from headrace.serve.access.tokens import Token, Tokens, digest_of
from tests.serve.site import BODY, DOUBLED, PATH, Answer, Site, post, serving

APP = "https://app.example"
PREFLIGHT = {"content_type": "", "access_control_request_method": "POST"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving(access=lambda port: Access.loopback(port).shared_with(frozenset({APP}))) as site:
        yield site


def preflight(site: Site, origin: str, path: str = PATH, **headers: str) -> Answer:
    asked = {**PREFLIGHT, "origin": origin, "access_control_request_headers": "authorization, content-type", **headers}
    return site.ask(post(b"", path=path, method="OPTIONS", **asked))


def test_a_page_of_a_listed_site_may_ask_and_read_the_answer(site: Site) -> None:
    first = preflight(site, APP)
    assert first.status == 200
    assert first.headers["access-control-allow-origin"] == APP
    assert first.headers["access-control-allow-methods"] == "POST"
    assert set(first.headers["access-control-allow-headers"].split(", ")) >= {"authorization", "content-type"}
    answer = site.post(origin=APP, sec_fetch_site="cross-site", sec_fetch_mode="cors")
    assert answer.json == DOUBLED
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["vary"] == "Origin"
    wrong = site.post(b"{}", origin=APP)
    assert (wrong.status, wrong.headers["access-control-allow-origin"]) == (422, APP)
    assert "access-control-allow-credentials" not in {**first.headers, **answer.headers}


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://evil.example",
        "http://app.example",
        "https://app.example:444",
        "https://app.example.evil.example",
        "https://evilapp.example",
        "https://sub.app.example",
        "https://APP.example",
        "https://app.example/",
        "https://app.example@evil.example",
        "*",
        f"{APP}, https://evil.example",
        f"{APP}\r\nOrigin: https://evil.example",
        f"https://evil.example\r\nOrigin: {APP}",
    ],
)
def test_pages_of_other_sites_get_nothing(site: Site, origin: str) -> None:
    for answer in (preflight(site, origin), site.post(origin=origin)):
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["vary"] == "Origin"


def test_nobody_is_listed_by_himself() -> None:
    with serving() as site:
        assert preflight(site, APP).status == 403
        own = f"http://localhost:{site.port}"
        assert preflight(site, own).status == 405
        assert "access-control-allow-origin" not in site.post(origin=own).headers


def test_what_is_no_preflight_is_a_wrong_method(site: Site) -> None:
    assert preflight(site, APP, access_control_request_method="").status == 405
    assert preflight(site, "").status == 405
    assert preflight(site, APP, path="/nowhere").status == 404
    assert preflight(site, APP, host="evil.example").status == 403


def test_a_page_of_a_listed_site_needs_a_token_like_any_client() -> None:
    tokens = Tokens()
    tokens.know([Token("a", digest_of("b"), frozenset(), None)])
    with serving(access=lambda _: Access.by_token(tokens).shared_with(frozenset({APP}))) as site:
        assert preflight(site, APP).status == 200  # a browser sends no token here
        assert site.post(BODY, origin=APP).error == (401, "TokenRefused")
        assert site.post(BODY, origin=APP).headers["access-control-allow-origin"] == APP
        assert site.post(BODY, origin=APP, authorization="Bearer headrace_a_b").status == 200
        assert site.post(BODY, origin="https://evil.example", authorization="Bearer headrace_a_b").status == 403


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "", "app.example", "https://app.example/", "https://App.example", "https://*.example", "file://x"],
)
def test_what_is_no_origin_is_told(origin: str) -> None:
    with pytest.raises(ConfigError, match="is not the origin of a web page"):
        origins_in([APP, origin])


def test_origins_are_told_as_browsers_send_them() -> None:
    assert origins_in([APP, "http://localhost:3000"]) == {APP, "http://localhost:3000"}

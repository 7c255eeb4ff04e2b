"""The page of a server shows what can be asked and asks it, in a real browser, and runs nothing that isn't its own."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.models.signature import example_of
from headrace.serve.access.access import Access
from headrace.serve.access.tokens import Token, Tokens, digest_of
from headrace.serve.openapi.schemas import Interface
from headrace.serve.records import Records, Strictness
from headrace.spec.signature import Column
from tests.browser import Browser, browser
from tests.serve.site import Site, post, serving

EVIL = "</script><img src=x onerror=alert(1)>'`${1}"
ATTACK = "<img src=/health onerror=window.hacked=1><p style='color: red' onclick=window.hacked=1>"
ADD = "document.body.append(e);"
COLUMNS = (
    Column(name="x", type="double"),
    Column(name="count", type="uint8"),
    Column(name="big", type="int64"),
    Column(name="isNew", type="bool"),
    Column(name="place", type="dictionary<values=string, indices=int8, ordered=0>", categories=("Paris", "it's")),
    Column(name="day", type="date32[day]"),
    Column(name="at", type="timestamp[us, tz=UTC]"),
    Column(name=EVIL, type="string"),
)
EXAMPLE = {**example_of(COLUMNS), EVIL: EVIL}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser") / "profile") as tab:
        yield tab


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def rich(site: Site) -> None:
    """Let the endpoint of a site take columns of many types, with names that are code."""
    records = Records(COLUMNS, Strictness(), most=10)
    site.double.interface_ = Interface(f"double:3 {EVIL}", records, [Column(name=f'{EVIL}"', type="double")], EXAMPLE)


def opened(tab: Browser, site: Site) -> Browser:
    tab.said.clear()
    tab.urls.clear()
    tab.go(f"http://localhost:{site.port}/")
    return tab


def test_an_endpoint_is_shown_and_answers_the_invented_row(tab: Browser, site: Site) -> None:
    opened(tab, site).until("document.querySelector('article form')")
    assert tab.value("document.querySelector('article h2').textContent") == "a/b é double:3"
    form = (
        "[...document.querySelectorAll('article')].find((e) => e.querySelector('h2').textContent.startsWith('double '))"
    )
    assert tab.value(f"[...({form}).querySelectorAll('tbody th')].map((e) => e.textContent)[0]") == "x"
    tab.value(f"({form}).id = 'double'")
    assert tab.value("document.querySelector('#double input').value") == "1.5"
    tab.press("#double button")
    tab.until("document.querySelector('#double output .state')")
    assert tab.value("document.querySelector('#double output .state').textContent") == "200"
    assert "3" in tab.value("document.querySelector('#double output td').textContent")
    [asked] = site.double.asked
    assert json.loads(asked.body) == {"records": [{"x": 1.5}]}
    assert not tab.said


def test_a_row_that_does_not_fit_is_told_at_its_field(tab: Browser, site: Site) -> None:
    opened(tab, site).until("document.querySelector('article form')")
    tab.type("article input", "much")
    tab.press("article button")
    tab.until("document.querySelector('article output .state')")
    assert tab.value("document.querySelector('article output .state').textContent") == "422"
    assert "Expected float" in tab.value("document.querySelector('article output li').textContent")
    assert tab.value("document.querySelector('article input').getAttribute('aria-invalid')") == "true"


def test_values_of_each_type_are_sent_as_they_are_typed(tab: Browser, site: Site) -> None:
    rich(site)
    opened(tab, site).until("document.querySelector('article form')")
    inputs = {column.name: f"#field-0-{place}" for place, column in enumerate(COLUMNS)}
    tab.type(inputs["big"], "9007199254740993")
    tab.type(inputs["x"], "1e3")
    tab.type(inputs["place"], "")
    tab.value(f"document.querySelector({json.dumps(inputs['isNew'])}).value = 'false'")
    curl = tab.value("document.querySelector('article .curl').textContent")
    words = shlex.split(curl.replace("\\\n", " "))
    assert words[:3] == ["curl", "-s", f"http://localhost:{site.port}/v1/endpoints/a%2Fb%20%C3%A9/predict"]
    tab.press("article button")
    tab.until("document.querySelector('article output .state')")
    sent = {**EXAMPLE, "big": 9007199254740993, "x": 1000.0, "place": None}
    assert json.loads(words[-1]) == {"records": [sent]}
    assert tab.value(f"document.querySelector({json.dumps(inputs['isNew'])}).value") == "false"


def test_names_that_are_code_are_shown_and_not_run(tab: Browser, site: Site) -> None:
    rich(site)
    opened(tab, site).until("document.querySelector('article form')")
    assert EVIL in tab.value("document.querySelector('article h2').textContent")
    assert EVIL in tab.value("[...document.querySelectorAll('article th code')].map((e) => e.textContent)")
    assert tab.value("document.querySelectorAll('img').length") == 0
    assert not tab.said


def test_the_page_runs_and_asks_nothing_but_its_own(tab: Browser, site: Site) -> None:
    opened(tab, site).until("document.querySelector('article form')")
    asked = {url.rpartition("/")[0] for url in tab.urls if not url.startswith("data:")}
    assert asked == {f"http://localhost:{site.port}"}
    tab.value(f"document.body.insertAdjacentHTML('beforeend', {json.dumps(ATTACK)})")
    tab.value(f"(() => {{ const e = document.createElement('script'); e.textContent = 'window.hacked = 1'; {ADD} }})()")
    assert tab.value("fetch('http://127.0.0.1:1/').then(() => 'went', () => 'refused')") == "refused"
    assert tab.value("window.hacked") is None
    assert sum("Content Security Policy" in each for each in tab.said) >= 3


def test_a_token_is_typed_in_where_one_is_needed_and_stays_in_the_page(tab: Browser) -> None:
    tokens = Tokens()
    tokens.know([Token("a", digest_of("b"), frozenset({"double"}), None)])
    with serving(access=lambda _: Access.by_token(tokens)) as site:
        opened(tab, site).until("!document.querySelector('#access').hidden")
        assert tab.value("document.querySelectorAll('article').length") == 0
        tab.type("#token", "headrace_a_wrong")
        tab.press("#access button")
        tab.until("document.querySelector('.trouble')")
        tab.type("#token", "headrace_a_b")
        tab.press("#access button")
        tab.until("document.querySelectorAll('article').length === 1")
        assert "$TOKEN" in tab.value("document.querySelector('.curl').textContent")
        tab.press("article button")
        tab.until("document.querySelector('article output .state')")
        assert tab.value("document.querySelector('article output .state').textContent") == "200"
        assert "headrace_a_b" not in tab.value("document.documentElement.outerHTML")
        assert not tab.value("JSON.stringify([localStorage, sessionStorage, document.cookie])").count("headrace_a_b")
        assert not any("headrace_a_b" in url for url in tab.urls)


def test_the_page_fits_a_phone(tab: Browser, site: Site, tmp_path: Path) -> None:
    rich(site)
    opened(tab, site).until("document.querySelector('article form')")
    tab.picture(tmp_path / "narrow.png", 390)
    assert tab.value("document.documentElement.scrollWidth") <= 390
    tab.picture(tmp_path / "wide.png", 1280)
    assert (tmp_path / "wide.png").stat().st_size > 10_000


def test_the_page_is_the_same_for_all_and_may_be_framed_by_none(site: Site) -> None:
    answer = site.ask(post(b"", path="/", method="GET", content_type=""))
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    page = answer.body.decode()
    assert not re.search(r"\son\w+=", page.partition("<script>")[0])
    assert "http" not in re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert b"double" not in answer.body

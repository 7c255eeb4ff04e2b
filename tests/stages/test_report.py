"""How reports are shown: whatever stands in one, the page is whole, nothing in it acts, and no number is invented."""

import html.parser
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import report as shown
from headrace.report.numbers import bracketed, interval_of, number, told_from, value_of
from headrace.spec.report import Drawing, Fact, Grid, Report, Verdict

REPORT = Report(
    title="The model `m`",
    about="Judged on 1,000 rows.",
    passed=False,
    facts=(
        Fact(name="AUC", value=0.75, low=0.7261, high=0.7709, better="higher"),
        Fact(name="log loss", value=None, why="one class only"),
        Fact(name="rows", value=1000, unit="rows"),
    ),
    verdicts=(
        Verdict(rule="AUC >= 0.8", holds=False, why="it is 0.75"),
        Verdict(rule="log loss <= 1", holds=None, why="one class only"),
    ),
    grids=(Grid(title="Slices", columns=("slice", "n"), rows=(("a|b", 3), (None, 4.5)), note="small"),),
    drawings=(Drawing(title="ROC", svg="<svg xmlns='http://www.w3.org/2000/svg'/>", caption="rises"),),
    limits=("It knows one year.",),
)


class Reader(html.parser.HTMLParser):
    """Takes a page apart, and checks that elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


def test_a_page_shows_all_that_a_report_holds() -> None:
    reader = read(shown.html(REPORT))
    words = " ".join(reader.words)
    for expected in (
        "not passed",
        "0.750",
        "0.726 to 0.771",
        "undefined",
        "one class only",
        "1,000 rows",
        "AUC >= 0.8",
    ):
        assert expected in words
    assert "? undecided" in words
    assert reader.seen.count("caption") == reader.seen.count("table") == 2
    assert "script" not in reader.seen


def test_markdown_and_terminal_show_the_same_numbers() -> None:
    for words in (shown.markdown(REPORT), shown.text(REPORT)):
        for expected in ("0.750", "0.726 to 0.771", "undefined", "one class only", "1,000 rows", "ROC", "4.5"):
            assert expected in words
    assert r"a\|b" in shown.markdown(REPORT)
    assert "![ROC](roc.svg)" in shown.markdown(REPORT, pictures={"ROC": "roc.svg"})


def test_several_reports_stand_in_one_page_under_their_own_headings() -> None:
    bodies = [shown.html_body(REPORT, level=2), shown.html_body(REPORT, level=2)]
    reader = read(shown.document("Card", bodies))
    assert reader.seen.count("article") == 2
    assert "h1" not in reader.seen
    assert reader.seen.count("h2") == 2


@given(st.text(), st.text(), st.text(), st.floats() | st.none() | st.booleans() | st.integers() | st.text())
def test_no_text_of_a_user_acts(title: str, rule: str, why: str, value: object) -> None:
    report = Report(
        title=title,
        about=why,
        verdicts=(Verdict(rule=rule, holds=None, why=why),),
        facts=(Fact(name=title, value=math.pi, low=1, high=5),),
        grids=(Grid(title=title, columns=(rule,), rows=((value,),), note=why),),  # type: ignore[arg-type]
        drawings=(Drawing(title=title, svg=why, caption=rule),),
    )
    assert set(read(shown.html(report)).seen) <= set(read(shown.html(REPORT)).seen)
    ordinary = {"\n"}
    assert all(each.isprintable() or each in ordinary for each in shown.text(report))
    fenced = re.sub(r"`[^`]*`", "", shown.markdown(report))
    assert re.search(r"(?<!\\)[<>]", fenced) is None


@pytest.mark.parametrize(
    "script", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)"]
)
def test_a_drawing_stands_as_an_image_which_runs_no_script(script: str) -> None:
    page = shown.html(Report(title="t", drawings=(Drawing(title=script, svg=script, caption=script),)))
    assert "default-src &#x27;none&#x27;" in page
    assert "<script" not in page
    assert page.count("<img") == 1


@given(st.floats(-1e300, 1e300))
def test_a_number_is_written_to_four_digits(value: float) -> None:
    written = float(number(value).replace(",", ""))
    assert written == pytest.approx(value, rel=6e-4, abs=1e-12)


@given(st.floats(-1e300, 1e300), st.floats(0, 1e300), st.floats(0, 1e300), st.floats(1e15, 1e300))
def test_no_number_of_a_report_is_longer_than_a_glance(value: float, under: float, over: float, large: float) -> None:
    fact = Fact(name="MAE", value=value, low=value - under, high=value + over)
    written = [value_of(fact), *interval_of(fact).split(" to "), *bracketed(value, fact.low, fact.high).split()]
    assert max(map(len, written)) < 32
    for bound in (value, large * 1.0001):
        told = told_from(large, bound, 0)
        assert len(told) < 32
        assert bound == large or (float(told) > bound) == (large > bound)


def test_the_repr_of_a_report_tells_how_long_its_drawings_are_and_no_more() -> None:
    report = Report(title="Late", drawings=(Drawing(title="Curve", svg="<svg>" + "x" * 2000 + "</svg>"),))
    assert "svg=<2,011 characters>" in repr(report)
    assert len(repr(report)) < 400

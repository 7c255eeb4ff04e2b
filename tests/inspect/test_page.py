"""The page about a run: what it shows, and that nothing a user names can act through it."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from headrace.inspect.gates import Held, Rule
from headrace.inspect.page.facts import AttemptFacts, Figure, Measured, RunFacts, TaskFacts, Text
from headrace.inspect.page.page import page
from headrace.inspect.page.tables import measured_tables, task_table
from headrace.inspect.page.timeline import timeline
from headrace.report.markup import VOID, tag

EVIL = "</script></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Outline(HTMLParser):
    """All elements of a page with their attributes, and what is inside scripts; fails where tags don't match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)


def facts(word: str = "fit") -> RunFacts:
    return RunFacts(
        run="r1",
        project=word,
        pipeline=word,
        state="failed",
        created=1.0,
        seconds=3.0,
        usd=0.5,
        why=word,
        params=((word, word),),
        environment=((word, word),),
        tasks=(
            TaskFacts(name="load", stage="load", kind="ingest", state="reused", reason=word),
            TaskFacts(name=word, stage=word, kind="train", state="failed", reason=word, needs=("load",), line=word),
            TaskFacts(name=f"{word}[#1]", stage=word, kind="train", state="failed", parent=word, outputs=(word,)),
        ),
        attempts=(AttemptFacts(task=word, stage=word, attempt=1, start_s=0.5, seconds=2.0, state="failed", why=word),),
        measured=(Measured(task=word, stage=word, values={word: 0.25}),),
        held=(Held(gate=word, tasks=(word,), rules=(Rule(task=word, rule=word, holds=False, why=word),)),),
        texts=(Text(task=word, name=word, step=1, count=2, text=word),),
        figures=(Figure(task=word, media_type="image/svg+xml", data=b"<svg/>"),),
        omitted=(word,),
    )


def test_nothing_that_a_user_names_becomes_an_element() -> None:
    plain, evil = Outline(page(facts())), Outline(page(facts(EVIL)))
    assert [name for name, _ in evil.elements] == [name for name, _ in plain.elements]
    assert len(evil.scripts) == 1
    assert not any(name.startswith("on") for _, attributes in evil.elements for name in attributes)


@given(st.text())
def test_any_text_gives_the_same_elements(word: str) -> None:
    elements = [name for name, _ in Outline(str(tag("p", word, tag("b", word), title=word))).elements]
    assert elements == ["p", "b"]


def test_it_needs_nothing_from_elsewhere_and_allows_only_its_own_script() -> None:
    text = page(facts())
    outline = Outline(text)
    for _, attributes in outline.elements:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:"))
    assert "url(" not in text
    assert "@import" not in text
    (policy,) = [each["content"] for _, each in outline.elements if "http-equiv" in each]
    digest = base64.b64encode(hashlib.sha256(outline.scripts[0].encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_links_lead_to_rows_of_the_table() -> None:
    outline = Outline(page(facts()))
    ids = {attributes["id"] for _, attributes in outline.elements if "id" in attributes}
    links = {str(attributes["href"])[1:] for name, attributes in outline.elements if name == "a"}
    assert links
    assert links <= ids


def test_a_figure_is_an_image_so_that_no_script_in_it_runs() -> None:
    (image,) = [attributes for name, attributes in Outline(page(facts())).elements if name == "img"]
    assert image["src"] == f"data:image/svg+xml;base64,{base64.b64encode(b'<svg/>').decode()}"
    assert image["alt"]


def heads(*tasks: TaskFacts) -> list[str]:
    """The columns of a page's table of tasks."""
    return re.findall(r"<button[^>]*>(.*?)</button>", str(task_table(tasks, {})))


def test_a_number_that_few_tasks_have_is_a_column_where_one_has_it() -> None:
    fit = TaskFacts(name="fit", stage="fit", kind="train", state="succeeded", attempts=1, queued_s=0.0)
    always = ["task", "kind", "state", "reason", "tries", "run", "load", "save", "pool", "output"]
    assert heads(fit) == always
    waited = TaskFacts(name="test", stage="test", kind="test", state="succeeded", usd=0.5, queued_s=90.0)
    assert heads(fit, waited) == [*always[:5], "queued", *always[5:8], "cost", *always[8:]]
    assert "1 min 30 s" in str(task_table([waited], {}))


def test_a_wide_map_is_shortened_to_what_tells() -> None:
    elements = [
        TaskFacts(name=f"fit[#{number}]", stage="fit", kind="train", state="succeeded", parent="fit")
        for number in range(5000)
    ]
    elements[4999] = TaskFacts(name="fit[#4999]", stage="fit", kind="train", state="failed", parent="fit")
    run = facts()
    tasks = (TaskFacts(name="fit", stage="fit", kind="train", state="failed"), *elements)
    text = page(RunFacts(**{name: getattr(run, name) for name in run.__struct_fields__} | {"tasks": tasks}))
    assert "fit[#4999]" in text
    assert "3,001 more elements" in text
    assert len(text) < 2_000_000


def test_numbers_that_are_named_alike_share_a_table() -> None:
    values = {"auc.value": 0.8, "auc.low": 0.7, "brier.value": 0.2, "brier.low": 0.1, "rows": 9.0}
    tables = str(measured_tables([Measured(task="t", stage="t", values=values)]))
    heads = re.findall(r"<thead><tr>(.*?)</tr>", tables)
    assert [re.findall(r">([a-z]*)</th>", head) for head in heads] == [["", "value", "low"], ["number", "value"]]
    assert tables.count("<tr>") == 2 + 2 + 1


def test_numbers_of_several_tasks_stand_side_by_side_with_their_intervals() -> None:
    ends = {
        f"m{place}.{end}": value for place in range(7) for end, value in (("value", 0.5), ("low", 0.4), ("high", 0.6))
    }
    measured = [Measured(task=task, stage="judge", values={**ends, "rows": 9}) for task in ("judge", "judge[1]")]
    table = str(measured_tables(measured))
    assert table.count("0.50 [0.40, 0.60]") == 14
    assert "m0.low" not in table
    assert ">9<" in table


def test_a_count_whose_interval_is_itself_stands_alone() -> None:
    values = {"rows.value": 87194.0, "rows.low": 87194.0, "rows.high": 87194.0}
    table = str(measured_tables([Measured(task=task, stage="judge", values=values) for task in ("judge", "judge[1]")]))
    assert "87,194</td>" in table
    assert "[87,194" not in table


def test_a_number_that_is_none_stands_in_the_table_too() -> None:
    values = {"auc.value": math.nan, "auc.low": 0.1, "auc.high": 0.9}
    table = str(measured_tables([Measured(task=task, stage="judge", values=values) for task in ("judge", "judge[1]")]))
    assert table.count(">not a number [0.10, 0.90]<") == 2


def test_an_empty_run_has_a_page() -> None:
    empty = RunFacts(run="r", project="p", pipeline="x", state="refused", created=0.0, seconds=0.0, usd=0.0)
    assert "refused" in page(empty)


def test_attempts_that_overlap_have_lanes_of_their_own() -> None:
    attempts = [
        AttemptFacts(task=f"t{start}", stage="t", attempt=1, start_s=start, seconds=1.5, state="succeeded")
        for start in (0.0, 1.0, 2.0)
    ]
    drawing = ET.fromstring(str(timeline(attempts, 4.0, {})))
    bars = list(drawing.iter("rect"))
    rows = [float(bar.attrib["y"]) for bar in bars]
    assert rows[0] == rows[2] != rows[1]
    assert float(bars[1].attrib["x"]) > float(bars[0].attrib["x"])
    assert re.search(r"3 attempts over 4\.0 s", drawing.attrib["aria-label"])


def test_the_timeline_has_a_line_where_the_run_was_resumed() -> None:
    tries = [
        AttemptFacts(task="fit", stage="fit", attempt=number, start_s=start, seconds=4.0, state=state)
        for number, start, state in ((1, 0.0, "failed"), (2, 4.0, "succeeded"))
    ]
    drawing = ET.fromstring(str(timeline(tries, 8.0, {}, ((4.0, 3600.0),))))
    first, second = (float(bar.attrib["x"]) for bar in drawing.iter("rect"))
    (line,) = (each for each in drawing.iter("line") if each.attrib["class"] == "pause")
    assert first < second == float(line.attrib["x1"])
    assert "resumed after 1 h" in str(timeline(tries, 8.0, {}, ((4.0, 3600.0),)))

"""`headrace compare`: what differs between runs, in a terminal, as JSON and as a page."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, NamedTuple

import pytest

from headrace.errors import NotFoundError
from headrace.inspect.compare.facts import Number
from headrace.inspect.metrics.metrics import Reading, chosen
from tests.cli.conftest import Shell

PIPELINES = """
from typing import NamedTuple

import headrace as hr
from headrace.spec.report import Fact, Report

FACTOR = 50


class Fitted(NamedTuple):
    size: dict
    report: Report


@hr.stage(kind="prepare")
def table(rows: int) -> list[int]:
    return list(range(rows))


@hr.stage(kind="train")
def fit(data: list[int], *, depth: int) -> Fitted:
    auc = 0.6 + depth / FACTOR
    facts = (
        Fact(name="AUC", value=auc, low=auc - 0.06, high=auc + 0.06, better="higher"),
        Fact(name="log loss", value=1 - auc, better="lower"),
        Fact(name="recall", value=None, why="there is one class only"),
    )
    return Fitted({"nodes": 2 ** depth}, Report(title="Fit <b>", facts=facts))


@hr.pipeline
def flow(rows: int = 3, depth: int = 3) -> None:
    fit(table(rows), depth=depth)


@hr.pipeline
def other() -> None:
    table(3)
"""


@pytest.fixture
def flows(project: Shell) -> Shell:
    """A project whose pipeline gives a report."""
    project.write("pipelines.py", PIPELINES)
    return project


class Ran(NamedTuple):
    """A project, four runs of its pipeline, the last of which equals the first, and two of the other pipeline."""

    project: Shell
    flows: list[str]
    others: list[str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    project = Shell(tmp_path_factory.mktemp("ran"))
    project.write("headrace.toml", "")
    project.write("pipelines.py", PIPELINES)
    runs = [_run(project, "flow", "--depth", depth) for depth in ("3", "4", "5", "3")]
    return Ran(project, runs, [_run(project, "other") for _ in range(2)])


def _run(project: Shell, *words: str) -> str:
    found: str = project("run", *words, "--json").json["run"]
    return found


def test_what_differs_stands_side_by_side_with_its_metrics(flows: Shell) -> None:
    first = _run(flows, "flow")
    flows.write("pipelines.py", PIPELINES.replace("FACTOR = 50", "FACTOR = 20"))
    second = _run(flows, "flow", "--depth", "5", "--rows", "4")
    found = flows("compare", first, second, "--json")
    assert (found.code, found.err) == (0, "")
    assert [run["run"] for run in found.json["runs"]] == [first, second]
    parameters = {(each["task"], each["name"]): each["values"] for each in found.json["parameters"]}
    assert parameters["", "depth"] == ["3", "5"]
    assert parameters["fit", "depth"] == ["3", "5"]
    assert [(each["stage"], each["name"], each["values"]) for each in found.json["code"]] == [
        ("fit", "pipelines.FACTOR", ["50", "20"])
    ]
    assert found.json["code"][0]["diffs"][1] == ["@@ -1 +1 @@", "-FACTOR = 50", "+FACTOR = 20"]
    assert [(each["task"], each["name"]) for each in found.json["inputs"]] == [("fit", "data")]
    metrics = {each["name"]: each for each in found.json["metrics"]}
    assert metrics["AUC"]["numbers"][1]["change"] == pytest.approx(0.19)
    assert [metrics["AUC"]["numbers"][1][key] for key in ("verdict", "sure")] == ["better", True]
    assert metrics["log loss"]["numbers"][1]["verdict"] == "better"
    assert metrics["recall"]["numbers"][0]["why"] == "there is one class only"
    assert metrics["size.nodes"]["numbers"][1]["change"] == 24

    shown = flows("compare", first, second)
    assert shown.code == 0
    assert "0.66 [0.60, 0.72]" in shown.out
    assert "+0.19 ▲" in shown.out
    assert "undefined: there is one class only" in shown.out
    assert "pipelines.FACTOR" in shown.out


def test_a_count_of_rows_is_neither_better_nor_worse_among_more_rows(flows: Shell) -> None:
    counts = """    facts = (
        Fact(name="rows", value=len(data), unit="rows"),
        Fact(name="quarantined", value=depth, unit="rows", better="lower"),"""
    flows.write("pipelines.py", PIPELINES.replace("    facts = (", counts))
    first = _run(flows, "flow", "--rows", "30", "--depth", "4")
    for rows, verdict in (("30", "worse"), ("300", "")):
        second = _run(flows, "flow", "--rows", rows, "--depth", "5")
        found = flows("compare", first, second, "--metric", "quarantined", "--json").json["metrics"]
        assert [each["numbers"][1]["verdict"] for each in found] == [verdict]


def test_what_does_not_fit_a_terminal_stands_below_each_other(ran: Ran) -> None:
    project, (*runs, _), _ = ran
    shown = project.on_terminal("compare", *runs, columns=100).splitlines()
    place = shown.index("fit  AUC (higher is better)")
    assert shown[place + 1 : place + 4] == [
        f"  {runs[0]}  0.66 [0.60, 0.72]",
        f"  {runs[1]}  0.68 [0.62, 0.74]  +0.02 ▲?",
        f"  {runs[2]}  0.70 [0.64, 0.76]  +0.04 ▲?",
    ]
    assert "0.66 [0.60, 0.72]    0.68" not in "\n".join(shown)


@pytest.mark.parametrize("columns", [20, 40, 60, 80])
def test_runs_are_compared_however_narrow_the_terminal(ran: Ran, columns: int) -> None:
    project, (one, two, *_), _ = ran
    lines = project.on_terminal("compare", one, two, columns=columns).splitlines()
    assert any(one in line and "succeeded" in line for line in lines)
    assert "parameters that differ" in lines
    assert "metrics" in lines


def test_runs_that_are_equal_say_so(ran: Ran) -> None:
    project, (first, *_, equal), _ = ran
    shown = project("compare", first, equal)
    assert shown.code == 0
    assert "no parameter, code or input differs" in shown.out


def test_one_metric_may_be_chosen_and_an_unknown_one_is_told(ran: Ran) -> None:
    project, (first, second, *_), _ = ran
    chosen = project("compare", first, second, "--metric", "fit.AUC", "--json").json["metrics"]
    assert [each["name"] for each in chosen] == ["AUC"]
    wrong = project("compare", first, second, "--metric", "ACU")
    assert wrong.code == 2
    assert "there is no metric `ACU`" in wrong.err
    assert "did you mean `AUC`" in wrong.err


def test_an_unknown_metric_is_answered_with_scores_before_counts() -> None:
    counts = [Reading(task="judge", name=f"rows {count}", value=1.0, source="report") for count in range(12)]
    scores = [Reading(task=task, name="AUC", value=0.7, source="report", better="higher") for task in ("judge", "test")]
    with pytest.raises(NotFoundError) as error:
        chosen([*counts, *scores], ["nope"])
    assert str(error.value.hint).startswith("there are `AUC`, `rows 0`, `rows 1`, ")
    assert str(error.value.hint).endswith(" and 3 more")


def test_runs_of_different_pipelines_say_what_they_do_not_share(ran: Ran) -> None:
    project, (first, *_), (second, _) = ran
    shown = project("compare", first, second)
    assert shown.code == 0
    assert "the runs are of different pipelines" in shown.out
    assert f"only in {first}: fit" in shown.out


def test_wrong_usage_of_compare_is_one_error(ran: Ran) -> None:
    project, _, (first, only) = ran
    for words, message in (
        ([only], "there is only one run to compare"),
        ([only, only], f"run `{only}` is named twice"),
        ([only, "latest"], f"run `{only}` is named twice"),
        ([only, "nope"], "there is no run `nope`"),
    ):
        wrong = project("compare", *words)
        assert (wrong.code, wrong.out) == (2, "")
        assert message in wrong.err
        assert "hint:" in wrong.err
    assert project("compare").code == 2
    lacking = project("compare", first, "latest")
    assert lacking.code == 0
    assert "these runs have no metrics" in lacking.err
    unwritable = project("compare", first, "latest", "--to", "no/such/folder.html")
    assert unwritable.code == 2
    assert "can't write" in unwritable.err


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words = ""
        self.tags: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


def test_the_page_holds_all_of_it_and_reaches_for_nothing(ran: Ran) -> None:
    project, (first, _, second, _), _ = ran
    done = project("compare", first, second, "--to", "page.html")
    assert (done.code, done.out) == (0, "page.html\n")
    text = (project.folder / "page.html").read_text()
    page = _Words()
    page.feed(text)
    assert "Parameters that differ" in page.words
    assert "+0.04 ▲ better, within the intervals" in page.words
    assert "http" not in text.replace("http-equiv", "")
    assert {"link", "iframe"}.isdisjoint(page.tags)


JUDGED = """
import numpy as np
import pyarrow as pa

import headrace as hr
from headrace.stages import evaluate


@hr.stage(kind="prepare")
def scored(noise: float, rows: int) -> pa.Table:
    random = np.random.default_rng(int(noise))
    count = 400 if noise < 1 else 300
    truth = random.random(count) < 0.5
    logit = 2 * truth - 1 + random.normal(size=count) + noise * random.normal(size=count)
    table = pa.table({"hit": truth, "score": 1 / (1 + np.exp(-logit)), "day": np.arange(count) % 40})
    return table.slice(0, rows)


@hr.pipeline
def judge(noise: float = 0.0, rows: int = 400) -> None:
    found = scored(noise, rows)
    evaluate.classification(None, found, target="hit", scores="score", resamples=200, gates="", groups="day")
"""


class Judged(NamedTuple):
    """A project, and runs of it: two judged the same rows, one others, and one the beginning of the first's."""

    project: Shell
    first: str
    second: str
    other: str
    beginning: str


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    project = Shell(tmp_path_factory.mktemp("judged"))
    project.write("headrace.toml", "")
    project.write("pipelines.py", JUDGED)
    words = ((), ("--noise", "0.4"), ("--noise", "5"), ("--rows", "300"))
    return Judged(project, *(_run(project, "judge", *each) for each in words))


def test_what_judged_the_same_rows_is_compared_row_by_row(judged: Judged) -> None:
    project, first, second, *_ = judged

    def auc(*words: str) -> dict[str, Any]:
        (metric,) = project("compare", first, second, "--metric", "AUC", *words, "--json").json["metrics"]
        number: dict[str, Any] = metric["numbers"][1]
        return number

    paired, alone = auc(), auc("--no-paired")
    assert paired["change"] == alone["change"] < 0
    assert paired["change_low"] < paired["change"] < paired["change_high"]
    assert paired["change_high"] - paired["change_low"] < 0.7 * (alone["high"] - alone["low"])
    assert (alone["change_low"], alone["sure"]) == (None, False)
    assert f"[{paired['change_low']:.3f}"[:5] in project("compare", first, second).out


def test_a_difference_that_is_told_is_not_rounded_to_nothing() -> None:
    for change, text in ((0.0312, "+0.031"), (-2.412, "-2.4"), (0.0, "0.0")):
        assert Number(value=7 + change, low=6, high=9, change=change).change_text == text
    clear = Number(value=0.7, change=0.0062, change_low=0.0003, change_high=0.0121)
    assert clear.change_text == "+0.0062 [0.0003, 0.012]"


def test_what_judged_other_rows_is_told_and_nothing_is_called_better(judged: Judged) -> None:
    project, first, _, second, _ = judged
    found = project("compare", first, second, "--json").json
    assert [(each["name"], each["values"]) for each in found["parameters"][:1]] == [("noise", ["0.0", "5"])]
    (auc,) = (each["numbers"][1] for each in found["metrics"] if each["name"] == "AUC")
    assert auc["change"] < 0
    assert (auc["verdict"], auc["sure"], auc["is_apart"], auc["change_low"]) == ("", True, True, None)
    told = [f"`classification` judged other rows in `{second}` (300) than in `{first}` (400)"]
    assert [note.partition(":")[0] for note in found["notes"]] == told
    assert "(other rows)" in project("compare", first, second).out
    assert project("compare", first, second, "--to", "compared.html").code == 0
    page = (project.folder / "compared.html").read_text()
    assert "on other rows: the intervals exclude each other" in page
    assert "worse, clear" not in page


@pytest.mark.parametrize("words", [(), ("--paired",), ("--no-paired",)])
def test_runs_judged_other_rows_where_one_table_is_the_beginning_of_the_other(
    judged: Judged, words: tuple[str, ...]
) -> None:
    project, first, *_, second = judged
    found = project("compare", first, second, *words, "--json").json
    numbers = [each["numbers"][1] for each in found["metrics"] if each["source"] == "report" and all(each["numbers"])]
    changed = [each for each in numbers if each["change"]]
    assert changed
    assert {(each["verdict"], each["is_apart"], each["change_low"]) for each in changed} == {("", True, None)}
    out = project("compare", first, second, *words).out
    assert "(other rows)" in out
    assert not {"▲", "▼"} & set(out)


def test_a_name_that_show_has_means_the_number_of_the_report(judged: Judged) -> None:
    project, first, second, *_ = judged
    assert "test/AUC" in project("show", first).out
    for name in ("test/AUC", "classification.test/AUC"):
        (metric,) = project("compare", first, second, "--metric", name, "--json").json["metrics"]
        assert (metric["name"], metric["source"]) == ("AUC", "report")
        ranked = project("runs", "--sort", name, "--json").json["runs"]
        assert [each["run"] for each in ranked if each["run"] in (first, second)] == [second, first]
        assert None not in (ranked[0]["metric"]["low"], ranked[0]["metric"]["high"])


def test_damaged_predictions_are_told_and_not_compared(judged: Judged) -> None:
    project, first, second, *_ = judged
    blobs = {file: file.read_bytes() for file in (project.folder / ".headrace" / "store" / "blobs").glob("*/*")}
    tables = {file: data for file, data in blobs.items() if data.startswith(b"ARROW1")}
    for file, data in tables.items():
        file.chmod(0o644)
        half = len(data) // 2
        file.write_bytes(data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :])
    try:
        found = project("compare", first, second, "--metric", "AUC", "--json").json
    finally:
        for file, data in tables.items():
            file.write_bytes(data)
    assert found["metrics"][0]["numbers"][1]["change_low"] is None
    (note,) = found["notes"]
    assert note.startswith("the predictions of `classification` can't be compared row by row: the blob ")
    assert "is damaged" in note
